use std::borrow::Cow;

use crate::error::{TokenError, TokenErrorKind};

/// Returns a registered `error` code, a registered status, or the kind of the error.
///
/// Each of the three has a bounded number of values.
pub(super) fn error_type(error: &TokenError) -> Cow<'static, str> {
    use TokenErrorKind as Kind;
    match error.kind() {
        Kind::Transport => "transport",
        Kind::Timeout => "timeout",
        Kind::IncompleteResponse => "incomplete_response",
        Kind::ResponseTooLarge => "response_too_large",
        Kind::Redirect => "redirect",
        Kind::ErrorResponse => {
            let status = error.status().filter(|status| status.canonical_reason().is_some());
            return match (error.registered_error(), status) {
                (Some(code), _) => code.into(),
                (None, Some(status)) => status.as_str().to_owned().into(),
                (None, None) => "error_response".into(),
            };
        }
        Kind::MalformedResponse => "malformed_response",
        Kind::InvalidAccessToken => "invalid_access_token",
        Kind::UnsupportedTokenType => "unsupported_token_type",
        Kind::ClientAuthentication => "client_authentication",
        Kind::Proof => "proof",
        Kind::InsecureUri => "insecure_uri",
        Kind::EndpointNotAllowed => "endpoint_not_allowed",
        Kind::NoTokenEndpoint => "no_token_endpoint",
        Kind::InvalidIssuer => "invalid_issuer",
        Kind::InvalidMetadata => "invalid_metadata",
        Kind::Source => "source",
        Kind::Rejected => "rejected",
        Kind::Interrupted => "interrupted",
        Kind::NoRuntime => "no_runtime",
        Kind::NoTokens => "no_tokens",
        Kind::UnknownOrigin => "unknown_origin",
    }
    .into()
}
