use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use tower::retry::RetryLayer;
use tower::{BoxError, Layer, ServiceExt, service_fn};
use tower_oauth2::client_auth::{ClientAuthentication, Identity, TokenRequestParts};
use tower_oauth2::service::TokenErrorResponseLayer;
use tower_oauth2::source::{Backoff, TokenRetry};
use tower_oauth2::{
    AccessToken, ClientAuth, Credentials, OAuth2Layer, Origins, RequestExt, TokenCache,
    TokenRequest, Tokens,
};

use super::said;
use crate::support::{Api, SECRET, ScriptedSource, Trace, lasting, settle, single_try};

type HttpRequest = Request<Full<Bytes>>;
type HttpResponse = Response<Full<Bytes>>;

const CLIENT_ID: &str = "1d-of-the-client";
const TENANT: &str = "t3nant";
const TOKEN: &str = "t0k3n";
const EXTRA: &str = "3xtr4";
const BODY: &str = "b0dy";

/// Secrets in clear text, and as Basic authentication sends them.
const HIDDEN: &[&str] = &[
    SECRET,
    CLIENT_ID,
    TENANT,
    TOKEN,
    EXTRA,
    BODY,
    "MWQtb2YtdGhlLWNsaWVudD",
    "dDNuYW50",
    "Bearer",
];

fn secretive(id: &str) -> Credentials {
    let endpoint = format!("https://auth.test/{EXTRA}?key={EXTRA}");
    Credentials::new(endpoint, ClientAuth::client_secret_basic(id, SECRET))
        .unwrap()
        .scope(EXTRA)
        .audience(EXTRA)
        .resource(format!("urn:{EXTRA}"))
        .parameter("assertion", EXTRA)
}

/// Returns a token response that repeats parts of the request, in success and in failure.
fn echo(n: usize, request: &HttpRequest) -> HttpResponse {
    let (status, error) = match n % 5 {
        0 => (500, format!(r#""{SECRET}""#)),
        1 => (400, r#""invalid_client""#.to_owned()),
        2 => (200, format!(r#""{TOKEN}-{n}""#)),
        _ => (200, "null".to_owned()),
    };
    let body = format!(
        r#"{{"access_token":"{TOKEN}-{n}","expires_in":60,"scope":"{EXTRA}","id_token":"{EXTRA}",
            "error":{error},"error_description":"{SECRET} {BODY}","error_uri":"{CLIENT_ID}"}}"#
    );
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    if let Some(sent) = request.headers().get(AUTHORIZATION) {
        let sent = HeaderValue::from_bytes(sent.as_bytes()).unwrap();
        response.headers_mut().insert(WWW_AUTHENTICATE, sent);
    }
    response
}

/// Repeats the request in the response, and rejects two of three requests. Requires claims.
fn rejecting(n: usize, request: &HttpRequest) -> HttpResponse {
    let mut response = Response::new(request.body().clone());
    if n % 3 != 0 {
        *response.status_mut() = StatusCode::UNAUTHORIZED;
    }
    if let Some(sent) = request.headers().get(AUTHORIZATION) {
        let sent = HeaderValue::from_bytes(sent.as_bytes()).unwrap();
        response.headers_mut().insert(WWW_AUTHENTICATE, sent);
    }
    let claims = BASE64_STANDARD.encode(format!(r#"{{"access_token":"{EXTRA}"}}"#));
    let challenge = format!(r#"Bearer error="insufficient_claims", claims="{claims}""#);
    response.headers_mut().append(WWW_AUTHENTICATE, challenge.parse().unwrap());
    response
}

fn counted(answer: fn(usize, &HttpRequest) -> HttpResponse) -> Api {
    let count = Arc::new(AtomicUsize::new(0));
    Api::new(move |request| answer(count.fetch_add(1, Ordering::SeqCst), request))
}

// O, X3, alf 41
#[tokio::test(start_paused = true)]
async fn telemetry_has_no_token_secret_client_id_or_parameter() {
    let (trace, _guard) = Trace::start();
    #[cfg(feature = "metrics")]
    let (meter, _recording) = crate::support::Meter::start();
    // Back-off and renewal are random.
    fastrand::seed(1);

    // Many requests: misses, hits, expiry, rejections, replays, breakers, failures, retries and
    // tenants.
    let source = RetryLayer::new(TokenRetry::new(1)).layer(single_try(counted(echo)));
    let cache = TokenCache::builder(source)
        .transient_backoff(Backoff::new(Duration::from_millis(100), Duration::from_secs(1)))
        .build();
    let tokens = cache.tokens(&secretive(CLIENT_ID));
    let tenant = cache.tokens(&secretive(TENANT));
    tokens.keep_warm().unwrap();
    let origins = Origins::only(["https://api.test", "http://insecure.test"]).unwrap();
    let api = TokenErrorResponseLayer::new()
        .layer(OAuth2Layer::new(tokens.clone(), origins).layer(counted(rejecting)));
    for n in 0..200 {
        let host = ["https://api.test", "https://foreign.test", "http://insecure.test"]
            [usize::from(n % 10 == 8) + 2 * usize::from(n % 10 == 9)];
        let mut request = Request::builder()
            .method(Method::PUT)
            .uri(format!("{host}/{EXTRA}?access_token={TOKEN}"))
            .header(AUTHORIZATION, format!("Bearer {TOKEN}"))
            .body(Full::from(BODY))
            .unwrap();
        if n % 4 == 3 {
            request = request.tokens(&tenant);
        }
        let _ = api.clone().oneshot(request).await;
        settle().await;
        tokio::time::advance(Duration::from_millis(1700)).await;
    }

    // Sources that fail or panic with secrets in their texts.
    let source = service_fn(|request: TokenRequest| async move {
        if request.credentials().scope_names().next() == Some("panic") {
            panic!("{SECRET}");
        }
        Err::<AccessToken, BoxError>(format!("{SECRET} {TOKEN} {EXTRA} {BODY}").into())
    });
    for credentials in [secretive(CLIENT_ID), secretive(CLIENT_ID).scope("panic")] {
        assert!(Tokens::new(credentials, source).get().await.is_err());
    }
    let renewal_fails = ScriptedSource::new(|n, _| async move {
        if n == 1 {
            return Ok(lasting(n, Duration::from_secs(60)).with_extra("id_token", EXTRA));
        }
        Err(format!("{SECRET} {TOKEN}").into())
    });
    let tokens = Tokens::new(secretive(CLIENT_ID), renewal_fails);
    tokens.warm().await.unwrap();
    tokio::time::advance(Duration::from_secs(50)).await;
    tokens.warm().await.unwrap();
    settle().await;
    let careless = Credentials::new("https://auth.test", ClientAuth::custom(Careless)).unwrap();
    let tokens = Tokens::new(careless, single_try(counted(echo)));
    assert!(tokens.get().await.is_err());

    let lines = trace.lines();
    for line in &lines {
        for hidden in HIDDEN {
            assert!(!line.contains(hidden), "{line}");
        }
    }
    // A metric has no host either, because each tenant may have its own.
    #[cfg(feature = "metrics")]
    for line in meter.take() {
        for hidden in HIDDEN.iter().chain(&[".test"]) {
            assert!(!line.contains(hidden), "{line}");
        }
    }
    // Each event occurred.
    let said = said(&trace, 0);
    for event in [
        "DEBUG <token_request>",
        "DEBUG token is requested",
        "DEBUG token arrived",
        "DEBUG token request will be retried",
        "DEBUG replayed",
        "INFO token was rejected",
        "WARN an API rejects fresh tokens; its rejections are ignored for a while",
        "WARN token request failed",
        "WARN token renewal failed",
    ] {
        assert!(said.iter().any(|said| said == event), "did not occur: {event}");
    }
}

/// A method of client authentication whose error contains its secret.
struct Careless;

impl ClientAuthentication for Careless {
    fn method(&self) -> &str {
        "careless"
    }

    fn client_id(&self) -> Option<&str> {
        Some(CLIENT_ID)
    }

    fn identify(&self, identity: &mut Identity) {
        identity.part(SECRET);
    }

    async fn authenticate(&self, _: &mut TokenRequestParts) -> Result<(), BoxError> {
        Err(format!("{CLIENT_ID} {SECRET}").into())
    }
}
