//! What went wrong, in one line.

use std::error::Error;
use std::iter;

use http_body_util::LengthLimitError;
use tower_oauth2::TokenError;

use crate::bounded::MAX_MIB;

/// What went wrong with a request to the API at `origin`.
pub(crate) fn of_request(error: &(dyn Error + 'static), origin: &str) -> String {
    let text = flat(error);
    match TokenError::find_in(error) {
        None => format!("no response from {origin}: {text}"),
        Some(error) => match error.rejected_response() {
            None => text,
            Some(head) => format!("after {} from {origin}: {text}", head.status().as_u16()),
        },
    }
}

/// What went wrong with the body of a response from the API at `origin`.
pub(crate) fn of_body(error: &(dyn Error + 'static), origin: &str) -> String {
    if error.is::<LengthLimitError>() {
        return format!("the response from {origin} is larger than {MAX_MIB} MiB");
    }
    format!("the response from {origin} broke off: {}", flat(error))
}

/// An error and its sources. Many an error repeats its source in its own text: each is said once.
pub(crate) fn flat(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    for error in iter::successors(Some(error), |&error| error.source()) {
        let part = printable(&error.to_string());
        if text.is_empty() {
            text = part;
        } else if !text.contains(&part) {
            text = format!("{text}: {part}");
        }
    }
    text
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
