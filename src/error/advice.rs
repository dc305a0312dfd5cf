//! Advice at the end of an error's text, which names the first thing to check.

use http::StatusCode;

use super::TokenErrorKind;
use super::response::ErrorResponse;

/// Returns the advice for an error.
pub(super) fn for_error(
    kind: TokenErrorKind,
    response: Option<&ErrorResponse>,
    is_for_metadata: bool,
) -> &'static str {
    match kind {
        TokenErrorKind::Transport => "check the network path to that host, and source()",
        TokenErrorKind::Timeout => "check the load of that host, and the timeouts here",
        TokenErrorKind::IncompleteResponse => "check proxies on the network path, and source()",
        TokenErrorKind::ResponseTooLarge => "check the URL",
        TokenErrorKind::Redirect => "check the URL, and Location in headers()",
        TokenErrorKind::ErrorResponse => match response {
            Some(response) => for_error_response(response, is_for_metadata),
            None => "check body()",
        },
        TokenErrorKind::MalformedResponse => "check the URL and body()",
        TokenErrorKind::InvalidAccessToken => "check the URL and body()",
        TokenErrorKind::UnsupportedTokenType => "check the registration of this client",
        TokenErrorKind::ClientAuthentication => "check the secret or key, and source()",
        TokenErrorKind::Proof => "check the URI of the request, and source()",
        TokenErrorKind::InsecureUri => "check the scheme, or dangerously_allow_http",
        TokenErrorKind::EndpointNotAllowed => "check allowed_endpoints",
        TokenErrorKind::NoTokenEndpoint => "check the credentials: named ones need a custom source",
        TokenErrorKind::InvalidIssuer => "check the issuer's URL",
        TokenErrorKind::InvalidMetadata => "check the issuer's URL and body()",
        TokenErrorKind::Source => "check source()",
        TokenErrorKind::Rejected => "check for a caller or an API that rejects every token",
        TokenErrorKind::Interrupted => "check for a panic, or a runtime that was shut down",
        TokenErrorKind::NoTokens => {
            "name its tokens with RequestExt::tokens, or send it without one with no_token"
        }
        TokenErrorKind::UnknownOrigin => {
            "check the URI of the request, or list a single origin in the layer"
        }
        TokenErrorKind::NoRuntime => "check the caller's runtime and enable_time",
    }
}

fn for_error_response(response: &ErrorResponse, is_for_metadata: bool) -> &'static str {
    const CLIENT: &str = "check client id, secret and authentication method";
    const SERVER: &str = "check the state of that server";
    match (response.registered_error(), response.status) {
        (Some("temporarily_unavailable" | "server_error"), _)
        | (None, StatusCode::REQUEST_TIMEOUT) => SERVER,
        (Some("slow_down"), _) | (_, StatusCode::TOO_MANY_REQUESTS) => {
            "check the rate of token requests and the server's limits"
        }
        (_, status) if status.is_server_error() => SERVER,
        _ if is_for_metadata => "check the issuer's URL",
        (Some("invalid_client"), _) => CLIENT,
        (Some("unauthorized_client" | "unsupported_grant_type"), _) => {
            "check the grants that this client may use"
        }
        (Some("invalid_scope" | "insufficient_scope"), _) => {
            "check the scopes that this client may request"
        }
        (Some("invalid_target"), _) => "check audience and resource",
        (Some("access_denied"), _) => "check the permissions of this client",
        (Some("invalid_grant"), _) => "check the assertion or token that was sent, and clocks",
        (Some("invalid_request"), _) => "check the parameters that this server requires",
        (Some("invalid_dpop_proof" | "use_dpop_nonce"), _) => "check the key and clocks",
        (None, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => CLIENT,
        (None, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::GONE) => {
            "check the URL"
        }
        _ => "check error_description() and body()",
    }
}
