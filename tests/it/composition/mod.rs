//! Tests other layers outside, inside and on the token path. No service is called before it is
//! ready, and no request holds a resource that another one waits for.

mod auto_traits;
mod inside;
mod outside;
mod readiness;
mod shared_limit;
mod token_path;
mod unready;

use std::future::{Ready, ready};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tokio::time::timeout;
use tower::retry::Policy;
use tower::{BoxError, Service, ServiceExt};
use tower_oauth2::replay::Replayed;
use tower_oauth2::{AccessToken, OAuth2Layer, Origins, TokenRequest, Tokens};
use tower_test::mock::{self, Mock};

use crate::support::{credentials, hour, text};

type HttpRequest = Request<Full<Bytes>>;
type HttpResponse = Response<Full<Bytes>>;
type HttpMock = Mock<HttpRequest, HttpResponse>;

const BODY: &str = "sent whole, each time";

/// An API and a source of tokens. Both are mocks, which panic if they are called before they are
/// ready.
struct Mocks {
    api: HttpMock,
    source: Mock<TokenRequest, AccessToken>,
    state: Arc<Mutex<MockState>>,
}

#[derive(Default)]
struct MockState {
    issued: usize,
    /// Tokens `token-<n>` up to this number get a 401.
    revoked: usize,
    /// The number of further API requests that get a 503.
    failures: usize,
    seen: Vec<String>,
}

impl Mocks {
    fn new() -> Self {
        let state = Arc::new(Mutex::new(MockState::default()));
        let (api, mut requests) = mock::pair::<HttpRequest, HttpResponse>();
        let api_state = state.clone();
        tokio::spawn(async move {
            while let Some((request, reply)) = requests.next_request().await {
                let status = api_state.lock().unwrap().answer(&request);
                let echo = text(Response::new(request.into_body())).await;
                let mut response = Response::new(Full::from(echo));
                *response.status_mut() = status;
                reply.send_response(response);
            }
        });
        let (source, mut requests) = mock::pair::<TokenRequest, AccessToken>();
        let source_state = state.clone();
        tokio::spawn(async move {
            while let Some((_, reply)) = requests.next_request().await {
                reply.send_response(source_state.lock().unwrap().issue());
            }
        });
        Self { api, source, state }
    }

    fn layer(&self) -> OAuth2Layer {
        layer_over(Tokens::new(credentials(), self.source.clone()))
    }

    /// Revokes each token that was issued until now.
    fn revoke(&self) {
        let mut state = self.state.lock().unwrap();
        state.revoked = state.issued;
    }

    fn fail_next(&self, failures: usize) {
        self.state.lock().unwrap().failures = failures;
    }

    /// Returns the token of each API request.
    fn seen(&self) -> Vec<String> {
        self.state.lock().unwrap().seen.clone()
    }

    fn token_requests(&self) -> usize {
        self.state.lock().unwrap().issued
    }
}

impl MockState {
    fn answer(&mut self, request: &HttpRequest) -> StatusCode {
        let value = request.headers()[AUTHORIZATION].to_str().unwrap();
        let token = value.strip_prefix("Bearer ").unwrap().to_owned();
        let n: usize = token.strip_prefix("token-").unwrap().parse().unwrap();
        self.seen.push(token);
        if n <= self.revoked {
            StatusCode::UNAUTHORIZED
        } else if self.failures > 0 {
            self.failures -= 1;
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::OK
        }
    }

    fn issue(&mut self) -> AccessToken {
        self.issued += 1;
        hour(self.issued)
    }
}

fn layer_over(tokens: Tokens) -> OAuth2Layer {
    OAuth2Layer::new(tokens, Origins::only(["https://api.test"]).unwrap())
}

fn put() -> HttpRequest {
    Request::put("https://api.test/thing").body(Full::from(BODY)).unwrap()
}

/// Makes the stack ready and sends a request. A deadlock fails, because the clock is paused.
async fn send<S>(stack: &mut S) -> Result<HttpResponse, BoxError>
where
    S: Service<HttpRequest, Response = HttpResponse>,
    S::Error: Into<BoxError>,
{
    let sent =
        async { stack.ready().await.map_err(Into::into)?.call(put()).await.map_err(Into::into) };
    timeout(Duration::from_secs(3600), sent).await.expect("deadlock")
}

/// Returns the next call of a mock. Fails if none comes, because the clock is paused.
async fn next<T, U>(calls: &mut mock::Handle<T, U>) -> (T, mock::SendResponse<U>) {
    let call = timeout(Duration::from_secs(3600), calls.next_request()).await;
    call.expect("no call").expect("all callers are gone")
}

/// Sends a request, and checks that the API echoes its body with a 200.
async fn send_well<S>(stack: &mut S) -> Option<Replayed>
where
    S: Service<HttpRequest, Response = HttpResponse>,
    S::Error: Into<BoxError>,
{
    let response = send(stack).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let replayed = response.extensions().get().copied();
    assert_eq!(text(response).await, BODY);
    replayed
}

/// Sends a miss, a hit and a replayed request. Checks the requests at API and source each time.
async fn miss_hit_and_replay<S>(mocks: &Mocks, stack: &mut S)
where
    S: Service<HttpRequest, Response = HttpResponse>,
    S::Error: Into<BoxError>,
{
    assert_eq!(send_well(stack).await, None);
    assert_eq!((mocks.seen(), mocks.token_requests()), (tokens([1]), 1), "miss");

    assert_eq!(send_well(stack).await, None);
    assert_eq!((mocks.seen(), mocks.token_requests()), (tokens([1, 1]), 1), "hit");

    mocks.revoke();
    assert_eq!(send_well(stack).await, Some(Replayed::Yes));
    assert_eq!((mocks.seen(), mocks.token_requests()), (tokens([1, 1, 1, 2]), 2), "replay");

    assert_eq!(send_well(stack).await, None);
    assert_eq!((mocks.seen(), mocks.token_requests()), (tokens([1, 1, 1, 2, 2]), 2), "hit again");
}

fn tokens<const N: usize>(numbers: [usize; N]) -> Vec<String> {
    numbers.iter().map(|n| format!("token-{n}")).collect()
}

/// Sends a request a second time after a 503.
#[derive(Clone, Default)]
struct OnceMore {
    tried: bool,
}

impl<E> Policy<HttpRequest, HttpResponse, E> for OnceMore {
    type Future = Ready<()>;

    fn retry(
        &mut self,
        _: &mut HttpRequest,
        result: &mut Result<HttpResponse, E>,
    ) -> Option<Self::Future> {
        let failed = result.as_ref().is_ok_and(|response| response.status() == 503);
        let again = failed && !self.tried;
        self.tried = true;
        again.then(|| ready(()))
    }

    fn clone_request(&mut self, request: &HttpRequest) -> Option<HttpRequest> {
        Some(request.clone())
    }
}
