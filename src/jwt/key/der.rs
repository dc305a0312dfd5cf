//! Reads keys in DER, as far as a backend requires it.

use crate::crypto::signature::{Ed25519KeyPair, RsaKeyPair};
use zeroize::Zeroizing;

use super::curve::{self, Curve};
use super::{BROKEN, Pair, invalid};
use crate::error::ConfigError;
use crate::jwt::der::{BIT_STRING, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, Reader, SEQUENCE};

/// The constructed context tags `[0]` and `[1]`.
const PARAMETERS: u8 = 0xa0;
const PUBLIC_KEY: u8 = 0xa1;

/// RFC 8017 appendix C
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const RSASSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a];
/// RFC 5480 section 2.1.1
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// RFC 8410 section 3
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// Reads a key in any of the three formats below. The field after the version tells which.
pub(super) fn read(der: &[u8]) -> Result<Pair, ConfigError> {
    if der.is_empty() {
        return invalid("is empty");
    }
    let mut fields = Reader::within(der, SEQUENCE).ok_or(BROKEN)?;
    match (fields.take(INTEGER), fields.tag()) {
        (Some(_), Some(INTEGER)) => from_pkcs1(der),
        (Some(_), Some(OCTET_STRING)) => from_sec1(der, None),
        _ => from_pkcs8(der),
    }
}

/// Reads a key in PKCS#8 (RFC 5958 section 2).
pub(super) fn from_pkcs8(der: &[u8]) -> Result<Pair, ConfigError> {
    let mut fields = Reader::within(der, SEQUENCE).ok_or(BROKEN)?;
    match fields.tag() {
        Some(INTEGER) => fields.take(INTEGER).ok_or(BROKEN)?,
        Some(SEQUENCE) => {
            fields.take(SEQUENCE).ok_or(BROKEN)?;
            return invalid(match fields.tag() {
                Some(OCTET_STRING) => "is encrypted: decrypt it first",
                Some(BIT_STRING) => "is a public key",
                _ => "is not a private key",
            });
        }
        _ => return Err(BROKEN),
    };
    let mut kind = Reader::new(fields.take(SEQUENCE).ok_or(BROKEN)?);
    let Some(private) = fields.take(OCTET_STRING) else {
        return invalid("is not in PKCS#8");
    };
    match kind.take(OBJECT_IDENTIFIER).ok_or(BROKEN)? {
        RSA_ENCRYPTION => from_pkcs1(private),
        RSASSA_PSS => invalid("is an RSASSA-PSS key: convert it to a plain RSA key"),
        EC_PUBLIC_KEY => from_sec1(private, kind.take(OBJECT_IDENTIFIER)),
        ED25519 => Pair::ed25519(Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)),
        _ => invalid("is neither EC, RSA nor Ed25519"),
    }
}

/// Reads an `RSAPrivateKey` (RFC 8017 appendix A.1.2).
pub(super) fn from_pkcs1(der: &[u8]) -> Result<Pair, ConfigError> {
    let mut fields = Reader::within(der, SEQUENCE).ok_or(BROKEN)?;
    fields.take(INTEGER).ok_or(BROKEN)?;
    Pair::check_modulus(fields.take(INTEGER).ok_or(BROKEN)?)?;
    Pair::rsa(RsaKeyPair::from_der(der))
}

/// Reads an `ECPrivateKey` (RFC 5915 section 3).
///
/// The key is on `curve`, or on the curve that it names.
pub(super) fn from_sec1(der: &[u8], curve: Option<&[u8]>) -> Result<Pair, ConfigError> {
    let mut fields = Reader::within(der, SEQUENCE).ok_or(BROKEN)?;
    fields.take(INTEGER).ok_or(BROKEN)?;
    let private = fields.take(OCTET_STRING).ok_or(BROKEN)?;
    let own = match fields.tag() {
        // Explicit parameters of a curve have no name.
        Some(PARAMETERS) => {
            let parameters = fields.take(PARAMETERS).ok_or(BROKEN)?;
            Some(Reader::new(parameters).take(OBJECT_IDENTIFIER).unwrap_or_default())
        }
        _ => None,
    };
    let curve = match (curve, own) {
        (Some(curve), Some(own)) if curve != own => return Err(BROKEN),
        (Some(curve), _) | (None, Some(curve)) => curve,
        (None, None) => return invalid("does not say which curve it is on"),
    };
    let Some(curve) = Curve::from_oid(curve) else {
        return invalid(curve::MUST_BE_SUPPORTED);
    };
    curve.signing()?;
    if fields.tag() != Some(PUBLIC_KEY) {
        return invalid("has no public part: export it with its public part");
    }
    let public = fields.take(PUBLIC_KEY).ok_or(BROKEN)?;
    let public = Reader::new(public).take(BIT_STRING).ok_or(BROKEN)?;
    let public = public.strip_prefix(&[0]).ok_or(BROKEN)?;
    Pair::ec(curve, &padded(private, curve.len())?, public)
}

/// Adds the leading zeros that some tools leave out.
fn padded(number: &[u8], len: usize) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
    let zeros = len.checked_sub(number.len()).ok_or(BROKEN)?;
    let mut padded = Zeroizing::new(vec![0; len]);
    padded[zeros..].copy_from_slice(number);
    Ok(padded)
}
