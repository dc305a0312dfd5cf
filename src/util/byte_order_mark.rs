//! Skips the byte order mark that some editors and servers write before UTF-8.

const MARK: &[u8] = &[0xef, 0xbb, 0xbf];

/// Returns `text` without a byte order mark at its beginning (RFC 8259 section 8.1).
pub(crate) fn skip(text: &[u8]) -> &[u8] {
    text.strip_prefix(MARK).unwrap_or(text)
}
