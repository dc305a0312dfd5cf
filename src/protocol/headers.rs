//! Header fields of all requests that this crate sends itself.

use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, USER_AGENT};
use http::{HeaderMap, HeaderValue};

const NAME: &str = concat!("tower-oauth2/", env!("CARGO_PKG_VERSION"));

/// Asks for JSON without compression, and names this crate unless the request names a user agent.
///
/// Some servers compress a response if a request does not say that it accepts none, and firewalls
/// reject requests without a user agent.
pub(crate) fn set_defaults(headers: &mut HeaderMap) {
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(NAME));
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
