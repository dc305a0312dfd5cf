use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::response::Parts;
use http::{HeaderMap, StatusCode};

use super::bounds;

/// The bounded part of a response without a token that an error keeps.
pub(crate) struct ErrorResponse {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) error: Option<Box<str>>,
    pub(crate) error_description: Option<Box<str>>,
    pub(crate) error_uri: Option<Box<str>>,
    pub(crate) retry_after: Option<Duration>,
}

impl ErrorResponse {
    /// Keeps the parts of a response that fit. `members` are `error`, `error_description` and
    /// `error_uri`.
    pub(crate) fn new(
        head: Parts,
        body: &[u8],
        members: [Option<String>; 3],
        retry_after: Option<Duration>,
    ) -> Self {
        let members = members.map(|member| member.map(|text| bounds::member(&text)));
        let size = members.iter().flatten().map(|member| member.len()).sum();
        let body = &body[..body.len().min(bounds::body_size(size))];
        let [error, error_description, error_uri] = members;
        Self {
            status: head.status,
            headers: bounds::headers(&head.headers),
            // The body is copied, because the buffer of the response may be larger.
            body: Bytes::copy_from_slice(body),
            error,
            error_description,
            error_uri,
            retry_after,
        }
    }
}

/// Error codes that may be shown.
///
/// A server can put any text into `error`, even a secret that it received. These codes are not
/// secret.
const REGISTERED: &[&str] = &[
    // RFC 6749, sections 4.1.2.1 and 5.2
    "access_denied",
    "invalid_client",
    "invalid_grant",
    "invalid_request",
    "invalid_scope",
    "server_error",
    "temporarily_unavailable",
    "unauthorized_client",
    "unsupported_grant_type",
    "unsupported_response_type",
    // RFC 8628, section 3.5
    "authorization_pending",
    "expired_token",
    "slow_down",
    // RFC 8707, section 2
    "invalid_target",
    // RFC 9396, section 5
    "invalid_authorization_details",
    // RFC 9449, section 5
    "invalid_dpop_proof",
    "use_dpop_nonce",
    // OpenID Connect Core 1.0, section 3.1.2.6
    "consent_required",
    "interaction_required",
    "login_required",
    // RFC 6750, section 3.1
    "insufficient_scope",
    "invalid_token",
];

impl ErrorResponse {
    /// Returns `error`, or a replacement for a code that may not be shown.
    pub(super) fn shown_error(&self) -> Option<&'static str> {
        self.error.as_ref()?;
        Some(self.registered_error().unwrap_or("an unregistered code"))
    }

    /// Returns whether `error` says that a later request may succeed, with whatever status.
    pub(super) fn has_transient_code(&self) -> bool {
        let code = self.error.as_deref();
        matches!(code, Some("temporarily_unavailable" | "server_error" | "slow_down"))
    }

    /// Returns `error` if it is a registered code.
    pub(super) fn registered_error(&self) -> Option<&'static str> {
        let error = self.error.as_deref()?;
        REGISTERED.iter().find(|code| **code == error).copied()
    }
}

impl fmt::Display for ErrorResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}", self.status.as_u16())?;
        match self.shown_error() {
            Some(error) => write!(f, ", {error}"),
            None => Ok(()),
        }
    }
}
