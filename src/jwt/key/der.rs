//! Keys in DER, which are decoded as far as a backend requires it.

use crate::crypto::signature::{Ed25519KeyPair, RsaKeyPair};
use zeroize::Zeroizing;

use super::{BROKEN, KEY, Pair, invalid};
use crate::error::ConfigError;

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;
/// The constructed context tags `[0]` and `[1]`.
const PARAMETERS: u8 = 0xa0;
const PUBLIC_KEY: u8 = 0xa1;

/// RFC 8017 appendix C
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const RSASSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a];
/// RFC 5480 section 2.1.1
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const P521: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];
/// RFC 8410 section 3
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// Reads a key in any of the three formats below. The field after the version tells which.
pub(super) fn read(der: &[u8]) -> Result<Pair, ConfigError> {
    if der.is_empty() {
        return invalid("is empty");
    }
    let mut fields = Reader::within(der, SEQUENCE)?;
    match (fields.take(INTEGER), fields.tag()) {
        (Ok(_), Some(INTEGER)) => from_pkcs1(der),
        (Ok(_), Some(OCTET_STRING)) => from_sec1(der, None),
        _ => from_pkcs8(der),
    }
}

/// Reads a key in PKCS#8 (RFC 5958 section 2).
pub(super) fn from_pkcs8(der: &[u8]) -> Result<Pair, ConfigError> {
    let mut fields = Reader::within(der, SEQUENCE)?;
    match fields.tag() {
        Some(INTEGER) => fields.take(INTEGER)?,
        Some(SEQUENCE) => {
            fields.take(SEQUENCE)?;
            return invalid(match fields.tag() {
                Some(OCTET_STRING) => "is encrypted: decrypt it first",
                Some(BIT_STRING) => "is a public key",
                _ => "is not a private key",
            });
        }
        _ => return Err(BROKEN),
    };
    let mut kind = Reader(fields.take(SEQUENCE)?);
    let Ok(private) = fields.take(OCTET_STRING) else {
        return invalid("is not in PKCS#8");
    };
    match kind.take(OBJECT_IDENTIFIER)? {
        RSA_ENCRYPTION => from_pkcs1(private),
        RSASSA_PSS => invalid("is an RSASSA-PSS key: convert it to a plain RSA key"),
        EC_PUBLIC_KEY => from_sec1(private, kind.take(OBJECT_IDENTIFIER).ok()),
        ED25519 => Pair::ed25519(Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)),
        _ => invalid("is neither EC, RSA nor Ed25519"),
    }
}

/// Reads an `RSAPrivateKey` (RFC 8017 appendix A.1.2).
pub(super) fn from_pkcs1(der: &[u8]) -> Result<Pair, ConfigError> {
    let mut fields = Reader::within(der, SEQUENCE)?;
    fields.take(INTEGER)?;
    Pair::check_modulus(fields.take(INTEGER)?)?;
    Pair::rsa(RsaKeyPair::from_der(der))
}

/// Reads an `ECPrivateKey` (RFC 5915 section 3) on `curve`, or on the curve that the key names.
pub(super) fn from_sec1(der: &[u8], curve: Option<&[u8]>) -> Result<Pair, ConfigError> {
    let mut fields = Reader::within(der, SEQUENCE)?;
    fields.take(INTEGER)?;
    let private = fields.take(OCTET_STRING)?;
    let own = match fields.tag() {
        // Explicit parameters of a curve have no name.
        Some(PARAMETERS) => {
            Reader(fields.take(PARAMETERS)?).take(OBJECT_IDENTIFIER).map_or(Some(&[][..]), Some)
        }
        _ => None,
    };
    let curve = match (curve, own) {
        (Some(curve), Some(own)) if curve != own => return Err(BROKEN),
        (Some(curve), _) | (None, Some(curve)) => curve,
        (None, None) => return invalid("does not say which curve it is on"),
    };
    if curve == P521 {
        return Err(ConfigError::new(KEY, "must be on P-256 or P-384").with_value("P-521"));
    }
    if curve != P256 && curve != P384 {
        return invalid("must be on P-256 or P-384");
    }
    if fields.tag() != Some(PUBLIC_KEY) {
        return invalid("has no public part: export it with its public part");
    }
    let public = Reader(fields.take(PUBLIC_KEY)?).take(BIT_STRING)?;
    let public = public.strip_prefix(&[0]).ok_or(BROKEN)?;
    if curve == P256 {
        Pair::p256(&padded(private, 32)?, public)
    } else {
        Pair::p384(&padded(private, 48)?, public)
    }
}

/// Adds the leading zeros that some tools leave out.
fn padded(number: &[u8], len: usize) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
    let zeros = len.checked_sub(number.len()).ok_or(BROKEN)?;
    let mut padded = Zeroizing::new(vec![0; len]);
    padded[zeros..].copy_from_slice(number);
    Ok(padded)
}

/// Reads the values of a DER text in order.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads the content of the one value in `der`.
    fn within(der: &'a [u8], tag: u8) -> Result<Self, ConfigError> {
        let mut all = Self(der);
        let content = all.take(tag)?;
        if all.0.is_empty() { Ok(Self(content)) } else { Err(BROKEN) }
    }

    fn tag(&self) -> Option<u8> {
        self.0.first().copied()
    }

    fn take(&mut self, tag: u8) -> Result<&'a [u8], ConfigError> {
        let (content, rest) = match *self.0 {
            [found, len @ 0..=0x7f, ref rest @ ..] if found == tag => {
                rest.split_at_checked(len.into())
            }
            [found, 0x81, len, ref rest @ ..] if found == tag => rest.split_at_checked(len.into()),
            [found, 0x82, high, low, ref rest @ ..] if found == tag => {
                rest.split_at_checked(u16::from_be_bytes([high, low]).into())
            }
            _ => None,
        }
        .ok_or(BROKEN)?;
        self.0 = rest;
        Ok(content)
    }
}
