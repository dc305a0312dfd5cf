//! Gives advice at the end of an error's text.
//!
//! It names the first thing to check.

use http::StatusCode;

use super::TokenErrorKind;
use super::response::ErrorResponse;

/// The facts about a token request that its error is judged by.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RequestFacts {
    pub(crate) grant: GrantKind,
    /// `true` if an assertion authenticates the client.
    pub(crate) has_client_assertion: bool,
    /// `true` if the request has a DPoP proof.
    pub(crate) has_proof: bool,
    /// `true` if the caller polls the grant at an interval (RFC 8628 section 3.5).
    pub(crate) is_polled: bool,
}

/// The grants that advice distinguishes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum GrantKind {
    ClientCredentials,
    JwtBearer,
    RefreshToken,
    TokenExchange,
    #[default]
    Other,
}

/// Returns the advice for an error.
pub(super) fn for_error(
    kind: TokenErrorKind,
    response: Option<&ErrorResponse>,
    facts: RequestFacts,
    is_for_metadata: bool,
) -> &'static str {
    match kind {
        TokenErrorKind::Transport => "check the network path to that host, and source()",
        TokenErrorKind::Timeout => "check the load of that host, and the timeouts here",
        TokenErrorKind::IncompleteResponse => "check proxies on the network path, and source()",
        TokenErrorKind::ResponseTooLarge => "check the URL",
        TokenErrorKind::Redirect if response.is_none() => "check the URL",
        TokenErrorKind::Redirect => "check the URL, and Location in headers()",
        TokenErrorKind::ErrorResponse => match response {
            Some(response) => for_error_response(response, facts, is_for_metadata),
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

const CLIENT: &str = "check client id, secret and authentication method";
const CLIENT_ASSERTION: &str = "check the client id, and the assertion that authenticates the \
                                client: its audience, key id and algorithm, and the clocks";
const CLIENT_OR_GRANT_ASSERTION: &str = "check client id, secret and authentication method, and the assertion of the grant: its \
     audience, key id and algorithm, and the clocks";
const GRANT_ASSERTION: &str =
    "check the assertion of the grant: its audience, key id and algorithm, and the clocks";
const GRANTS: &str = "check the grants that this client may use";
const PROOF: &str = "check the DPoP proof: its key, and the clocks";
const SERVER: &str = "check the state of that server";
const SUBJECT_TOKEN: &str =
    "check the subject token: its type, issuer, audience and remaining lifetime";

/// Returns whether the client is unknown or could not prove its identity.
///
/// Keycloak answers a wrong secret with 401 and `unauthorized_client`.
fn is_client_refused(error: Option<&str>, status: StatusCode) -> bool {
    match error {
        Some("invalid_client") => true,
        Some("unauthorized_client") => status == StatusCode::UNAUTHORIZED,
        None => matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN),
        Some(_) => false,
    }
}

fn for_error_response(
    response: &ErrorResponse,
    facts: RequestFacts,
    is_for_metadata: bool,
) -> &'static str {
    let (error, status) = (response.registered_error(), response.status);
    match (error, status) {
        (Some("temporarily_unavailable" | "server_error"), _)
        | (None, StatusCode::REQUEST_TIMEOUT) => SERVER,
        (Some("slow_down"), _) | (_, StatusCode::TOO_MANY_REQUESTS) => {
            "check the rate of token requests and the server's limits"
        }
        (_, status) if status.is_server_error() => SERVER,
        _ if is_for_metadata => "check the issuer's URL",
        _ if is_client_refused(error, status) && facts.has_client_assertion => CLIENT_ASSERTION,
        // The assertion of the grant may be the only proof of the client's identity.
        _ if is_client_refused(error, status) && facts.grant == GrantKind::JwtBearer => {
            CLIENT_OR_GRANT_ASSERTION
        }
        _ if is_client_refused(error, status) => CLIENT,
        (Some("unauthorized_client" | "unsupported_grant_type"), _) => GRANTS,
        (Some("invalid_scope" | "insufficient_scope"), _) => {
            "check the scopes that this client may request"
        }
        (Some("invalid_target"), _) => "check audience and resource",
        (Some("invalid_authorization_details"), _) => "check authorization_details",
        (Some("access_denied"), _) => "check the permissions of this client",
        (Some("invalid_grant"), _) => for_refused_grant(facts),
        (Some("invalid_request"), _) if facts.grant == GrantKind::TokenExchange => {
            // RFC 8693 section 2.2.2
            "check the subject token, and the parameters that this server requires"
        }
        (Some("invalid_request"), _) if facts.has_proof => {
            "check the parameters that this server requires, and the DPoP proof"
        }
        (Some("invalid_request"), _) => "check the parameters that this server requires",
        (Some("invalid_dpop_proof" | "use_dpop_nonce"), _) => PROOF,
        (None, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::GONE) => {
            "check the URL"
        }
        _ => "check body()",
    }
}

fn for_refused_grant(facts: RequestFacts) -> &'static str {
    match (facts.grant, facts.has_client_assertion) {
        (GrantKind::ClientCredentials, false) => GRANTS,
        (GrantKind::ClientCredentials, true) => {
            "check the grants that this client may use, and the assertion that authenticates it"
        }
        (GrantKind::JwtBearer, _) => GRANT_ASSERTION,
        (GrantKind::TokenExchange, _) => SUBJECT_TOKEN,
        (GrantKind::RefreshToken, false) => {
            "the refresh token is no longer valid: the user has to authorize again"
        }
        // Some servers refuse the assertion with this code too.
        (GrantKind::RefreshToken, true) => {
            "check the assertion that authenticates the client; if the server accepts it, the \
             refresh token is no longer valid, and the user has to authorize again"
        }
        (GrantKind::Other, _) => "check the assertion or token that was sent, and clocks",
    }
}
