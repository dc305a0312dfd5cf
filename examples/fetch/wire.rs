//! Parameters and headers of token requests, and which of them are public.

use http::HeaderName;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, DATE, RETRY_AFTER,
    USER_AGENT, WWW_AUTHENTICATE,
};
use serde_json::{Map, Value};

/// Parameters whose values are no secrets. All others are masked.
const PUBLIC_PARAMETERS: [&str; 9] = [
    "actor_token_type",
    "audience",
    "client_assertion_type",
    "client_id",
    "grant_type",
    "requested_token_type",
    "resource",
    "scope",
    "subject_token_type",
];

/// The public members of a token response. RFC 6749 sections 5.1 and 5.2, and RFC 8693 section
/// 2.2.1, define them.
const PUBLIC_MEMBERS: [&str; 7] = [
    "error",
    "error_description",
    "error_uri",
    "expires_in",
    "issued_token_type",
    "scope",
    "token_type",
];

const PUBLIC_HEADERS: [HeaderName; 9] = [
    ACCEPT,
    ACCEPT_ENCODING,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    DATE,
    RETRY_AFTER,
    USER_AGENT,
    WWW_AUTHENTICATE,
];

pub(crate) fn is_public_parameter(name: &str) -> bool {
    PUBLIC_PARAMETERS.contains(&name)
}

pub(crate) fn is_public_member(name: &str) -> bool {
    PUBLIC_MEMBERS.contains(&name)
}

pub(crate) fn is_public_header(name: &HeaderName) -> bool {
    PUBLIC_HEADERS.contains(name)
}

/// The byte order mark that some servers write before JSON.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Returns the members of a body that is a JSON object.
pub(crate) fn members(body: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice(body.strip_prefix(MARK).unwrap_or(body)).ok()
}

/// Returns the parameters of a token request from its form or JSON object.
pub(crate) fn parameters(body: &[u8]) -> Vec<(String, String)> {
    let Some(members) = members(body) else {
        return form_urlencoded::parse(body).into_owned().collect();
    };
    let texts = members.into_iter().flat_map(|(name, value)| {
        let values = match value {
            Value::Array(values) => values,
            value => vec![value],
        };
        values.into_iter().map(move |value| (name.clone(), text(value)))
    });
    texts.collect()
}

fn text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        value => value.to_string(),
    }
}
