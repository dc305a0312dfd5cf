use std::fmt::Debug;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use tower::{BoxError, Layer, Service, ServiceExt};
use tower_oauth2::client_auth::{ClientAuthentication, TokenRequestParts};
use tower_oauth2::replay::ReplayPolicy;
use tower_oauth2::service::TokenErrorResponseLayer;
use tower_oauth2::source::Cause;
use tower_oauth2::{
    AccessToken, ClientAuth, Credentials, OAuth2Layer, Origins, TokenCache, TokenEndpoint,
    TokenError, TokenRequest,
};

use super::{HttpRequest, HttpResponse, layer_for, only, request, send, token_response};
use crate::support::{Api, SECRET};

const TOKEN: &str = "t0k3n-of-the-client";
const EXTRA: &str = "3xtr4-of-the-client";
const CLIENT_ID: &str = "1d-of-the-client";
const HIDDEN: &[&str] = &[SECRET, TOKEN, EXTRA, CLIENT_ID, "czNjcjN0", "MWQtb2Yt", "body-of-a-"];

/// Stands for an HTTP client in the `Debug` of those that hold one.
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

/// The exact `Debug` text, in which nothing is that has to stay hidden, nor in the long form.
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
    const CACHE: &str = "TokenCache { credentials: Credentials { \
        token_endpoint: https://auth.test, auth: ClientAuth(client_secret_basic), .. }, \
        len: 0, .. }";

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

    let asked = TokenRequest::new(secretive());
    debugs(
        &asked,
        &format!(
            "TokenRequest {{ credentials: {CREDENTIALS}, token: None, cause: Cold, claims: None }}"
        ),
    );
    debugs(
        &asked.in_place_of(token(), Cause::Rejected),
        &format!(
            "TokenRequest {{ credentials: {CREDENTIALS}, token: Some({ACCESS_TOKEN}), \
             cause: Rejected, claims: None }}"
        ),
    );

    let endpoint = TokenEndpoint::new(Http).timeout(Duration::from_secs(3));
    debugs(&endpoint, "TokenEndpoint { http: Http, timeout: 3s, .. }");
    let tokens = TokenCache::new(secretive(), endpoint.clone());
    debugs(&tokens, CACHE);
    tokens.get().await.unwrap();
    tokens.get_for(&secretive().audience("other")).await.unwrap();
    let cache = CACHE.replace("len: 0", "len: 1");
    debugs(&tokens, &cache);
    hides(&TokenCache::builder(secretive(), endpoint));

    let layer = OAuth2Layer::new(tokens, only(&["https://api.test", "http://localhost:80"]))
        .replay_policy(ReplayPolicy::statuses([401, 419]));
    let config = format!(
        "LayerConfig {{ tokens: {cache}, origins: [https://api.test, http://localhost], \
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

// X3: what an API wants to be in a token is a parameter of the token request like any other.
#[test]
fn debug_redacts_the_claims_that_are_asked_for() {
    let asked =
        TokenRequest::new(secretive()).with_claims(format!(r#"{{"access_token":"{EXTRA}"}}"#));
    assert!(asked.claims().unwrap().contains(EXTRA));
    debugs(
        &asked,
        "TokenRequest { credentials: Credentials { token_endpoint: https://auth.test, \
         auth: ClientAuth(client_secret_basic), .. }, token: None, cause: Cold, \
         claims: Some(\"**redacted**\") }",
    );
}

// X3
#[tokio::test]
async fn what_client_authentication_is_shown_can_be_debugged() {
    /// Puts what it sees into an error, as a careless method might.
    struct Careless;

    impl ClientAuthentication for Careless {
        fn method(&self) -> &str {
            "careless"
        }

        fn identity(&self) -> Vec<u8> {
            SECRET.into()
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
    let asked = TokenRequest::new(credentials.parameter("assertion", EXTRA));
    let error = TokenEndpoint::new(Http).oneshot(asked).await.unwrap_err();
    let text = "no token from https://auth.test: the client could not authenticate; check the secret \
                or key, and source()";
    assert_eq!(error.to_string(), text);
    debugs(&error, &format!("TokenError {{ kind: ClientAuthentication, text: \"{text}\", .. }}"));
}

// X3, W5, alf 40
#[tokio::test(start_paused = true)]
async fn a_token_error_shows_status_and_registered_code_and_nothing_that_it_was_sent() {
    let unknown = ("an unregistered code", "error_description() and body()");
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
        let tokens = TokenCache::new(secretive(), TokenEndpoint::new(auth_server));
        let found = tokens.get().await.unwrap_err();
        assert_eq!(
            found.to_string(),
            format!(
                "no token from https://auth.test: the endpoint answered with an error \
                 (status 400, {shown}); check {look_at}"
            )
        );
        debugs(
            &found,
            &format!(
                "TokenError {{ kind: ErrorResponse, text: \"{found}\", retry_after: 7s, \
                 retry_in: 7s, .. }}"
            ),
        );
        // What was answered is there for those who ask for it.
        assert!(found.error_description().unwrap().contains(SECRET));
        assert!(found.body().unwrap().starts_with(b"{"));
    }
}

// X3, R2
#[tokio::test]
async fn an_error_that_tells_of_a_rejection_shows_its_status_only() {
    let source = crate::support::Source::new(|n, _| async move {
        if n == 1 { Ok(token()) } else { Err(format!("the store said {n}").into()) }
    });
    let layer = OAuth2Layer::new(TokenCache::new(secretive(), source), Origins::any());
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
fn errors_of_configuration_quote_nothing() {
    let auth = || ClientAuth::client_secret_basic(CLIENT_ID, SECRET);
    let error = AccessToken::new(format!("{TOKEN} {SECRET}")).unwrap_err();
    debugs(&error, "ConfigError(access token: has characters that cannot be sent in a header)");
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
async fn what_is_sent_is_marked_as_sensitive() {
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
        let asked = TokenRequest::new(credentials);
        let token = TokenEndpoint::new(auth_server.clone()).oneshot(asked).await.unwrap();
        assert!(token.header_value().is_sensitive());
        hides(&token);
        assert!(auth_server.requests()[0].headers()[AUTHORIZATION].is_sensitive());
        hides(&auth_server.requests()[0]);
    }
}

// X3: secrets in a URI are the caller's own, and no error repeats them.
#[tokio::test]
async fn a_refused_request_is_named_by_its_origin_only() {
    let (layer, _) = layer_for(Origins::any());
    let uri = format!("http://{CLIENT_ID}:{SECRET}@api.test:8080/{EXTRA}?access_token={TOKEN}");
    let refused = send(&layer, &Api::always(200), request(&uri)).await.unwrap_err();
    let error = TokenError::find_in(&*refused).unwrap();
    let text = "no token for http://api.test:8080: the URI must use https or a loopback address; check the scheme, \
                or dangerously_allow_http";
    assert_eq!(error.to_string(), text);
    debugs(error, &format!("TokenError {{ kind: InsecureUri, text: \"{text}\", .. }}"));
}
