//! Reads the certificate of a key (RFC 5280 section 4.1).

use sha2::{Digest, Sha256};

use super::der::{BIT_STRING, Reader, SEQUENCE};
use super::encode;
use crate::crypto::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use crate::error::ConfigError;
use crate::util::pem;

/// The thumbprints of a certificate, by which a server finds the key.
#[derive(Clone)]
pub(super) struct Thumbprints {
    /// SHA-1, in base64url (`x5t`, RFC 7515 section 4.1.7).
    pub(super) sha1: String,
    /// SHA-256, in base64url (`x5t#S256`, RFC 7515 section 4.1.8).
    pub(super) sha256: String,
}

impl Thumbprints {
    /// Reads a certificate in DER, or the first one in a PEM text.
    pub(super) fn of(certificate: &[u8]) -> Result<Self, ConfigError> {
        let invalid = |problem| ConfigError::new("certificate", problem);
        let der = pem::certificate(certificate).map_err(invalid)?;
        if !is_certificate(&der) {
            return Err(invalid("must be an X.509 certificate"));
        }
        Ok(Self {
            sha1: encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &der)),
            sha256: encode(Sha256::digest(&*der)),
        })
    }
}

/// Returns whether `der` has the three parts of a certificate.
///
/// They are the signed data, the algorithm and the signature.
fn is_certificate(der: &[u8]) -> bool {
    let Some(mut parts) = Reader::within(der, SEQUENCE) else {
        return false;
    };
    let all = [SEQUENCE, SEQUENCE, BIT_STRING];
    all.into_iter().all(|tag| parts.take(tag).is_some()) && parts.tag().is_none()
}
