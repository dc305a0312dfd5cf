//! Reads keys in PEM (RFC 7468).

use super::{Pair, der, invalid};
use crate::error::ConfigError;
use crate::util::pem::{self, Section};

pub(super) fn read(text: &[u8]) -> Result<Pair, ConfigError> {
    let sections = pem::sections(text).or_else(invalid)?;
    if let Some(encrypted) = sections.iter().find(|section| section.is_encrypted()) {
        encrypted.decode().or_else(invalid)?;
    }
    let mut keys = sections.iter().filter(|section| is_private_key(section));
    let Some(key) = keys.next() else {
        return invalid(kind_of_others(&sections));
    };
    if keys.next().is_some() {
        return invalid("is one of several in the PEM text");
    }
    let content = key.decode().or_else(invalid)?;
    match &*key.label {
        "PRIVATEKEY" => der::from_pkcs8(&content),
        "RSAPRIVATEKEY" => der::from_pkcs1(&content),
        _ => der::from_sec1(&content, None),
    }
}

fn is_private_key(section: &Section<'_>) -> bool {
    matches!(&*section.label, "PRIVATEKEY" | "RSAPRIVATEKEY" | "ECPRIVATEKEY")
}

/// Says what a text without a private key contains.
fn kind_of_others(sections: &[Section<'_>]) -> &'static str {
    let has = |label: &str| sections.iter().any(|section| section.label == label);
    if has("PUBLICKEY") || has("RSAPUBLICKEY") {
        "is a public key"
    } else if has("CERTIFICATE") {
        "is a certificate"
    } else if has("OPENSSHPRIVATEKEY") {
        "is in the OpenSSH format: convert it to PKCS#8"
    } else if has("DSAPRIVATEKEY") {
        "is a DSA key, which is not supported"
    } else {
        "is not a private key"
    }
}
