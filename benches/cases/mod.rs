//! The same request through stacks that add a token, and through one that does not.

use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Method, Request, Response};
use http_body_util::Full;
use tower::{BoxError, Layer, Service};
use tower_http::auth::AddAuthorizationLayer;
use tower_oauth2::{
    AccessToken, ClientAuth, ClientCredentials, ConfigError, OAuth2Layer, Origins, ReplayPolicy,
    TokenCache, TokenRequest,
};

pub type Body = Full<Bytes>;

/// What is measured, in the order of the table.
pub const CASES: &[(&str, &str)] = &[
    ("bare", "the service alone"),
    ("static", "`AddAuthorization`"),
    ("never", "`OAuth2`, `ReplayPolicy::never`"),
    ("static-cloned", "`AddAuthorization`, request and service cloned"),
    ("hit", "`OAuth2`, replay possible"),
    ("hit-named", "`OAuth2`, the only credentials, named in the request"),
    ("hit-of-10000", "`OAuth2`, one of 10,000 credentials"),
];

/// Runs `with` on the stack and the requests of a case.
pub fn run(case: &str, with: impl Measure) {
    let own = credentials(0);
    match case {
        "bare" => with.measure(Api, request),
        "static" => with.measure(fixed(Api), request),
        "static-cloned" => with.measure(Cloning(fixed(Api)), request),
        "never" => {
            let layer = layer(tokens(&own)).replay_policy(ReplayPolicy::never());
            with.measure(layer.layer(Api), request);
        }
        "hit" => with.measure(layer(tokens(&own)).layer(Api), request),
        "hit-named" => {
            with.measure(layer(tokens(&own)).layer(Api), move || naming(own.clone()));
        }
        "hit-of-10000" => {
            let tokens = tokens(&own);
            let mut others: Vec<_> = (1..=10_000).map(credentials).collect();
            block_on(async {
                for other in &others {
                    tokens.get_for(other).await.expect("the source always answers");
                }
            });
            fastrand::seed(1);
            fastrand::shuffle(&mut others);
            let mut others = others.into_iter().cycle();
            let next = move || naming(others.next().expect("a cycle has no end"));
            with.measure(layer(tokens).layer(Api), next);
        }
        _ => panic!("no such case: {case}"),
    }
}

/// What is done with a stack.
pub trait Measure {
    fn measure<S, E>(self, service: S, request: impl FnMut() -> Request<Body>)
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = E> + Clone,
        E: std::fmt::Debug;
}

/// One request, from readiness to response.
#[inline]
pub fn send<S, E>(service: &mut S, request: Request<Body>)
where
    S: Service<Request<Body>, Response = Response<Body>, Error = E>,
    E: std::fmt::Debug,
{
    let mut context = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut context).is_ready());
    let mut response = pin!(service.call(request));
    match response.as_mut().poll(&mut context) {
        Poll::Ready(response) => drop(black_box(response)),
        Poll::Pending => panic!("a hit does not wait"),
    }
}

/// Four headers, a body of 64 bytes.
fn request() -> Request<Body> {
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

fn naming(credentials: ClientCredentials) -> Request<Body> {
    let mut request = request();
    request.extensions_mut().insert(credentials);
    request
}

fn secret(n: usize) -> String {
    format!("{n:0>256}")
}

fn fixed(api: Api) -> tower_http::auth::AddAuthorization<Api> {
    AddAuthorizationLayer::bearer(&secret(0)).as_sensitive(true).layer(api)
}

fn credentials(n: usize) -> ClientCredentials {
    let auth = ClientAuth::client_secret_basic(format!("client-{n}"), "s3cr3t");
    ClientCredentials::new("https://auth.example.com/token", auth).expect("valid credentials")
}

fn tokens(credentials: &ClientCredentials) -> TokenCache {
    let source = tower::service_fn(|_: TokenRequest| async {
        let token = AccessToken::new(secret(0))?;
        Ok::<_, ConfigError>(token.with_expires_in(Duration::from_secs(86_400)))
    });
    let tokens = TokenCache::builder(credentials.clone(), source).capacity(20_000).build();
    block_on(tokens.warm()).expect("the source always answers");
    tokens
}

fn layer(tokens: TokenCache) -> OAuth2Layer {
    let origins = Origins::only(["https://api.example.com"]).expect("a valid origin");
    OAuth2Layer::new(tokens, origins)
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime").block_on(future)
}

/// Answers at once.
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

/// What a replay needs at the least: a clone of the request and one of the service.
#[derive(Clone)]
pub struct Cloning<S>(S);

impl<S> Service<Request<Body>> for Cloning<S>
where
    S: Service<Request<Body>> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Kept<S>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Kept<S> {
        let kept = request.clone();
        let future = self.0.call(request);
        Kept { future, kept: Some((kept, self.0.clone())) }
    }
}

pin_project_lite::pin_project! {
    pub struct Kept<S: Service<Request<Body>>> {
        #[pin]
        future: S::Future,
        kept: Option<(Request<Body>, S)>,
    }
}

impl<S: Service<Request<Body>>> Future for Kept<S> {
    type Output = <S::Future as Future>::Output;

    fn poll(self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let output = std::task::ready!(this.future.poll(cx));
        drop(black_box(this.kept.take()));
        Poll::Ready(output)
    }
}
