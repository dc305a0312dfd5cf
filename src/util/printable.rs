//! Text from servers, stores and requests, as log events show it.

use std::fmt::{self, Write};

use tracing::field::{DisplayValue, display};

/// The number of characters that are shown.
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
            if matches!(c, '"' | '\'') {
                self.out.write_char(c)?;
            } else {
                write!(self.out, "{}", c.escape_debug())?;
            }
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
}
