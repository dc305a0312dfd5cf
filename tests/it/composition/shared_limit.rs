use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::Full;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tower::limit::{ConcurrencyLimit, GlobalConcurrencyLimitLayer};
use tower::{Layer, Service, ServiceExt};
use tower_oauth2::source::TokenRetry;
use tower_oauth2::{
    OAuth2, OAuth2Layer, Origins, TokenEndpoint, TokenError, TokenErrorKind, Tokens,
};
use tower_test::mock;

use super::{HttpMock, HttpRequest, HttpResponse, put, send, send_well};
use crate::support::credentials;

/// An HTTP client that sends one request at a time, to API and token endpoint.
#[derive(Clone)]
struct OneAtATime {
    http: ConcurrencyLimit<HttpMock>,
    semaphore: Arc<Semaphore>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    issued: usize,
    revoked: usize,
    is_down: bool,
    api_requests: usize,
}

impl OneAtATime {
    fn new() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let semaphore = Arc::new(Semaphore::new(1));
        let (http, mut requests) = mock::pair::<HttpRequest, HttpResponse>();
        let answers = state.clone();
        tokio::spawn(async move {
            while let Some((request, reply)) = requests.next_request().await {
                let response = answers.lock().unwrap().answer(request);
                reply.send_response(response);
            }
        });
        let limit = GlobalConcurrencyLimitLayer::with_semaphore(semaphore.clone());
        Self { http: limit.layer(http), semaphore, state }
    }

    fn stack(&self) -> OAuth2<ConcurrencyLimit<HttpMock>> {
        let endpoint = TokenEndpoint::new(self.http.clone()).retry(TokenRetry::none());
        let tokens = Tokens::new(credentials(), endpoint);
        let origins = Origins::only(["https://api.test", "http://insecure.test"]).unwrap();
        OAuth2Layer::new(tokens, origins).layer(self.http.clone())
    }

    fn revoke(&self) {
        let mut state = self.state.lock().unwrap();
        state.revoked = state.issued;
    }

    /// Returns the numbers of requests at the token endpoint and at the API.
    fn counts(&self) -> (usize, usize) {
        let state = self.state.lock().unwrap();
        (state.issued, state.api_requests)
    }
}

impl State {
    fn answer(&mut self, request: HttpRequest) -> HttpResponse {
        let mut response = HttpResponse::default();
        if request.uri().host() == Some("auth.test") {
            self.issued += 1;
            if self.is_down {
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            }
            let token = format!(r#"{{"access_token":"{}","expires_in":3600}}"#, self.issued);
            return response.map(|_| Full::from(token));
        }
        self.api_requests += 1;
        let value = request.headers()["authorization"].to_str().unwrap();
        let n: usize = value.strip_prefix("Bearer ").unwrap().parse().unwrap();
        if n <= self.revoked {
            *response.status_mut() = StatusCode::UNAUTHORIZED;
        }
        response.map(|_| request.into_body())
    }
}

// R5
#[tokio::test(start_paused = true)]
async fn api_and_token_endpoint_can_share_one_connection() {
    let mocks = OneAtATime::new();
    let mut stack = mocks.stack();
    assert_eq!(send_well(&mut stack).await, None);
    assert_eq!(send_well(&mut stack).await, None);
    assert_eq!(mocks.counts(), (1, 2));
    mocks.revoke();
    assert!(send_well(&mut stack).await.is_some());
    assert_eq!(mocks.counts(), (2, 4));
    assert_eq!(mocks.semaphore.available_permits(), 1);
}

// R5, C2
#[tokio::test(start_paused = true)]
async fn many_requests_share_one_connection_with_the_token_endpoint() {
    let mocks = OneAtATime::new();
    let stack = mocks.stack();
    for round in 1..=3 {
        let all: Vec<_> = (0..100)
            .map(|_| {
                let mut stack = stack.clone();
                tokio::spawn(async move { send_well(&mut stack).await })
            })
            .collect();
        for one in all {
            one.await.unwrap();
        }
        // One request discovers each revocation.
        assert_eq!(mocks.counts(), (round, 100 * round + round - 1));
        mocks.revoke();
    }
}

// R5
#[tokio::test(start_paused = true)]
async fn dropped_requests_release_the_connection() {
    let mocks = OneAtATime::new();
    let stack = mocks.stack();
    // Drops a miss or a replay at each of its awaits.
    for polls in 0..20 {
        let mut dropped = Box::pin(stack.clone().oneshot(put()));
        for _ in 0..polls {
            if !std::future::poll_fn(|cx| {
                std::task::Poll::Ready(dropped.as_mut().poll(cx).is_ready())
            })
            .await
            {
                tokio::task::yield_now().await;
            } else {
                break;
            }
        }
        drop(dropped);
        send_well(&mut stack.clone()).await;
        mocks.revoke();
        // The breaker tolerates that many revocations only if time passes between them (R8).
        tokio::time::advance(std::time::Duration::from_secs(7)).await;
    }
}

// R5
#[tokio::test(start_paused = true)]
async fn a_failed_token_request_releases_the_connection() {
    let mocks = OneAtATime::new();
    let mut stack = mocks.stack();
    mocks.state.lock().unwrap().is_down = true;
    let error = send(&mut stack).await.unwrap_err();
    assert_eq!(TokenError::find_in(&*error).unwrap().kind(), TokenErrorKind::ErrorResponse);
    assert_eq!(mocks.semaphore.available_permits(), 1);
    assert_eq!(mocks.counts(), (1, 0));
}

// R5: nothing waits here, but nothing is sent either.
#[tokio::test(start_paused = true)]
async fn a_refused_request_releases_the_connection() {
    let mocks = OneAtATime::new();
    let mut refusing = mocks.stack();
    let insecure = Request::get("http://insecure.test/").body(Full::default()).unwrap();
    let error = refusing.ready().await.unwrap().call(insecure).await.unwrap_err();
    assert_eq!(TokenError::find_in(&*error).unwrap().kind(), TokenErrorKind::InsecureUri);

    // The test keeps the service, as an application does.
    let mut other = refusing.clone();
    let sent = timeout(Duration::from_secs(60), send_well(&mut other));
    assert!(sent.await.is_ok(), "the service that refused holds the only permit");
    send_well(&mut refusing).await;
}
