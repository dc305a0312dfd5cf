//! W5: error messages name the failure, the host and what to check.

use std::collections::HashSet;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{Full, StreamBody};
use tower::{BoxError, ServiceExt, service_fn};
use tower_oauth2::TokenErrorKind::{self, *};
use tower_oauth2::grant::{Grant, JwtBearer, RefreshToken, TokenExchange, TokenType};
use tower_oauth2::metadata::Metadata;
use tower_oauth2::{
    ClientAuth, Credentials, OAuth2Layer, Origins, Secret, TokenEndpoint, TokenError, TokenRequest,
    Tokens,
};

use crate::support::{Api, ScriptedSource, credentials, credentials_at, get, scripted};

fn answering(status: u16, body: impl Into<Bytes>) -> Api {
    let body = body.into();
    Api::new(move |_| {
        let mut response = Response::new(Full::from(body.clone()));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response
    })
}

async fn answered(status: u16, body: impl Into<Bytes>) -> TokenError {
    let endpoint = TokenEndpoint::new(answering(status, body));
    endpoint.oneshot(TokenRequest::new(credentials())).await.unwrap_err()
}

async fn cached(source: ScriptedSource) -> TokenError {
    Tokens::new(credentials(), source).get().await.unwrap_err()
}

async fn without_answer() -> TokenError {
    let endpoint = TokenEndpoint::new(scripted(|_| Err("no route to host".into())));
    endpoint.oneshot(TokenRequest::new(credentials())).await.unwrap_err()
}

async fn too_late() -> TokenError {
    let http = service_fn(|_: Request<Full<Bytes>>| {
        std::future::pending::<Result<Response<Full<Bytes>>, BoxError>>()
    });
    TokenEndpoint::new(http).oneshot(TokenRequest::new(credentials())).await.unwrap_err()
}

async fn broken_off() -> TokenError {
    let http = service_fn(|_: Request<Full<Bytes>>| async {
        let frames: [Result<Frame<Bytes>, BoxError>; 2] =
            [Ok(Frame::data(Bytes::from("{"))), Err("connection reset".into())];
        Ok::<_, BoxError>(Response::new(StreamBody::new(futures_util::stream::iter(frames))))
    });
    TokenEndpoint::new(http).oneshot(TokenRequest::new(credentials())).await.unwrap_err()
}

async fn without_secret() -> TokenError {
    let secret =
        Secret::from_fn("vault", || async { Err::<String, BoxError>("encryption".into()) });
    let auth = ClientAuth::client_secret_basic("client-id", secret);
    let credentials = Credentials::new("https://auth.test", auth).unwrap();
    let endpoint = TokenEndpoint::new(answering(200, ""));
    endpoint.oneshot(TokenRequest::new(credentials)).await.unwrap_err()
}

async fn insecure_endpoint() -> TokenError {
    let endpoint = TokenEndpoint::new(answering(200, ""));
    let credentials = credentials_at("http://auth.test/token");
    endpoint.oneshot(TokenRequest::new(credentials)).await.unwrap_err()
}

async fn insecure_request() -> TokenError {
    let tokens = Tokens::new(credentials(), ScriptedSource::tokens(crate::support::hour));
    let layer = OAuth2Layer::new(tokens, Origins::any());
    let mut request = get("/");
    *request.uri_mut() = "http://api.test/things".parse().unwrap();
    let error = layer.layer(Api::always(200)).oneshot(request).await.unwrap_err();
    TokenError::find_in(&*error).unwrap().clone()
}

async fn not_allowed() -> TokenError {
    let endpoint = TokenEndpoint::new(answering(200, ""));
    let endpoint = endpoint.allowed_endpoints(["https://login.test/token"]).unwrap();
    endpoint.oneshot(TokenRequest::new(credentials())).await.unwrap_err()
}

async fn metadata(issuer: &str, status: u16, body: &'static str) -> TokenError {
    Metadata::fetch(issuer, answering(status, body)).await.unwrap_err()
}

/// Polls `get` on a thread without a runtime.
fn without_runtime() -> TokenError {
    std::thread::spawn(|| {
        let tokens = Tokens::new(credentials(), ScriptedSource::tokens(crate::support::hour));
        match pin!(tokens.get()).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => outcome.unwrap_err(),
            Poll::Pending => panic!("waits without a runtime"),
        }
    })
    .join()
    .unwrap()
}

#[cfg(feature = "jwt")]
async fn without_host() -> TokenError {
    let bound = credentials().dpop(tower_oauth2::jwt::DpopKey::generate().unwrap());
    let source = ScriptedSource::new(|_, _| async { Ok(tower_oauth2::AccessToken::dpop("t")?) });
    let layer = OAuth2Layer::new(Tokens::new(bound, source), Origins::any());
    let mut request = get("/");
    *request.uri_mut() = "/things".parse().unwrap();
    let error = layer.layer(Api::always(200)).oneshot(request).await.unwrap_err();
    TokenError::find_in(&*error).unwrap().clone()
}

// W5
#[tokio::test(start_paused = true)]
async fn each_kind_of_error_names_the_failure_the_host_and_a_remedy() {
    let panicking = ScriptedSource::new(|_, _| async { panic!("on purpose") });
    let failing = ScriptedSource::new(|_, _| async { Err("no more tokens".into()) });
    let table: Vec<(TokenErrorKind, TokenError, &str)> = vec![
        (
            Transport,
            without_answer().await,
            "no token from https://auth.test: the request failed before a response arrived \
             (no route to host); check the network path to that host, and source()",
        ),
        (
            Timeout,
            too_late().await,
            "no token from https://auth.test: the request timed out; \
             check the load of that host, and the timeouts here",
        ),
        (
            IncompleteResponse,
            broken_off().await,
            "no token from https://auth.test: the response is incomplete (connection reset); \
             check proxies on the network path, and source()",
        ),
        (
            ResponseTooLarge,
            answered(200, vec![b' '; (1 << 20) + 1]).await,
            "no token from https://auth.test: the response is larger than 1 MiB; \
             check the URL",
        ),
        (
            Redirect,
            answered(302, "").await,
            "no token from https://auth.test: the endpoint redirects, and redirects are not followed \
             (status 302); check the URL, and Location in headers()",
        ),
        (
            ErrorResponse,
            answered(401, r#"{"error":"invalid_client"}"#).await,
            "no token from https://auth.test: the endpoint answered with an error (status 401, \
             invalid_client); check client id, secret and authentication method",
        ),
        (
            ErrorResponse,
            metadata("https://auth.test", 403, "").await,
            "no metadata from https://auth.test: the endpoint answered with an error (status 403); \
             check the issuer's URL",
        ),
        (
            MalformedResponse,
            answered(200, "<html>").await,
            "no token from https://auth.test: the response is not a JSON object (status 200); \
             check the URL and body()",
        ),
        (
            InvalidAccessToken,
            answered(200, "{}").await,
            "no token from https://auth.test: the response has no usable access_token (status 200): \
             access_token is missing; check the URL and body()",
        ),
        (
            UnsupportedTokenType,
            answered(200, r#"{"access_token":"t","token_type":"mac"}"#).await,
            "no token from https://auth.test: the response has a token_type that is not supported \
             (status 200): neither Bearer nor a TokenEndpoint::token_type_alias; \
             check the registration of this client",
        ),
        (
            ClientAuthentication,
            without_secret().await,
            "no token from https://auth.test: the client could not authenticate; \
             check the secret or key, and source()",
        ),
        #[cfg(feature = "jwt")]
        (
            Proof,
            without_host().await,
            "no token: a DPoP proof could not be created: the request names no host, and \
             the layer's origins are not just one; check the URI of the request, and source()",
        ),
        (
            InsecureUri,
            insecure_endpoint().await,
            "no token from http://auth.test: the URI must use https or a loopback address; \
             check the scheme, or dangerously_allow_http",
        ),
        (
            InsecureUri,
            insecure_request().await,
            "no token for http://api.test: the URI must use https or a loopback address; \
             check the scheme, or dangerously_allow_http",
        ),
        (
            EndpointNotAllowed,
            not_allowed().await,
            "no token from https://auth.test: this endpoint is not allowed; \
             check allowed_endpoints",
        ),
        (
            InvalidIssuer,
            metadata("auth.test", 200, "").await,
            "no metadata: the URL of the issuer is invalid (issuer needs a scheme and a host: \
             auth.test); check the issuer's URL",
        ),
        (
            InvalidMetadata,
            metadata("https://auth.test", 200, r#"{"issuer":"https://auth.test"}"#).await,
            "no metadata from https://auth.test: the metadata is invalid (status 200): \
             the document has no token_endpoint; check the issuer's URL and body()",
        ),
        (
            TokenErrorKind::Source,
            cached(failing).await,
            "no token from https://auth.test: the source of tokens failed; check source()",
        ),
        (
            Interrupted,
            cached(panicking).await,
            "no token from https://auth.test: the token request ended without a result; \
             check for a panic, or a runtime that was shut down",
        ),
        (
            NoRuntime,
            without_runtime(),
            "no token from https://auth.test: a token request needs a tokio runtime \
             with a timer; check the caller's runtime and enable_time",
        ),
    ];
    let mut kinds = HashSet::new();
    for (kind, error, text) in table {
        assert_eq!((error.kind(), &*error.to_string()), (kind, text));
        assert!(text.contains(&kind.to_string()) && text.contains("; check "), "{text}");
        kinds.insert(kind);
    }
    assert_eq!(kinds.len(), if cfg!(feature = "jwt") { 18 } else { 17 }, "all kinds there are");
}

// W5
#[tokio::test(start_paused = true)]
async fn the_advice_for_an_error_response_depends_on_code_and_status() {
    const CLIENT: &str = "client id, secret and authentication method";
    const GRANTS: &str = "the grants that this client may use";
    const SCOPES: &str = "the scopes that this client may request";
    const LIMITS: &str = "the rate of token requests and the server's limits";
    const SERVER: &str = "the state of that server";
    const URL: &str = "the URL";
    const ANSWER: &str = "body()";
    for (status, code, look_at) in [
        (401, "invalid_client", CLIENT),
        (400, "invalid_client", CLIENT),
        (200, "invalid_client", CLIENT),
        (401, "", CLIENT),
        (403, "", CLIENT),
        (400, "unauthorized_client", GRANTS),
        // Keycloak's answer to a wrong secret.
        (401, "unauthorized_client", CLIENT),
        (400, "invalid_authorization_details", "authorization_details"),
        (400, "unsupported_grant_type", GRANTS),
        (400, "invalid_scope", SCOPES),
        (403, "insufficient_scope", SCOPES),
        (400, "invalid_target", "audience and resource"),
        (403, "access_denied", "the permissions of this client"),
        (400, "invalid_grant", GRANTS),
        (400, "invalid_request", "the parameters that this server requires"),
        (400, "invalid_dpop_proof", "the DPoP proof: its key, and the clocks"),
        (429, "", LIMITS),
        (429, "invalid_request", LIMITS),
        (500, "", SERVER),
        (503, "temporarily_unavailable", SERVER),
        (200, "server_error", SERVER),
        (500, "invalid_request", SERVER),
        (408, "", SERVER),
        (404, "", URL),
        (405, "", URL),
        (410, "", URL),
        (400, "", ANSWER),
        (400, "s3cr3t", ANSWER),
        (401, "s3cr3t", CLIENT),
        (418, "login_required", ANSWER),
    ] {
        let error = answered(status, format!(r#"{{"error":"{code}"}}"#)).await;
        let text = error.to_string();
        assert!(text.ends_with(&format!("; check {look_at}")), "{status} {code}: {text}");
        assert!(!text.contains("s3cr3t") && text.len() < 200, "{text}");
    }
}

/// Returns the advice of the error for these credentials.
async fn advice(credentials: Credentials, status: u16, body: &'static str) -> String {
    let endpoint = TokenEndpoint::new(answering(status, body));
    let error = endpoint.oneshot(TokenRequest::new(credentials)).await.unwrap_err();
    error.to_string().split_once("; ").unwrap().1.to_owned()
}

const INVALID_GRANT: &str = r#"{"error":"invalid_grant"}"#;
const INVALID_CLIENT: &str = r#"{"error":"invalid_client"}"#;
const INVALID_REQUEST: &str = r#"{"error":"invalid_request"}"#;

// W5
#[tokio::test]
async fn the_advice_for_a_refused_grant_depends_on_the_grant() {
    let base = credentials();
    let asserted = Credentials::new(
        "https://auth.test/token",
        ClientAuth::client_assertion("client-id", "assertion"),
    )
    .unwrap();
    let user = RefreshToken::in_memory("alf", "r-1");
    let jwt = JwtBearer::assertion("jwt");
    for (client, expected) in [
        (
            base.clone(),
            "check client id, secret and authentication method, and the assertion of the grant: \
             its audience, key id and algorithm, and the clocks",
        ),
        (
            asserted.clone(),
            "check the client id, and the assertion that authenticates the client: its audience, \
             key id and algorithm, and the clocks",
        ),
    ] {
        let text = advice(client.grant(jwt.clone()), 401, INVALID_CLIENT).await;
        assert_eq!(text, expected);
    }
    let exchange = TokenExchange::new("subject", TokenType::JWT);
    let custom = Grant::custom("urn:ietf:params:oauth:grant-type:token-exchange");
    for (credentials, expected) in [
        (base.clone(), "check the grants that this client may use"),
        (
            asserted.clone(),
            "check the grants that this client may use, and the assertion that authenticates it",
        ),
        (
            base.clone().grant(jwt),
            "check the assertion of the grant: its audience, key id and algorithm, and the clocks",
        ),
        (
            base.clone().grant(exchange),
            "check the subject token: its type, issuer, audience and remaining lifetime",
        ),
        (
            base.clone().grant(custom),
            "check the subject token: its type, issuer, audience and remaining lifetime",
        ),
        (
            base.clone().grant(user.clone()),
            "the refresh token is no longer valid: the user has to authorize again",
        ),
        (
            asserted.grant(user),
            "check the assertion that authenticates the client; if the server accepts it, the \
             refresh token is no longer valid, and the user has to authorize again",
        ),
        (
            base.grant(Grant::custom("own")),
            "check the assertion or token that was sent, and clocks",
        ),
    ] {
        assert_eq!(advice(credentials, 400, INVALID_GRANT).await, expected);
    }
}

// W5
#[tokio::test]
async fn the_advice_names_the_assertion_or_the_proof() {
    let auth = ClientAuth::client_assertion("client-id", "assertion");
    let asserted = || Credentials::new("https://auth.test/token", auth.clone()).unwrap();
    let expected = "check the client id, and the assertion that authenticates the client: its \
                    audience, key id and algorithm, and the clocks";
    for (status, body) in [
        (401, INVALID_CLIENT),
        (400, INVALID_CLIENT),
        (401, ""),
        (401, r#"{"error":"unauthorized_client"}"#),
    ] {
        assert_eq!(advice(asserted(), status, body).await, expected, "{status} {body}");
    }
    let exchange = TokenExchange::new("subject", TokenType::JWT);
    assert_eq!(
        advice(credentials().grant(exchange), 400, INVALID_REQUEST).await,
        "check the subject token, and the parameters that this server requires"
    );
    #[cfg(feature = "jwt")]
    {
        let bound = credentials().dpop(tower_oauth2::jwt::DpopKey::generate().unwrap());
        assert_eq!(
            advice(bound, 400, INVALID_REQUEST).await,
            "check the parameters that this server requires, and the DPoP proof"
        );
    }
}

// W5
#[tokio::test]
async fn the_advice_says_where_the_servers_reason_is() {
    let body = r#"{"error":"invalid_scope","error_description":"s3cr3t"}"#;
    assert_eq!(
        advice(credentials(), 400, body).await,
        "check the scopes that this client may request; \
         the server's reason is in error_description()"
    );
    let body = r#"{"error":"invalid_scope","error_description":" "}"#;
    assert!(advice(credentials(), 400, body).await.ends_with("this client may request"));
}
