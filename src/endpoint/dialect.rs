//! Holds settings for token endpoints that differ from the standard.

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::error::ConfigError;
use crate::protocol::dpop::DPOP;

/// Describes the format of requests, and the token types of responses.
#[derive(Clone, Default)]
pub(super) struct Dialect {
    pub(super) has_json_body: bool,
    pub(super) headers: HeaderMap,
    token_types: Vec<Box<str>>,
}

/// Headers that client authentication, this crate or the HTTP client sets.
const RESERVED: [HeaderName; 13] = [
    AUTHORIZATION,
    CONNECTION,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    DPOP,
    EXPECT,
    HOST,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Headers of HTTP/1.1 that are not registered as constants.
const RESERVED_TEXTS: [&str; 2] = ["keep-alive", "proxy-connection"];

const HEADER: &str = "token request header";

impl Dialect {
    pub(super) fn set_header(
        &mut self,
        name: impl TryInto<HeaderName>,
        value: impl TryInto<HeaderValue>,
    ) -> Result<(), ConfigError> {
        // The name is not quoted here, because a caller may have swapped it with the value.
        let Ok(name) = name.try_into() else {
            return Err(ConfigError::new(HEADER, "has an invalid name"));
        };
        if RESERVED.contains(&name) || RESERVED_TEXTS.contains(&name.as_str()) {
            let problem = "must not be one that this crate or the HTTP client sets";
            return Err(ConfigError::new(HEADER, problem).with_value(name));
        }
        let Ok(mut value) = value.try_into() else {
            let problem = "has a value that cannot be sent in a header";
            return Err(ConfigError::new(HEADER, problem).with_value(name));
        };
        if value.is_empty() {
            return Err(ConfigError::new(HEADER, "has an empty value").with_value(name));
        }
        value.set_sensitive(true);
        self.headers.insert(name, value);
        Ok(())
    }

    pub(super) fn add_token_type(&mut self, alias: &str) {
        self.token_types.push(alias.into());
    }

    /// Returns whether a `token_type` stands for Bearer at this endpoint.
    pub(super) fn is_bearer(&self, token_type: &str) -> bool {
        let is = |known: &str| known.eq_ignore_ascii_case(token_type);
        is("Bearer") || self.token_types.iter().any(|alias| is(alias))
    }

    /// Returns the `Content-Type` of a token request.
    pub(super) fn content_type(&self) -> HeaderValue {
        HeaderValue::from_static(match self.has_json_body {
            true => "application/json",
            false => "application/x-www-form-urlencoded",
        })
    }
}
