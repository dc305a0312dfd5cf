//! Finds invisible characters, which come into settings from files and copied text.

const BYTE_ORDER_MARK: char = '\u{feff}';

/// Returns the fault of a text for people.
///
/// It is a control character, such as a line break, or a byte order mark.
pub(crate) fn fault_of_text(text: &str) -> Option<&'static str> {
    if text.contains(char::is_control) {
        Some("has control characters, such as a line break")
    } else if text.contains(BYTE_ORDER_MARK) {
        Some("has a byte order mark")
    } else {
        None
    }
}

/// Returns the fault of a secret.
///
/// The secret is empty, or begins or ends with invisible characters.
///
/// Other control characters are allowed, because a secret may have been chosen with them.
pub(crate) fn fault_of_secret(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        Some("is empty")
    } else if text.ends_with(['\n', '\r']) {
        Some("ends in a line break")
    } else if text.starts_with(BYTE_ORDER_MARK) {
        Some("begins with a byte order mark")
    } else {
        None
    }
}
