//! Reads responses whose body is a JSON object.

use std::borrow::Cow;
use std::collections::BTreeMap;

use http::response::Parts;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::{ErrorResponse, TokenError, TokenErrorKind};
use crate::protocol::{headers, retry_after};
use crate::util::byte_order_mark;
use crate::util::clock::wall_clock;

/// A JSON object whose members are read one by one.
///
/// A number that is out of range, or a value that is nested too deeply, makes only its own member
/// unreadable.
pub(crate) type Members<'a> = BTreeMap<String, &'a RawValue>;

/// Holds a response whose body has been read.
pub(crate) struct JsonResponse<'a> {
    pub(crate) head: Parts,
    pub(crate) body: &'a [u8],
    /// `None` if the body is not a JSON object.
    pub(crate) members: Option<Members<'a>>,
}

impl<'a> JsonResponse<'a> {
    /// Reads `body` as a JSON object.
    pub(crate) fn new(head: Parts, body: &'a [u8]) -> Self {
        Self { head, body, members: members(body) }
    }

    /// Returns an error that keeps a bounded part of the response.
    pub(crate) fn refuse(
        self,
        kind: TokenErrorKind,
        note: impl Into<Cow<'static, str>>,
    ) -> TokenError {
        // The body of a redirect does not come from the server that was asked.
        let members = self.members.filter(|_| kind != TokenErrorKind::Redirect);
        let is_encoded = members.is_none()
            && !self.body.is_empty()
            && kind != TokenErrorKind::Redirect
            && headers::is_encoded(&self.head.headers);
        let note = note.into();
        let note = match &*note {
            "" if is_encoded => "the HTTP client did not decode its Content-Encoding".into(),
            _ => note,
        };
        let text = |name| text(members.as_ref()?, name);
        let error = members.as_ref().and_then(error_code);
        let members = [error, text("error_description"), text("error_uri")];
        let retry_after = retry_after::parse(&self.head.headers, wall_clock());
        let response = ErrorResponse::new(self.head, self.body, members, retry_after);
        TokenError::with_response(kind, note, response)
    }
}

/// Reads a text as a JSON object. A byte order mark before it is skipped.
pub(crate) fn members(text: &[u8]) -> Option<Members<'_>> {
    // The parser's own errors quote the text, so they are dropped here.
    serde_json::from_slice(byte_order_mark::skip(text)).ok()
}

/// Returns whether `error` is a string that is not empty.
///
/// A string that cannot be read counts too.
///
/// Some servers send an empty string with each token.
pub(crate) fn has_error(members: &Members<'_>) -> bool {
    let is_string = members.get("error").is_some_and(|raw| raw.get().starts_with('"'));
    is_string && text(members, "error").is_none_or(|code| !code.trim().is_empty())
}

/// Returns the `error` of a response, unless it is empty.
pub(crate) fn error_code(members: &Members<'_>) -> Option<String> {
    text(members, "error").filter(|code| !code.trim().is_empty())
}

/// Returns the value of a member, if it can be read.
pub(crate) fn value(members: &Members<'_>, name: &str) -> Option<Value> {
    serde_json::from_str(members.get(name)?.get()).ok()
}

/// Returns the text of a member, if it is a string that can be read.
pub(crate) fn text(members: &Members<'_>, name: &str) -> Option<String> {
    serde_json::from_str(members.get(name)?.get()).ok()
}
