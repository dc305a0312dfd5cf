//! Credentials that name an issuer, whose metadata is fetched before the first token request.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, Request};
use tokio::time::{Instant, sleep};
use tower::{BoxError, ServiceExt, service_fn};
use tower_oauth2::{ClientAuth, Credentials, TokenErrorKind, TokenRequest, Tokens};

use super::*;

type HttpRequest = Request<Full<Bytes>>;

const TOKEN: &str = r#"{"access_token":"t","expires_in":3600}"#;
const WELL_KNOWN: &str = "https://auth.test/.well-known/oauth-authorization-server";

fn auth() -> ClientAuth {
    ClientAuth::client_secret_basic("client-id", SECRET)
}

fn from_issuer() -> Credentials {
    Credentials::from_issuer(ISSUER, auth()).unwrap()
}

fn answer_to(request: &HttpRequest, document: &str) -> Response<Full<Bytes>> {
    let body = if request.method() == Method::GET { document } else { TOKEN };
    answer(200, body.to_owned())
}

/// Creates a server with metadata and a token endpoint.
fn server(members: Value) -> Api {
    let document = with(members);
    Api::new(move |request| answer_to(request, &document))
}

#[tokio::test]
async fn metadata_is_fetched_once_before_the_first_token() {
    let http = server(json!({}));
    let credentials = from_issuer();
    assert_eq!((credentials.token_endpoint(), http.count()), (None, 0));
    assert_eq!(credentials.issuer(), Some(ISSUER));
    let endpoint = single_try(http.clone());
    // Clones and edited copies share the metadata.
    for credentials in [credentials.clone(), credentials.clone(), credentials.clone().scope("a")] {
        endpoint.clone().oneshot(TokenRequest::new(credentials)).await.unwrap();
    }
    assert_eq!(uris(&http), [WELL_KNOWN, ENDPOINT, ENDPOINT, ENDPOINT]);
    assert_eq!(credentials.token_endpoint().unwrap(), ENDPOINT);
    assert_eq!(credentials, from_issuer());
}

#[tokio::test]
async fn mutual_tls_uses_the_alias_of_the_endpoint() {
    let mtls = "https://mtls.auth.test/token";
    let http = server(json!({ "mtls_endpoint_aliases": { "token_endpoint": mtls } }));
    let auth = ClientAuth::tls_client_auth("client-id", "DER");
    let credentials = Credentials::from_issuer(ISSUER, auth).unwrap();
    single_try(http.clone()).oneshot(TokenRequest::new(credentials)).await.unwrap();
    assert_eq!(uris(&http), [WELL_KNOWN, mtls]);
}

#[test]
fn an_issuer_that_cannot_be_asked_is_refused() {
    for (issuer, expected) in [
        ("auth.test", "issuer needs a scheme and a host: auth.test"),
        ("https://auth.test?tenant=1", "issuer must not have a query: https://auth.test?..."),
        ("https://auth.test#fragment", "issuer must not have a fragment: https://auth.test#..."),
        ("http://auth.test", "issuer must use https or a loopback address: http://auth.test"),
        ("ftp://localhost", "issuer must use https or a loopback address: ftp://localhost"),
    ] {
        let error = Credentials::from_issuer(issuer, auth()).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    assert!(Credentials::from_issuer("http://127.0.0.1:8080/realm", auth()).is_ok());
    assert!(Credentials::from_issuer(ISSUER, ClientAuth::none("")).is_err());
}

// C9
#[tokio::test(start_paused = true)]
async fn metadata_that_cannot_be_used_is_an_error_with_a_back_off() {
    let is_right = Arc::new(AtomicBool::new(false));
    let flag = is_right.clone();
    let http = Api::new(move |request| {
        let issuer = if flag.load(Ordering::Relaxed) { ISSUER } else { "https://evil.test" };
        answer_to(request, &with(json!({ "issuer": issuer })))
    });
    let tokens = Tokens::new(from_issuer(), single_try(http.clone()));
    let error = tokens.get().await.unwrap_err();
    assert_eq!(error.kind(), TokenErrorKind::InvalidMetadata);
    assert!(error.to_string().starts_with("no metadata from https://auth.test: "), "{error}");
    assert_eq!(tokens.get().await.unwrap_err().kind(), TokenErrorKind::InvalidMetadata);
    assert_eq!(http.count(), 1);

    is_right.store(true, Ordering::Relaxed);
    sleep(error.retry_in().unwrap()).await;
    assert_eq!(tokens.get().await.unwrap().secret(), "t");
    assert_eq!(http.count(), 3);
}

#[tokio::test]
async fn a_method_that_the_server_does_not_list_is_an_error() {
    let http = server(json!({ "token_endpoint_auth_methods_supported": ["private_key_jwt"] }));
    let request = TokenRequest::new(from_issuer());
    let error = single_try(http.clone()).oneshot(request).await.unwrap_err();
    assert_eq!((error.kind(), http.count()), (TokenErrorKind::InvalidMetadata, 1));
    assert!(error.to_string().contains("token_endpoint_auth_methods_supported"), "{error}");
}

// X4
#[tokio::test]
async fn allowed_endpoints_hold_for_the_issuer_and_its_endpoint() {
    for (allowed, requests) in [(&[ENDPOINT][..], 0), (&[ISSUER], 1), (&[ISSUER, ENDPOINT], 2)] {
        let http = server(json!({}));
        let endpoint = single_try(http.clone()).allowed_endpoints(allowed).unwrap();
        let result = endpoint.oneshot(TokenRequest::new(from_issuer())).await;
        let kind = result.map_err(|error| error.kind()).map(drop);
        let expected = if requests == 2 { Ok(()) } else { Err(TokenErrorKind::EndpointNotAllowed) };
        assert_eq!((kind, http.count()), (expected, requests), "{allowed:?}");
    }
}

/// Creates an HTTP client that answers after a while, and records its requests.
fn slow(
    api: Api,
    delay: Duration,
) -> impl tower::Service<HttpRequest, Response = Response<Full<Bytes>>, Error = BoxError, Future: Send>
+ Clone
+ Send {
    service_fn(move |request| {
        let api = api.clone();
        async move {
            sleep(delay).await;
            Ok::<_, BoxError>(api.oneshot(request).await?)
        }
    })
}

// C2
#[tokio::test(start_paused = true)]
async fn tenants_of_one_issuer_share_one_fetch_of_its_metadata() {
    let http = server(json!({}));
    let endpoint = single_try(slow(http.clone(), Duration::from_secs(2)));
    let credentials = from_issuer();
    let fetches = ["a", "b", "c"].map(|scope| {
        let request = TokenRequest::new(credentials.clone().scope(scope));
        tokio::spawn(endpoint.clone().oneshot(request))
    });
    for fetch in fetches {
        fetch.await.unwrap().unwrap();
    }
    assert_eq!(uris(&http), [WELL_KNOWN, ENDPOINT, ENDPOINT, ENDPOINT]);
}

// C3
#[tokio::test(start_paused = true)]
async fn a_fetch_that_is_not_polled_delays_others_for_about_a_second() {
    let http = server(json!({}));
    let endpoint = single_try(slow(http.clone(), Duration::from_millis(100)));
    let credentials = from_issuer();
    let mut stuck = Box::pin(endpoint.clone().oneshot(TokenRequest::new(credentials.clone())));
    assert!(futures_util::poll!(&mut stuck).is_pending());
    let start = Instant::now();
    endpoint.oneshot(TokenRequest::new(credentials.scope("other"))).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    drop(stuck);
}

// W7
#[tokio::test(start_paused = true)]
async fn metadata_and_token_request_share_the_timeout() {
    let http = slow(server(json!({})), Duration::from_secs(20));
    let start = Instant::now();
    let request = TokenRequest::new(from_issuer());
    let error = single_try(http).oneshot(request).await.unwrap_err();
    assert_eq!(error.kind(), TokenErrorKind::Timeout);
    assert_eq!(start.elapsed(), Duration::from_secs(30));
}

/// A server that can change: its documents, and its answers to token requests.
#[derive(Clone, Default)]
struct Changing(Arc<Mutex<(Value, String, u16, &'static str)>>);

impl Changing {
    fn at(endpoint: &str) -> (Self, Api) {
        let server = Self::default();
        server.set(endpoint, json!({}));
        let answers = server.clone();
        let http = Api::new(move |request| {
            let (members, endpoint, status, body) = &*answers.0.lock().unwrap();
            let is_post = request.method() == Method::POST;
            match request.uri() == &**endpoint {
                _ if !is_post => answer(200, with(members.clone())),
                true => answer(200, TOKEN),
                false => answer(*status, *body),
            }
        });
        (server, http)
    }

    /// Moves the endpoint. The former one answers 404.
    fn set(&self, endpoint: &str, more: Value) {
        let mut members = json!({ "token_endpoint": endpoint });
        members.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        *self.0.lock().unwrap() = (members, endpoint.to_owned(), 404, "");
    }

    /// Changes the answers of former endpoints.
    fn set_former(&self, status: u16, body: &'static str) {
        let mut state = self.0.lock().unwrap();
        (state.2, state.3) = (status, body);
    }
}

const MOVED: &str = "https://auth.test/moved";
const MINUTE: Duration = Duration::from_secs(61);

// W7
#[tokio::test(start_paused = true)]
async fn a_server_that_has_changed_is_resolved_again() {
    for (status, body) in [
        (404, ""),
        (410, "gone"),
        (401, r#"{"error":"invalid_client"}"#),
        (400, r#"{"error":"invalid_client"}"#),
    ] {
        let (server, http) = Changing::at(ENDPOINT);
        let credentials = from_issuer();
        let token = |credentials: Credentials| {
            single_try(http.clone()).oneshot(TokenRequest::new(credentials))
        };
        token(credentials.clone()).await.unwrap();
        server.set(MOVED, json!({}));
        server.set_former(status, body);
        sleep(MINUTE).await;
        token(credentials.clone()).await.unwrap();
        assert_eq!(uris(&http)[2..], [ENDPOINT, WELL_KNOWN, MOVED], "{status} {body}");
        assert_eq!(credentials.token_endpoint().unwrap(), MOVED);
        // Edited copies share what was found.
        token(credentials.scope("other")).await.unwrap();
        assert_eq!(uris(&http)[5..], [MOVED]);
    }
}

// W7
#[tokio::test(start_paused = true)]
async fn other_errors_do_not_cause_a_second_resolution() {
    for (status, body) in [
        (400, r#"{"error":"invalid_grant"}"#),
        (401, ""),
        (403, ""),
        (500, r#"{"error":"invalid_scope"}"#),
        (302, ""),
        (200, "<html>"),
    ] {
        let (server, http) = Changing::at(ENDPOINT);
        let credentials = from_issuer();
        let request = || single_try(http.clone()).oneshot(TokenRequest::new(credentials.clone()));
        request().await.unwrap();
        server.set(MOVED, json!({}));
        server.set_former(status, body);
        sleep(MINUTE).await;
        request().await.unwrap_err();
        assert_eq!(uris(&http), [WELL_KNOWN, ENDPOINT, ENDPOINT], "{status} {body}");
    }
    // Credentials without an issuer have no metadata.
    let (server, http) = Changing::at(ENDPOINT);
    server.set(MOVED, json!({}));
    let credentials = Credentials::new(ENDPOINT, auth()).unwrap();
    single_try(http.clone()).oneshot(TokenRequest::new(credentials)).await.unwrap_err();
    assert_eq!(uris(&http), [ENDPOINT]);
}

// W7
#[tokio::test(start_paused = true)]
async fn a_server_is_resolved_again_at_most_once_a_minute() {
    let (server, http) = Changing::at(ENDPOINT);
    let credentials = from_issuer();
    let request = || single_try(http.clone()).oneshot(TokenRequest::new(credentials.clone()));
    request().await.unwrap();
    // The metadata still name the endpoint that is gone.
    server.set(MOVED, json!({ "token_endpoint": ENDPOINT }));
    let gets = || uris(&http).iter().filter(|uri| *uri == WELL_KNOWN).count();
    for _ in 0..30 {
        let error = request().await.unwrap_err();
        assert_eq!(
            (error.kind(), error.status().unwrap()),
            (TokenErrorKind::ErrorResponse, 404.try_into().unwrap())
        );
        sleep(Duration::from_secs(10)).await;
    }
    // The first one is that of the beginning, and 300 s have passed.
    assert_eq!(gets(), 5);

    // So with metadata that cannot be fetched: the error is that of the token endpoint.
    server.set(MOVED, json!({ "issuer": "https://other.test" }));
    sleep(MINUTE).await;
    for _ in 0..3 {
        assert_eq!(request().await.unwrap_err().kind(), TokenErrorKind::ErrorResponse);
    }
    assert_eq!(gets(), 6);
    server.set(MOVED, json!({}));
    sleep(MINUTE).await;
    request().await.unwrap();
}

// W7, C2
#[tokio::test(start_paused = true)]
async fn many_refused_requests_resolve_a_server_once() {
    let (server, http) = Changing::at(ENDPOINT);
    let credentials = from_issuer();
    let endpoint = single_try(slow(http.clone(), Duration::from_secs(1)));
    endpoint.clone().oneshot(TokenRequest::new(credentials.clone())).await.unwrap();
    server.set(MOVED, json!({}));
    sleep(MINUTE).await;
    let fetches: Vec<_> = (0..10)
        .map(|n| TokenRequest::new(credentials.clone().scope(n.to_string())))
        .map(|request| tokio::spawn(endpoint.clone().oneshot(request)))
        .collect();
    for fetch in fetches {
        fetch.await.unwrap().unwrap();
    }
    assert_eq!(uris(&http).iter().filter(|uri| *uri == WELL_KNOWN).count(), 2);
}

// W7: the server no longer accepts HTTP Basic.
#[tokio::test(start_paused = true)]
async fn a_secret_is_sent_in_the_form_if_the_metadata_say_so() {
    let members = Arc::new(Mutex::new(with(json!({}))));
    let document = members.clone();
    let http = Api::new(move |request| {
        let wants_form = document.lock().unwrap().contains("client_secret_post");
        let has_basic = request.headers().contains_key("authorization");
        match request.method() == Method::GET {
            true => answer(200, document.lock().unwrap().clone()),
            false if wants_form && has_basic => answer(401, r#"{"error":"invalid_client"}"#),
            false => answer(200, TOKEN),
        }
    });
    let auth = ClientAuth::client_secret("client-id", SECRET);
    let credentials = Credentials::from_issuer(ISSUER, auth).unwrap();
    let request = || single_try(http.clone()).oneshot(TokenRequest::new(credentials.clone()));
    request().await.unwrap();
    let listed = json!({ "token_endpoint_auth_methods_supported": ["client_secret_post"] });
    *members.lock().unwrap() = with(listed);
    sleep(MINUTE).await;
    request().await.unwrap();
    assert_eq!(uris(&http), [WELL_KNOWN, ENDPOINT, ENDPOINT, WELL_KNOWN, ENDPOINT]);
}

// X4
#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_found_again_must_be_allowed() {
    let (server, http) = Changing::at(ENDPOINT);
    let endpoint = single_try(http.clone()).allowed_endpoints([ISSUER, ENDPOINT]).unwrap();
    let request = TokenRequest::new(from_issuer());
    endpoint.clone().oneshot(request.clone()).await.unwrap();
    server.set(MOVED, json!({}));
    sleep(MINUTE).await;
    let error = endpoint.clone().oneshot(request.clone()).await.unwrap_err();
    assert_eq!(error.kind(), TokenErrorKind::EndpointNotAllowed);
    assert_eq!(uris(&http), [WELL_KNOWN, ENDPOINT, ENDPOINT, WELL_KNOWN]);

    // The endpoint before stays in use.
    server.set(ENDPOINT, json!({}));
    endpoint.oneshot(request).await.unwrap();
    assert_eq!(uris(&http)[4..], [ENDPOINT]);
}

#[tokio::test]
async fn an_endpoint_that_is_not_allowed_is_not_kept() {
    let (server, http) = Changing::at("https://elsewhere.test/token");
    let endpoint = single_try(http.clone()).allowed_endpoints([ISSUER, ENDPOINT]).unwrap();
    let request = TokenRequest::new(from_issuer());
    let error = endpoint.clone().oneshot(request.clone()).await.unwrap_err();
    assert_eq!(error.kind(), TokenErrorKind::EndpointNotAllowed);
    assert!(error.to_string().starts_with("no token from https://elsewhere.test: "), "{error}");
    assert_eq!(request.credentials().token_endpoint(), None);
    // The server corrects its metadata.
    server.set(ENDPOINT, json!({}));
    endpoint.oneshot(request).await.unwrap();
    assert_eq!(uris(&http), [WELL_KNOWN, WELL_KNOWN, ENDPOINT]);
}

// W7
#[tokio::test(start_paused = true)]
async fn metadata_that_hang_do_not_hide_the_refusal() {
    let is_hanging = Arc::new(AtomicBool::new(false));
    let flag = is_hanging.clone();
    let http = service_fn(move |request: HttpRequest| {
        let (is_get, is_hanging) = (request.method() == Method::GET, flag.load(Ordering::Relaxed));
        async move {
            match (is_get, is_hanging) {
                (true, true) => std::future::pending().await,
                (false, true) => Ok::<_, BoxError>(answer(404, "")),
                (true, false) => Ok(answer(200, document().to_string())),
                (false, false) => Ok(answer(200, TOKEN)),
            }
        }
    });
    let (endpoint, request) = (single_try(http), TokenRequest::new(from_issuer()));
    endpoint.clone().oneshot(request.clone()).await.unwrap();
    is_hanging.store(true, Ordering::Relaxed);
    sleep(MINUTE).await;
    let start = Instant::now();
    let error = endpoint.oneshot(request).await.unwrap_err();
    assert_eq!(error.status().unwrap(), 404);
    assert_eq!(start.elapsed(), Duration::from_secs(15));
}
