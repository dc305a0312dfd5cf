//! What a hit allocates: nothing.
#![allow(missing_docs)]

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use allocation_counter::{AllocationInfo, measure};
use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use tower::{Layer, Service, service_fn};
use tower_oauth2::replay::ReplayPolicy;
use tower_oauth2::{
    AccessToken, ClientAuth, ConfigError, Credentials, OAuth2Layer, Origins, TokenCache,
    TokenRequest,
};

type Body = Full<Bytes>;

/// Answers at once, allocates nothing, and its clone allocates.
struct Api(Box<u8>);

impl Clone for Api {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl Service<Request<Body>> for Api {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        assert!(request.headers().contains_key("authorization"), "a hit carries a token");
        ready(Ok(Response::default()))
    }
}

fn credentials(n: usize) -> Credentials {
    let auth = ClientAuth::client_secret_basic(format!("client-{n}"), "s3cr3t");
    Credentials::new("https://auth.example.com/token", auth).unwrap()
}

/// A layer over a cache that has tokens for the first `n` credentials.
fn layer(n: usize) -> OAuth2Layer {
    let source = service_fn(|_: TokenRequest| async {
        let token = AccessToken::new("t".repeat(256))?;
        Ok::<_, ConfigError>(token.with_expires_in(Duration::from_secs(86_400)))
    });
    let tokens = TokenCache::new(credentials(0), source);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        for n in 0..n {
            tokens.get_for(&credentials(n)).await.unwrap();
        }
    });
    OAuth2Layer::new(tokens, Origins::only(["https://api.example.com"]).unwrap())
}

fn request(named: Option<usize>) -> Request<Body> {
    let mut request = Request::post("https://api.example.com/things?page=2")
        .header("accept", HeaderValue::from_static("application/json"))
        .header("content-type", HeaderValue::from_static("application/json"))
        .body(Full::from(Bytes::from(vec![b'x'; 64])))
        .unwrap();
    if let Some(n) = named {
        request.extensions_mut().insert(credentials(n));
    }
    request
}

/// What one call allocates, once whatever is done but once has been done.
fn allocated(layer: &OAuth2Layer, named: Option<usize>) -> AllocationInfo {
    let mut service = layer.layer(Api(Box::new(0)));
    let mut call = || {
        let request = request(named);
        measure(|| {
            let mut context = Context::from_waker(Waker::noop());
            let mut response = pin!(service.call(request));
            assert!(response.as_mut().poll(&mut context).is_ready(), "a hit does not wait");
        })
    };
    call();
    call()
}

/// What a copy allocates that a replay could be made of: body, extensions, and one piece of memory for all headers.
fn copied(named: Option<usize>) -> u64 {
    let copy = || {
        let request = request(named);
        measure(|| drop((request.body().clone(), request.extensions().clone())))
    };
    copy();
    copy().count_total + 1
}

// C1
#[test]
fn a_hit_allocates_nothing_besides_what_is_kept_of_the_request() {
    assert!(copied(None) > 1, "the counter counts");
    assert_eq!(allocated(&layer(1), None).count_total, copied(None));
}

// C1
#[test]
fn a_hit_that_is_never_replayed_allocates_nothing() {
    let layer = layer(1).replay_policy(ReplayPolicy::never());
    assert_eq!(allocated(&layer, None).count_total, 0);
    assert_eq!(allocated(&layer, Some(0)).count_total, 0);
}

// C1
#[test]
fn a_hit_on_one_of_many_credentials_allocates_no_more() {
    let hit = allocated(&layer(1_000), Some(617));
    assert_eq!(hit.count_total, allocated(&layer(1), Some(0)).count_total);
    assert_eq!(hit.count_total, copied(Some(617)));
}
