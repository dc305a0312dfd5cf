//! Makes text from servers safe for a terminal.

use std::fmt::Write;

/// Characters without ink that `char::escape_debug` does not escape (Hangul fillers and the Braille
/// blank).
const BLANK: [char; 5] = ['\u{115f}', '\u{1160}', '\u{2800}', '\u{3164}', '\u{ffa0}'];

/// Returns the first `max` characters of a text, and escapes control and invisible characters.
///
/// If the text is longer, the result ends with `...`.
pub(crate) fn printable(text: &str, max: usize) -> String {
    let mut out = String::new();
    for (position, c) in text.chars().enumerate() {
        if position == max {
            out.push_str("...");
            break;
        }
        let written = match c {
            '"' | '\'' | '\\' => write!(out, "{c}"),
            _ if BLANK.contains(&c) => write!(out, "{}", c.escape_unicode()),
            _ => write!(out, "{}", c.escape_debug()),
        };
        debug_assert!(written.is_ok(), "a String accepts all text");
    }
    out
}

/// Returns a URL without its query and fragment, which may contain secrets.
pub(crate) fn url(text: &str) -> String {
    match text.find(['?', '#']) {
        Some(end) => format!("{}***", printable(&text[..=end], MAX_URL)),
        None => printable(text, MAX_URL),
    }
}

const MAX_URL: usize = 512;
