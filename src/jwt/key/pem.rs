//! Keys in PEM (RFC 7468).

use rustls_pki_types::pem::{Error, PemObject, SectionKind};
use zeroize::Zeroizing;

use super::{Pair, der, invalid};
use crate::error::ConfigError;

type Section = (SectionKind, Vec<u8>);

pub(super) fn read(pem: &[u8]) -> Result<Pair, ConfigError> {
    if pem.trim_ascii().is_empty() {
        return invalid("is empty");
    }
    // Older tools write a header instead of the label (RFC 1421 section 4.6.1.1).
    if contains(pem, b"-----BEGIN ENCRYPTED") || contains(pem, b"Proc-Type: 4,ENCRYPTED") {
        return invalid("is encrypted: decrypt it first");
    }
    // JSON and many environment variables contain a PEM text like this.
    if contains(pem, b"-----\\n") {
        return invalid("contains \\n instead of line breaks");
    }
    let mut key = None;
    let mut others = None;
    for section in Section::pem_slice_iter(pem) {
        let (kind, content) = match section {
            Ok(section) => section,
            Err(Error::MissingSectionEnd { .. }) => return invalid("is truncated"),
            Err(_) => return invalid("is not valid PEM"),
        };
        let content = Zeroizing::new(content);
        match kind {
            SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey => {
                if key.replace((kind, content)).is_some() {
                    return invalid("is one of several in the PEM text");
                }
            }
            SectionKind::PublicKey => others = Some("is a public key"),
            SectionKind::Certificate => others = others.or(Some("is a certificate")),
            _ => others = others.or(Some("is not a private key")),
        }
    }
    match key {
        Some((SectionKind::PrivateKey, content)) => der::from_pkcs8(&content),
        Some((SectionKind::RsaPrivateKey, content)) => der::from_pkcs1(&content),
        Some((_, content)) => der::from_sec1(&content, None),
        None if others.is_some() => invalid(others.unwrap_or_default()),
        None if is_indented(pem) => invalid("is not valid PEM: its lines are indented"),
        None if contains(pem, b"-----BEGIN OPENSSH") => {
            invalid("is in the OpenSSH format: convert it to PKCS#8")
        }
        None if contains(pem, b"-----BEGIN DSA") => invalid("is a DSA key, which is not supported"),
        None if contains(pem, b"-----BEGIN RSA PUBLIC") => invalid("is a public key"),
        None if contains(pem, b"-----BEGIN ") => invalid("is not a private key"),
        None => invalid("is not PEM"),
    }
}

fn is_indented(pem: &[u8]) -> bool {
    let mut lines = pem.split(|byte| *byte == b'\n');
    lines.any(|line| {
        let text = line.trim_ascii_start();
        text.len() < line.len() && text.starts_with(b"-----BEGIN ")
    })
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
