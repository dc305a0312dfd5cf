//! Reads PEM texts (RFC 7468), even if their line breaks were lost.
//!
//! Environment variables, JSON and YAML turn line breaks into spaces, into `\n`, or into nothing.
//! Neither spaces nor backslashes are part of base64, so that such a text has one meaning only.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

const BEGIN: &[u8] = b"-----BEGIN";
const END: &[u8] = b"-----END";
const DASHES: &[u8] = b"-----";

/// The text between a `BEGIN` line and its `END` line.
pub(crate) struct Section<'a> {
    /// The label without spaces, for example `RSAPRIVATEKEY`.
    pub(crate) label: String,
    text: &'a [u8],
}

/// Returns the sections of a text, or the problem with it. Text around them is ignored.
pub(crate) fn sections(pem: &[u8]) -> Result<Vec<Section<'_>>, &'static str> {
    let mut sections = Vec::new();
    let mut rest = pem;
    while let Some((_, after)) = split_at_first(rest, BEGIN) {
        let (label, after) = split_at_first(after, DASHES).ok_or("is truncated")?;
        let (text, after) = split_at_first(after, END).ok_or("is truncated")?;
        let (end_label, after) = split_at_first(after, DASHES).ok_or("is truncated")?;
        if split_at_first(text, BEGIN).is_some() {
            return Err("is truncated");
        }
        let label = plain_label(label)?;
        if label != plain_label(end_label)? {
            return Err("is not valid PEM: the labels of BEGIN and END differ");
        }
        sections.push(Section { label, text });
        rest = after;
    }
    if sections.is_empty() { Err(problem_without_sections(pem)) } else { Ok(sections) }
}

/// Returns the DER of a certificate, or the problem.
///
/// The content is DER, or PEM of which the first certificate is read.
pub(crate) fn certificate(content: &[u8]) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    // A certificate is a sequence (RFC 5280 section 4.1).
    const SEQUENCE: u8 = 0x30;
    if content.first() == Some(&SEQUENCE) {
        return Ok(Zeroizing::new(content.to_vec()));
    }
    let sections = sections(content)?;
    let is_certificate =
        |section: &&Section<'_>| matches!(&*section.label, "CERTIFICATE" | "X509CERTIFICATE");
    match sections.iter().find(is_certificate) {
        Some(section) => section.decode(),
        None => Err("must be a certificate: the PEM text has none"),
    }
}

impl Section<'_> {
    /// Decodes the base64, or returns the problem with it.
    pub(crate) fn decode(&self) -> Result<Zeroizing<Vec<u8>>, &'static str> {
        if self.is_encrypted() {
            return Err("is encrypted: decrypt it first");
        }
        let base64 = without_line_breaks(self.text).ok_or("is not valid PEM")?;
        // DER begins with a tag that is never encoded as this letter.
        if base64.first() == Some(&b'n') {
            return Err("is not valid PEM: it has the letter n at the place of each line break");
        }
        let mut content = Zeroizing::new(Vec::with_capacity(base64.len()));
        match BASE64_STANDARD.decode_vec(&*base64, &mut content) {
            Ok(()) => Ok(content),
            Err(_) => Err("is not valid PEM: its base64 is damaged"),
        }
    }

    /// Returns whether a password protects a private key.
    pub(crate) fn is_encrypted(&self) -> bool {
        // Older tools write a header instead of the label (RFC 1421 section 4.6.1.1).
        self.label == "ENCRYPTEDPRIVATEKEY"
            || split_at_first(self.text, b"Proc-Type: 4,ENCRYPTED").is_some()
    }
}

fn problem_without_sections(pem: &[u8]) -> &'static str {
    let text = pem.trim_ascii();
    if text.is_empty() {
        "is empty"
    } else if text.starts_with(b"\xff\xfe") || split_at_first(text, b"B\0E\0G\0I\0N").is_some() {
        "is not PEM: it may be UTF-16"
    } else if text.starts_with(b"LS0tLS1CRUdJTi") {
        "is the base64 of a PEM text: decode it first"
    } else {
        "is not PEM: it has no BEGIN line"
    }
}

/// Returns a label without its spaces, because they may be lost too.
fn plain_label(label: &[u8]) -> Result<String, &'static str> {
    let is_plain = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    match without_line_breaks(label).filter(|label| label.iter().all(is_plain)) {
        Some(label) => Ok(label.iter().copied().map(char::from).collect()),
        None => Err("is not valid PEM"),
    }
}

/// Removes white space, and `\n` and `\r` with any number of backslashes.
///
/// Returns `None` if there is another backslash.
fn without_line_breaks(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut plain = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut is_escape = false;
    for &byte in text {
        match byte {
            b'\\' => is_escape = true,
            b'n' | b'r' if is_escape => is_escape = false,
            _ if is_escape => return None,
            byte if byte.is_ascii_whitespace() => {}
            byte => plain.push(byte),
        }
    }
    (!is_escape).then_some(plain)
}

/// Returns the text before and after the first occurrence of `part`.
fn split_at_first<'a>(text: &'a [u8], part: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = text.windows(part.len()).position(|window| window == part)?;
    Some((&text[..at], &text[at + part.len()..]))
}
