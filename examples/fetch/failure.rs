//! Describes errors in one line.

use std::error::Error;
use std::iter;

use http::header::LOCATION;
use http_body_util::LengthLimitError;
use tower_oauth2::TokenError;

use crate::bounded::MAX_MIB;
use crate::printable::{self, printable};
use crate::secrets::Secrets;
use crate::wording;

/// The longest text of one error that is shown, in characters.
const MAX_CHARS: usize = 1024;

/// The longest text from a server that is shown, in characters.
const MAX_REASON: usize = 512;

/// Describes errors without these secrets.
#[derive(Clone)]
pub(crate) struct Describer(Secrets);

impl Describer {
    pub(crate) fn new(secrets: Secrets) -> Self {
        Self(secrets)
    }

    /// Describes the failure of a request to the API at `origin`.
    pub(crate) fn request(&self, error: &(dyn Error + 'static), origin: &str) -> String {
        let text = self.error(error);
        match TokenError::find_in(error) {
            None => format!("no response from {origin}: {text}"),
            Some(error) => match error.rejected_response() {
                None => text,
                Some(head) => format!("after {} from {origin}: {text}", head.status().as_u16()),
            },
        }
    }

    /// Describes the failure of the body of a response from the API at `origin`.
    pub(crate) fn body(&self, error: &(dyn Error + 'static), origin: &str) -> String {
        if error.is::<LengthLimitError>() {
            return format!("the response from {origin} is larger than {MAX_MIB} MiB");
        }
        format!("the response from {origin} broke off: {}", self.error(error))
    }

    /// Describes an error with its sources. A source is left out if the text contains it already.
    pub(crate) fn error(&self, error: &(dyn Error + 'static)) -> String {
        let mut text = String::new();
        for error in iter::successors(Some(error), |&error| error.source()) {
            let part = match error.downcast_ref() {
                Some(error) => self.token_error(error),
                None => self.shown(&wording::of_this_program(&error.to_string()), MAX_CHARS),
            };
            if text.is_empty() {
                text = part;
            } else if !text.contains(&part) {
                text = format!("{text}: {part}");
            }
        }
        text
    }

    /// Returns the text of a token error, and what the server says.
    fn token_error(&self, error: &TokenError) -> String {
        let mut text = self.shown(&wording::of_this_program(&error.to_string()), MAX_CHARS);
        let location = error.headers().and_then(|headers| headers.get(LOCATION)?.to_str().ok());
        if let Some(location) = location {
            let location = printable::url(&self.0.scrub(location));
            text = format!("{text}; the server redirects to {location}");
        }
        let code = error.error_code().filter(|code| !text.contains(*code));
        let reasons = [code, error.error_description()].into_iter().flatten();
        let reasons: Vec<_> = reasons.filter(|reason| !reason.trim().is_empty()).collect();
        if reasons.is_empty() {
            return text;
        }
        format!("{text}; the server says: {}", self.shown(&reasons.join(": "), MAX_REASON))
    }

    fn shown(&self, text: &str, max: usize) -> String {
        // Secrets are removed first, because the beginning of a secret that is cut is not found.
        printable(&self.0.scrub(text), max)
    }
}
