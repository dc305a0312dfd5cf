use std::fmt::Debug;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use tower::{BoxError, Layer, Service, ServiceExt};
use tower_oauth2::client_auth::{ClientAuthentication, Identity, TokenRequestParts};
use tower_oauth2::replay::ReplayPolicy;
use tower_oauth2::service::TokenErrorResponseLayer;
use tower_oauth2::source::Cause;
use tower_oauth2::{
    AccessToken, ClientAuth, Credentials, OAuth2Layer, Origins, TokenCache, TokenEndpoint,
    TokenError, TokenRequest, Tokens,
};

use super::{HttpRequest, HttpResponse, layer_for, only, request, send, token_response};
use crate::support::{Api, SECRET, single_try};

const TOKEN: &str = "t0k3n-of-the-client";
const EXTRA: &str = "3xtr4-of-the-client";
const CLIENT_ID: &str = "1d-of-the-client";
const HIDDEN: &[&str] = &[SECRET, TOKEN, EXTRA, CLIENT_ID, "czNjcjN0", "MWQtb2Yt", "body-of-a-"];

/// An HTTP client that returns a token.
#[derive(Clone, Debug)]
struct Http;

impl Service<HttpRequest> for Http {
    type Response = HttpResponse;
    type Error = BoxError;
    type Future = std::future::Ready<Result<HttpResponse, BoxError>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), BoxError>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: HttpRequest) -> Self::Future {
        std::future::ready(Ok(token_response(TOKEN)))
    }
}

fn secretive() -> Credentials {
    let auth = ClientAuth::client_secret_basic(CLIENT_ID, SECRET);
    Credentials::new(format!("https://auth.test/token?key={EXTRA}"), auth)
        .unwrap()
        .scope("read")
        .audience(EXTRA)
        .resource(EXTRA)
        .parameter("assertion", EXTRA)
}

fn token() -> AccessToken {
    AccessToken::new(TOKEN)
        .unwrap()
        .with_expires_in(Duration::from_secs(60))
        .with_scope(EXTRA)
        .with_extra("id_token", EXTRA)
}

/// Asserts the exact `Debug` text, and that no form of it contains a secret.
#[track_caller]
fn debugs(value: &impl Debug, expected: &str) {
    assert_eq!(format!("{value:?}"), expected);
    hides(value);
}

#[track_caller]
fn hides(value: &impl Debug) {
    for text in [format!("{value:?}"), format!("{value:#?}")] {
        for hidden in HIDDEN {
            assert!(!text.contains(hidden), "{text}");
        }
    }
}

// X3
#[tokio::test]
async fn debug_redacts_credentials_and_tokens() {
    const CREDENTIALS: &str = "Credentials { token_endpoint: https://auth.test, \
        auth: ClientAuth(client_secret_basic), .. }";
    const ACCESS_TOKEN: &str = "AccessToken { secret: \"**redacted**\", lifetime: Some(60s), .. }";
    const TOKENS: &str = "Tokens { credentials: Credentials { \
        token_endpoint: https://auth.test, auth: ClientAuth(client_secret_basic), .. }, .. }";
    const CACHED_TOKEN: &str =
        "AccessToken { secret: \"**redacted**\", lifetime: Some(3600s), .. }";

    debugs(&ClientAuth::client_secret_basic(CLIENT_ID, SECRET), "ClientAuth(client_secret_basic)");
    debugs(
        &ClientAuth::client_secret_basic_raw(CLIENT_ID, SECRET),
        "ClientAuth(client_secret_basic_raw)",
    );
    debugs(&ClientAuth::client_secret_post(CLIENT_ID, SECRET), "ClientAuth(client_secret_post)");
    debugs(&ClientAuth::none(CLIENT_ID), "ClientAuth(none)");
    debugs(&secretive(), CREDENTIALS);
    debugs(&token(), ACCESS_TOKEN);
    debugs(&token().header_value(), "Sensitive");

    let token_request = TokenRequest::new(secretive());
    debugs(
        &token_request,
        &format!(
            "TokenRequest {{ credentials: {CREDENTIALS}, token: None, cause: Cold, claims: None }}"
        ),
    );
    debugs(
        &token_request.with_token(token(), Cause::Rejected),
        &format!(
            "TokenRequest {{ credentials: {CREDENTIALS}, token: Some({ACCESS_TOKEN}), \
             cause: Rejected, claims: None }}"
        ),
    );

    let endpoint = TokenEndpoint::new(Http).timeout(Duration::from_secs(3));
    hides(&endpoint);
    let cache = TokenCache::new(endpoint.clone());
    let tokens = cache.tokens(&secretive());
    debugs(&cache, "TokenCache { len: 1, .. }");
    debugs(&tokens, TOKENS);
    debugs(&tokens.get().await.unwrap(), CACHED_TOKEN);
    hides(&tokens.status());
    hides(&tokens.changes());
    debugs(&tokens, TOKENS);
    hides(&TokenCache::builder(endpoint));

    let layer = OAuth2Layer::new(tokens, only(&["https://api.test", "http://localhost:80"]))
        .replay_policy(ReplayPolicy::statuses([401, 419]));
    let config = format!(
        "LayerConfig {{ tokens: Some({TOKENS}), origins: [https://api.test, http://localhost], \
         policy: ReplayPolicy::statuses([401, 419]), header: \"authorization\", .. }}"
    );
    debugs(&layer, &format!("OAuth2Layer {{ config: {config} }}"));
    debugs(&layer.layer(Http), &format!("OAuth2 {{ inner: Http, config: {config}, .. }}"));
    let mut service = TokenErrorResponseLayer::new().layer(layer.layer(Http));
    debugs(
        &service,
        &format!("TokenErrorResponse {{ inner: OAuth2 {{ inner: Http, config: {config}, .. }} }}"),
    );
    debugs(&layer.layer(Http).call(request("https://api.test/")), "ResponseFuture { .. }");
    hides(&service.call(request("https://api.test/")));
    debugs(&Origins::any(), "Origins::any()");
}

// X3: the claims that an API requires are a parameter of the token request.
#[test]
fn debug_redacts_requested_claims() {
    let request =
        TokenRequest::new(secretive()).with_claims(format!(r#"{{"access_token":"{EXTRA}"}}"#));
    assert!(request.claims().unwrap().contains(EXTRA));
    debugs(
        &request,
        "TokenRequest { credentials: Credentials { token_endpoint: https://auth.test, \
         auth: ClientAuth(client_secret_basic), .. }, token: None, cause: Cold, \
         claims: Some(\"**redacted**\") }",
    );
}

// X3
#[tokio::test]
async fn debug_redacts_the_parts_of_a_token_request() {
    /// Prints its request, as a careless method may do.
    struct Careless;

    impl ClientAuthentication for Careless {
        fn method(&self) -> &str {
            "careless"
        }

        fn identify(&self, identity: &mut Identity) {
            identity.part(SECRET);
        }

        async fn authenticate(&self, request: &mut TokenRequestParts) -> Result<(), BoxError> {
            request.set_parameter("client_secret", SECRET);
            request.headers_mut().insert(AUTHORIZATION, HeaderValue::from_static(SECRET));
            debugs(request, "TokenRequestParts { .. }");
            Err("done".into())
        }
    }

    let auth = ClientAuth::custom(Careless);
    debugs(&auth, "ClientAuth(careless)");
    let credentials = Credentials::new("https://auth.test/token", auth).unwrap();
    let request = TokenRequest::new(credentials.parameter("assertion", EXTRA));
    let error = single_try(Http).oneshot(request).await.unwrap_err();
    let text = "no token from https://auth.test: the client could not authenticate; check the secret \
                or key, and source()";
    assert_eq!(error.to_string(), text);
    debugs(&error, &format!("TokenError {{ kind: ClientAuthentication, text: \"{text}\", .. }}"));
}

// X3, W5, alf 40
#[tokio::test(start_paused = true)]
async fn a_token_error_shows_status_and_registered_code_only() {
    let unknown = ("an unregistered code", "body()");
    for (error, (shown, look_at)) in [
        (r#""invalid_client""#, ("invalid_client", "client id, secret and authentication method")),
        (r#""s3cr3t-of-the-client""#, unknown),
        (r#""invalid_client\u001b[2J""#, unknown),
    ] {
        let body = format!(
            r#"{{"error":{error},"error_description":"{SECRET} {TOKEN}","error_uri":"https://{EXTRA}","access_token":"{TOKEN}","body-of-a-response":1}}"#
        );
        let auth_server = Api::new(move |_| {
            let mut response = Response::new(Full::from(body.clone()));
            *response.status_mut() = StatusCode::BAD_REQUEST;
            response.headers_mut().insert("x-secret", HeaderValue::from_static(SECRET));
            response.headers_mut().insert("retry-after", HeaderValue::from_static("7"));
            response
        });
        let tokens = Tokens::new(secretive(), single_try(auth_server));
        let found = tokens.get().await.unwrap_err();
        assert_eq!(
            found.to_string(),
            format!(
                "no token from https://auth.test: the endpoint answered with an error \
                 (status 400, {shown}); check {look_at}; the server's reason is in \
                 error_description()"
            )
        );
        debugs(
            &found,
            &format!(
                "TokenError {{ kind: ErrorResponse, text: \"{found}\", retry_after: 7s, \
                 retry_in: 7s, .. }}"
            ),
        );
        // The contents of the response are available by methods.
        assert!(found.error_description().unwrap().contains(SECRET));
        assert!(found.body().unwrap().starts_with(b"{"));
    }
}

// X3, R2
#[tokio::test]
async fn an_error_after_a_rejection_shows_only_its_status() {
    let source = crate::support::ScriptedSource::new(|n, _| async move {
        if n == 1 { Ok(token()) } else { Err(format!("the store said {n}").into()) }
    });
    let layer = OAuth2Layer::new(Tokens::new(secretive(), source), Origins::any());
    let api = Api::new(|request| {
        let mut response = HttpResponse::default();
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        let echo = request.headers()[AUTHORIZATION].clone();
        response.headers_mut().insert("x-echo", HeaderValue::from_bytes(echo.as_bytes()).unwrap());
        response
    });
    let error = send(&layer, &api, request("https://api.test/")).await.unwrap_err();
    let error = TokenError::find_in(&*error).unwrap();
    assert_eq!(error.rejected_response().unwrap().headers()["x-echo"], format!("Bearer {TOKEN}"));
    let shown = error.retry_in().unwrap();
    debugs(
        error,
        &format!(
            "TokenError {{ kind: Source, text: \"{error}\", rejected: 401, retry_in: {shown:?}, .. }}"
        ),
    );
    assert_eq!(
        error.to_string(),
        "no token from https://auth.test: the source of tokens failed; check source()"
    );
}

// X3
#[test]
fn configuration_errors_quote_no_secrets() {
    let auth = || ClientAuth::client_secret_basic(CLIENT_ID, SECRET);
    let error = AccessToken::new(format!("{TOKEN} {SECRET}")).unwrap_err();
    debugs(&error, "ConfigError(access token has characters that cannot be sent in a header)");
    for endpoint in [
        format!("https://{CLIENT_ID}:{SECRET}@auth.test"),
        format!("https://auth.test#{TOKEN}"),
        format!("{SECRET} {EXTRA}"),
    ] {
        let error = Credentials::new(&endpoint, auth()).unwrap_err();
        hides(&error);
        hides(&error.to_string());
        let error = Origins::only([&endpoint]).unwrap_err();
        hides(&error);
        hides(&error.to_string());
    }
}

// X3
#[tokio::test]
async fn sent_header_values_are_sensitive() {
    let (layer, _) = layer_for(Origins::any());
    let api = Api::accepting(|token| token != "token-1");
    send(&layer, &api, request("https://api.test/")).await.unwrap();
    let sent = api.requests();
    assert_eq!(sent.len(), 2);
    for request in sent {
        assert!(request.headers()[AUTHORIZATION].is_sensitive());
        assert!(!format!("{request:?}").contains("token-"), "{request:?}");
    }

    for auth in [
        ClientAuth::client_secret_basic(CLIENT_ID, SECRET),
        ClientAuth::client_secret_basic_raw(CLIENT_ID, SECRET),
    ] {
        let auth_server = Api::new(|_| token_response(TOKEN));
        let credentials = Credentials::new("https://auth.test/token", auth).unwrap();
        let request = TokenRequest::new(credentials);
        let token = single_try(auth_server.clone()).oneshot(request).await.unwrap();
        assert!(token.header_value().is_sensitive());
        hides(&token);
        assert!(auth_server.requests()[0].headers()[AUTHORIZATION].is_sensitive());
        hides(&auth_server.requests()[0]);
    }
}

// X3: a URI may contain secrets, so no error repeats one.
#[tokio::test]
async fn an_error_names_a_refused_request_by_its_origin_only() {
    let (layer, _) = layer_for(Origins::any());
    let uri = format!("http://{CLIENT_ID}:{SECRET}@api.test:8080/{EXTRA}?access_token={TOKEN}");
    let refused = send(&layer, &Api::always(200), request(&uri)).await.unwrap_err();
    let error = TokenError::find_in(&*refused).unwrap();
    let text = "no token for http://api.test:8080: the URI must use https or a loopback address; check the scheme, \
                or dangerously_allow_http";
    assert_eq!(error.to_string(), text);
    debugs(error, &format!("TokenError {{ kind: InsecureUri, text: \"{text}\", .. }}"));
}
