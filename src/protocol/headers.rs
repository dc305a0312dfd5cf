//! Sets the header fields of all requests that this crate sends itself.

use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, USER_AGENT};
use http::{HeaderMap, HeaderValue};

const NAME: &str = concat!("tower-oauth2/", env!("CARGO_PKG_VERSION"));

/// Asks for JSON without compression, and names this crate, unless the request has these headers.
///
/// Some servers compress a response unless the request forbids it, and some firewalls reject
/// requests without a user agent.
pub(crate) fn set_defaults(headers: &mut HeaderMap) {
    for (name, value) in
        [(ACCEPT, "application/json"), (ACCEPT_ENCODING, "identity"), (USER_AGENT, NAME)]
    {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

/// Returns whether a body is encoded, according to its headers (RFC 9110 section 8.4).
///
/// An HTTP client that decodes a body removes the field.
pub(crate) fn is_encoded(headers: &HeaderMap) -> bool {
    let is_identity = |value: &HeaderValue| {
        value.to_str().is_ok_and(|text| {
            let mut encodings = text.split(',').map(str::trim);
            encodings.all(|name| name.is_empty() || name.eq_ignore_ascii_case("identity"))
        })
    };
    !headers.get_all(CONTENT_ENCODING).iter().all(is_identity)
}
