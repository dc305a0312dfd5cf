//! Keys in PEM (RFC 7468).

use rustls_pki_types::pem::{Error, PemObject, SectionKind};
use zeroize::Zeroizing;

use super::{KEY, Pair, der};
use crate::error::ConfigError;

type Section = (SectionKind, Vec<u8>);

pub(super) fn read(pem: &[u8]) -> Result<Pair, ConfigError> {
    let no = |why| Err(ConfigError::new(KEY, why));
    if pem.trim_ascii().is_empty() {
        return no("is empty");
    }
    // Either the label says so, or a header that older tools write (RFC 1421 section 4.6.1.1).
    if contains(pem, b"-----BEGIN ENCRYPTED") || contains(pem, b"Proc-Type: 4,ENCRYPTED") {
        return no("is encrypted: decrypt it first");
    }
    // As it is in JSON, and often in an environment variable.
    if contains(pem, b"-----\\n") {
        return no("has \\n in the place of its line breaks");
    }
    let mut key = None;
    let mut others = None;
    for section in Section::pem_slice_iter(pem) {
        let (kind, content) = match section {
            Ok(section) => section,
            Err(Error::MissingSectionEnd { .. }) => return no("breaks off before its end"),
            Err(_) => return no("is not valid PEM"),
        };
        let content = Zeroizing::new(content);
        match kind {
            SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey => {
                if key.replace((kind, content)).is_some() {
                    return no("is not the only one in its PEM");
                }
            }
            SectionKind::PublicKey => others = Some("is a public key"),
            SectionKind::Certificate => others = others.or(Some("is a certificate")),
            _ => others = others.or(Some("is no private key")),
        }
    }
    match key {
        Some((SectionKind::PrivateKey, content)) => der::from_pkcs8(&content),
        Some((SectionKind::RsaPrivateKey, content)) => der::from_pkcs1(&content),
        Some((_, content)) => der::from_sec1(&content, None),
        None if others.is_some() => no(others.unwrap_or_default()),
        None if is_indented(pem) => no("is not valid PEM: its lines are indented"),
        None if contains(pem, b"-----BEGIN OPENSSH") => {
            no("is in OpenSSH's own form: convert it to PKCS#8")
        }
        None if contains(pem, b"-----BEGIN DSA") => no("is of DSA, which is not supported"),
        None if contains(pem, b"-----BEGIN RSA PUBLIC") => no("is a public key"),
        None if contains(pem, b"-----BEGIN ") => no("is no private key"),
        None => no("is not PEM"),
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
