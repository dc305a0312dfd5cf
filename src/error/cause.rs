//! Describes the causes of an HTTP client's failure.

use std::error::Error as StdError;

use super::chain;
use crate::util::printable::{bounded, first_chars};

/// The longest text of all causes together, in characters.
const MAX_TEXT: usize = 300;

/// The longest text that is read of one cause, in characters.
const MAX_READ: usize = 4096;

/// Returns the texts of `error` and its sources in one printable line.
///
/// The line has at most 300 characters.
///
/// `scrub` removes secrets from a text. It gets each text before it is cut further, because the
/// beginning of a secret at the end of a text would be hard to recognize.
pub(super) fn describe(error: &(dyn StdError + 'static), scrub: impl Fn(&str) -> String) -> String {
    let mut texts: Vec<String> = Vec::new();
    for error in chain(error) {
        let text = scrub(&first_chars(error, MAX_READ));
        let text = bounded(text.trim(), MAX_TEXT);
        // Many errors repeat the text of their source.
        if !text.is_empty() && !texts.iter().any(|earlier| earlier.contains(&text)) {
            texts.push(text);
        }
    }
    // The last causes are the most specific ones.
    let size = |texts: &[String]| texts.iter().map(|text| text.chars().count() + 2).sum::<usize>();
    let mut shown = &texts[..];
    while shown.len() > 1 && size(shown) > MAX_TEXT {
        shown = &shown[1..];
    }
    shown.join(": ")
}
