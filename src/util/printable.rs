//! Prints text from servers, stores, settings and requests in errors and events.

mod url;

use std::fmt::{self, Write};

use tracing::field::{DisplayValue, display};

pub(crate) use self::url::UrlWithoutSecrets;

/// The number of characters of a text in an event.
const MAX_CHARS: usize = 512;

/// Displays at most 512 characters of a text, and escapes those that are not printable.
///
/// A server, a store or a request can make its text long, or put line breaks and terminal codes
/// into it. Each field of an event that holds such a text goes through this type.
pub(crate) struct Printable<T>(pub(crate) T);

impl<T: fmt::Display> fmt::Display for Printable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut escaped = Escaped { out: f, chars_left: MAX_CHARS, is_cut: false };
        let written = write!(escaped, "{}", self.0);
        if escaped.is_cut { f.write_str("...") } else { written }
    }
}

/// Returns the value of an event's field. A field without a text is left out.
pub(crate) fn field(text: Option<&str>) -> Option<DisplayValue<Printable<&str>>> {
    text.map(|text| display(Printable(text)))
}

/// Returns at most `max` characters of a text, escapes included, in one printable line.
///
/// If the text is longer, it ends with `...`.
pub(crate) fn bounded(text: impl fmt::Display, max: usize) -> String {
    let escaped = first_chars(Escaping(first_chars(text, max + 1)), max + 1);
    match escaped.char_indices().nth(max) {
        None => escaped,
        Some(_) => {
            let end = escaped.char_indices().nth(max.saturating_sub(3)).map_or(0, |(end, _)| end);
            format!("{}...", &escaped[..end])
        }
    }
}

/// Returns the first `max` characters of a text, without an escape.
///
/// An error of the text's `Display` ends it.
pub(crate) fn first_chars(text: impl fmt::Display, max: usize) -> String {
    let mut cut = Cut { out: String::new(), chars_left: max };
    let _ = write!(cut, "{text}");
    cut.out
}

struct Cut {
    out: String,
    chars_left: usize,
}

impl Write for Cut {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            // The error ends the formatting of the text, however long it is.
            self.chars_left = self.chars_left.checked_sub(1).ok_or(fmt::Error)?;
            self.out.push(c);
        }
        Ok(())
    }
}

/// Escapes the characters of a text that are not printable.
struct Escaping(String);

impl fmt::Display for Escaping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| write_escaped(f, c))
    }
}

fn write_escaped(f: &mut fmt::Formatter<'_>, c: char) -> fmt::Result {
    if matches!(c, '"' | '\'') { f.write_char(c) } else { write!(f, "{}", c.escape_debug()) }
}

struct Escaped<'a, 'b> {
    out: &'a mut fmt::Formatter<'b>,
    chars_left: usize,
    is_cut: bool,
}

impl Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if self.chars_left == 0 {
                // The error ends the formatting of the text, however long it is.
                self.is_cut = true;
                return Err(fmt::Error);
            }
            self.chars_left -= 1;
            write_escaped(self.out, c)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        Printable(text).to_string()
    }

    // O
    #[test]
    fn terminal_control_codes_are_escaped() {
        assert_eq!(shown("it's a \"host\" ü"), "it's a \"host\" ü");
        assert_eq!(shown("a\r\nb\tc"), r"a\r\nb\tc");
        assert_eq!(shown("\u{1b}[31m\u{7f}\u{85}"), r"\u{1b}[31m\u{7f}\u{85}");
        assert_eq!(shown("\u{202e}\u{2028}\\"), r"\u{202e}\u{2028}\\");
    }

    // O
    #[test]
    fn a_text_is_cut_after_512_characters() {
        let longest = "ü".repeat(512);
        assert_eq!(shown(&longest), longest);
        assert_eq!(shown(&format!("{longest}x")), format!("{longest}..."));
        assert_eq!(shown(&"\0".repeat(600)), format!("{}...", "\\0".repeat(512)));
    }

    // W5
    #[test]
    fn a_bounded_text_counts_its_escapes() {
        assert_eq!(bounded("ü".repeat(80), 80), "ü".repeat(80));
        assert_eq!(bounded("ü".repeat(81), 80), format!("{}...", "ü".repeat(77)));
        assert_eq!(bounded("\0".repeat(40), 80), "\\0".repeat(40));
        assert_eq!(bounded("\0".repeat(41), 80), format!("{}\\...", "\\0".repeat(38)));
        assert_eq!(bounded("", 80), "");
    }
}
