//! Sends the same request through stacks that add a token and a stack without tokens.

pub mod by_hand;
pub mod counted;
pub mod in_flight;
pub mod scope;
pub mod stacks;
pub mod timed;

use std::cell::Cell;
use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use tokio::runtime::Runtime;
use tower::{BoxError, Layer, Service};
use tower_oauth2::jwt::{Algorithm, DpopKey, SigningKey};
use tower_oauth2::replay::ReplayPolicy;
use tower_oauth2::store::{MemoryStore, TokenStoreLayer};
use tower_oauth2::{
    ClientAuth, Credentials, RequestExt, TokenCache, TokenEndpoint, TokenRequest, Tokens,
};

use self::by_hand::{ByHand, Mutexed, RwLocked};
use self::stacks::{Cloning, cache, credentials, endless, fixed, issuing, layer, tokens};

pub type Body = Full<Bytes>;

pub struct Case {
    pub name: &'static str,
    /// The name of the case in the table.
    pub what: &'static str,
}

const fn case(name: &'static str, what: &'static str) -> Case {
    Case { name, what }
}

/// The measured cases, in the order of the table.
pub const CASES: &[Case] = &[
    case("bare", "the service alone"),
    case("static", "`AddAuthorization`: a token that never changes"),
    case("never", "**hit**, `ReplayPolicy::never`"),
    case("static-cloned", "`AddAuthorization`, request and service cloned"),
    case("hit", "**hit**"),
    case("mutex", "written by hand: `Mutex<Option<Token>>`"),
    case("rwlock", "written by hand: `RwLock<Option<Token>>`"),
    case("hit-named", "**hit**, the only credentials, named in the request"),
    case("hit-of-10000-hot", "**hit**, one of 10,000 credentials, 64 of them busy"),
    case("hit-of-10000", "**hit**, one of 10,000 credentials, all busy in turn"),
    case("hit-dpop", "**hit** with DPoP (ES256)"),
    case("replay", "**replay**: 401, another token, 200"),
    case("miss", "**miss**"),
    case("store-hit", "**store hit**: a miss that finds a token in a `MemoryStore`"),
    case("token-request", "token request, `client_secret_basic`"),
    case("token-request-jwt", "token request, `private_key_jwt` (ES256)"),
];

/// The use of a stack.
pub trait Measure {
    /// Measures a stack that answers at once, without a runtime.
    fn measure<S, R>(self, service: S, next: impl FnMut() -> R)
    where
        S: Service<R> + Clone,
        S::Error: std::fmt::Debug;

    /// Measures a stack that waits for a token. `next` prepares each request if it `is_staged`.
    fn measure_waiting<S, R>(
        self,
        runtime: &Runtime,
        service: S,
        next: impl FnMut() -> R,
        is_staged: bool,
    ) where
        S: Service<R> + Clone,
        S::Error: std::fmt::Debug;
}

/// Runs `with` on the stack and the requests of a case.
pub fn run(case: &str, with: impl Measure) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = &runtime.expect("a runtime");
    let entered = runtime.enter();
    let own = credentials(0);
    let warm = |credentials: &Credentials| {
        let tokens = tokens(credentials.clone(), endless());
        runtime.block_on(tokens.warm()).expect("the source always answers");
        tokens
    };
    let hit = || layer(warm(&own)).layer(Api);
    match case {
        "bare" => with.measure(Api, request),
        "static" => with.measure(fixed(Api), request),
        "static-cloned" => with.measure(Cloning::new(fixed(Api)), request),
        "never" => {
            let layer = layer(warm(&own)).replay_policy(ReplayPolicy::never());
            with.measure(layer.layer(Api), request);
        }
        "hit" => with.measure(hit(), request),
        "mutex" => with.measure(ByHand::<Mutexed, _>::new(Api, by_hand::endless), request),
        "rwlock" => {
            with.measure(ByHand::<RwLocked, _>::new(Api, by_hand::endless), request);
        }
        "hit-named" => {
            let tokens = warm(&own);
            let hit = layer(tokens.clone()).layer(Api);
            with.measure(hit, move || naming(&tokens));
        }
        "hit-of-10000" => many(runtime, with, 10_000),
        "hit-of-10000-hot" => many(runtime, with, 64),
        "hit-dpop" => {
            let own = own.dpop(DpopKey::generate().expect("randomness"));
            let tokens = tokens(own, issuing(86_400, true));
            runtime.block_on(tokens.warm()).expect("the source always answers");
            with.measure(layer(tokens).layer(Api), request);
        }
        "replay" => {
            let cache = cache(issuing(86_400, false));
            let tokens = cache.tokens(&own);
            let service = layer(tokens.clone()).layer(EveryOther::default());
            // The breaker would ignore the rejections of one token after the other.
            let next = move || {
                cache.remove(&own);
                runtime.block_on(tokens.warm()).expect("the source always answers");
                request()
            };
            with.measure_waiting(runtime, service, next, true);
        }
        "miss" => {
            let tokens = tokens(own, issuing(0, false));
            with.measure_waiting(runtime, layer(tokens).layer(Apart(Api)), request, false);
        }
        "store-hit" => {
            let source = TokenStoreLayer::new(MemoryStore::new()).layer(endless());
            let cache = cache(source);
            let tokens = cache.tokens(&own);
            runtime.block_on(tokens.warm()).expect("the source always answers");
            let service = layer(tokens).layer(Apart(Api));
            let next = move || {
                cache.remove(&own);
                request()
            };
            with.measure_waiting(runtime, service, next, true);
        }
        "token-request" => token_request(runtime, with, own),
        "token-request-jwt" => {
            let key = SigningKey::generate(Algorithm::ES256).expect("randomness");
            let auth = ClientAuth::private_key_jwt("client-0", key);
            let credentials = Credentials::new("https://auth.example.com/token", auth);
            token_request(runtime, with, credentials.expect("valid credentials"));
        }
        _ => panic!("no such case: {case}"),
    }
    drop(entered);
}

/// Returns tokens for 10,000 credentials, and requests that name `busy` of them in turn.
fn many(runtime: &Runtime, with: impl Measure, busy: usize) {
    let cache = cache(endless());
    let others = crowd(runtime, &cache);
    let mut turn = 0;
    with.measure(layer(cache.tokens(&credentials(0))).layer(Api), move || {
        turn = (turn + 1) % busy;
        naming(&others[turn])
    });
}

/// Returns handles to the tokens of 10,000 credentials, in random order.
pub fn crowd(runtime: &Runtime, cache: &TokenCache) -> Vec<Tokens> {
    let mut others: Vec<_> = (1..=10_000).map(|n| cache.tokens(&credentials(n))).collect();
    runtime.block_on(async {
        for other in &others {
            other.warm().await.expect("the source always answers");
        }
    });
    fastrand::seed(1);
    fastrand::shuffle(&mut others);
    others
}

/// Requests a token for credentials from a token endpoint that answers at once.
fn token_request(runtime: &Runtime, with: impl Measure, credentials: Credentials) {
    let endpoint = TokenEndpoint::new(tower::service_fn(|request: Request<Body>| {
        drop(black_box(request));
        let body = format!(
            r#"{{"access_token":"{}","token_type":"Bearer","expires_in":3600}}"#,
            stacks::secret(0)
        );
        ready(Ok::<_, BoxError>(Response::new(Body::from(body))))
    }));
    let next = move || TokenRequest::new(credentials.clone());
    with.measure_waiting(runtime, endpoint, next, false);
}

/// Sends one request, from readiness to response.
#[inline]
pub fn send<S, R>(service: &mut S, request: R)
where
    S: Service<R>,
    S::Error: std::fmt::Debug,
{
    let mut context = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut context).is_ready());
    let mut response = pin!(service.call(request));
    match response.as_mut().poll(&mut context) {
        Poll::Ready(response) => drop(black_box(response.expect("a response"))),
        Poll::Pending => panic!("a hit does not wait"),
    }
}

/// Sends one request that waits for a token.
pub fn send_waiting<S, R>(runtime: &Runtime, service: &mut S, request: R)
where
    S: Service<R>,
    S::Error: std::fmt::Debug,
{
    let response = runtime.block_on(async {
        std::future::poll_fn(|cx| service.poll_ready(cx)).await?;
        service.call(request).await
    });
    drop(black_box(response.expect("a response")));
}

/// Returns a request with four headers and a body of 64 bytes.
pub fn request() -> Request<Body> {
    let mut request = Request::new(Full::from(Bytes::from_static(&[b'x'; 64])));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = "https://api.example.com/things/17?page=2".parse().expect("a valid URI");
    let headers = request.headers_mut();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, HeaderValue::from_static("bench/1.0"));
    headers.insert("x-request-id", HeaderValue::from_static("3fb1c2d4"));
    request
}

pub fn naming(tokens: &Tokens) -> Request<Body> {
    request().tokens(tokens)
}

/// A service that answers at once.
#[derive(Clone)]
pub struct Api;

impl Service<Request<Body>> for Api {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Ready<Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    #[inline(never)]
    fn call(&mut self, request: Request<Body>) -> Self::Future {
        drop(black_box(request));
        ready(Ok(Response::new(Full::default())))
    }
}

/// Gives a service another type. Otherwise, code that waits would use up the compiler's limit for
/// inlining a hit.
#[derive(Clone)]
struct Apart(Api);

impl Service<Request<Body>> for Apart {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Ready<Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Service::<Request<Body>>::poll_ready(&mut self.0, cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.0.call(request)
    }
}

/// A service that refuses every other request.
#[derive(Clone, Default)]
struct EveryOther(Rc<Cell<bool>>);

impl Service<Request<Body>> for EveryOther {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Ready<Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        drop(black_box(request));
        let mut response = Response::new(Full::default());
        self.0.set(!self.0.get());
        if self.0.get() {
            *response.status_mut() = StatusCode::UNAUTHORIZED;
        }
        ready(Ok(response))
    }
}

/// The lifetime of a token that outlives every measurement.
pub const DAY: Duration = Duration::from_secs(86_400);
