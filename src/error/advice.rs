//! Advice at the end of an error's text: what a person checks first.

use http::StatusCode;

use super::TokenErrorKind;
use super::response::ErrorResponse;

/// Returns the advice for an error.
pub(super) fn of(
    kind: TokenErrorKind,
    response: Option<&ErrorResponse>,
    is_of_metadata: bool,
) -> &'static str {
    match kind {
        TokenErrorKind::Transport => "look at the way to that host, and at source()",
        TokenErrorKind::Timeout => "look at the load there, and at the timeouts here",
        TokenErrorKind::IncompleteResponse => "look at proxies on the way, and at source()",
        TokenErrorKind::ResponseTooLarge => "look at the URL that was asked",
        TokenErrorKind::Redirect => "look at Location in headers(), and at the URL that was asked",
        TokenErrorKind::ErrorResponse => match response {
            Some(response) => of_response(response, is_of_metadata),
            None => "look at body()",
        },
        TokenErrorKind::MalformedResponse => "look at the URL that was asked, and at body()",
        TokenErrorKind::InvalidAccessToken => "look at the URL that was asked, and at body()",
        TokenErrorKind::UnsupportedTokenType => "look at how this client is registered there",
        TokenErrorKind::ClientAuthentication => "look at the secret or key, and at source()",
        TokenErrorKind::Proof => "look at the URI of the request, and at source()",
        TokenErrorKind::InsecureUri => "look at the scheme, or at dangerously_allow_http",
        TokenErrorKind::EndpointNotAllowed => "look at allowed_endpoints",
        TokenErrorKind::InvalidIssuer => "look at the issuer's URL",
        TokenErrorKind::InvalidMetadata => "look at the issuer's URL, and at body()",
        TokenErrorKind::Source => "look at source()",
        TokenErrorKind::Rejected => "look for a caller or an API that rejects every token",
        TokenErrorKind::Interrupted => "look for a panic, or a runtime that was shut down",
        TokenErrorKind::NoTokens => {
            "look at the request's extensions, or give the layer tokens with OAuth2Layer::new"
        }
        TokenErrorKind::NoRuntime => "look at the runtime of the caller, and for enable_time",
    }
}

fn of_response(response: &ErrorResponse, is_of_metadata: bool) -> &'static str {
    const CLIENT: &str = "look at client id, secret and authentication method";
    const SERVER: &str = "look at the state of that server";
    match (response.registered_error(), response.status) {
        (Some("temporarily_unavailable" | "server_error"), _)
        | (None, StatusCode::REQUEST_TIMEOUT) => SERVER,
        (_, StatusCode::TOO_MANY_REQUESTS) => "look at how often it is asked, and at its limits",
        (_, status) if status.is_server_error() => SERVER,
        _ if is_of_metadata => "look at the issuer's URL",
        (Some("invalid_client"), _) => CLIENT,
        (Some("unauthorized_client" | "unsupported_grant_type"), _) => {
            "look at the grants that this client may use there"
        }
        (Some("invalid_scope" | "insufficient_scope"), _) => {
            "look at the scopes that this client may have there"
        }
        (Some("invalid_target"), _) => "look at audience and resource",
        (Some("access_denied"), _) => "look at what this client may have there",
        (Some("invalid_grant"), _) => "look at the assertion or token that was sent, and at clocks",
        (Some("invalid_request"), _) => "look at the parameters that this server wants",
        (Some("invalid_dpop_proof" | "use_dpop_nonce"), _) => "look at the key, and at clocks",
        (None, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => CLIENT,
        (None, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::GONE) => {
            "look at the URL that was asked"
        }
        _ => "look at error_description() and body()",
    }
}
