//! Tests that a hit allocates nothing.
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
use tower::{Service, service_fn};
use tower_oauth2::replay::ReplayPolicy;
use tower_oauth2::{
    AccessToken, ClientAuth, ConfigError, Credentials, OAuth2Layer, Origins, RequestExt,
    TokenCache, TokenRequest, Tokens,
};

type Body = Full<Bytes>;

/// Responds at once without an allocation. Only its clone allocates.
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

/// Returns fetched tokens of the first `n` credentials, and a layer with the first ones.
fn layer(n: usize) -> (OAuth2Layer, Vec<Tokens>) {
    let source = service_fn(|_: TokenRequest| async {
        let token = AccessToken::new("t".repeat(256))?;
        Ok::<_, ConfigError>(token.with_expires_in(Duration::from_secs(86_400)))
    });
    let cache = TokenCache::new(source);
    let tokens: Vec<_> = (0..n).map(|n| cache.tokens(&credentials(n))).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        for tokens in &tokens {
            tokens.warm().await.unwrap();
        }
    });
    let origins = Origins::only(["https://api.example.com"]).unwrap();
    (OAuth2Layer::new(tokens[0].clone(), origins), tokens)
}

fn request(named: Option<&Tokens>) -> Request<Body> {
    let request = Request::post("https://api.example.com/things?page=2")
        .header("accept", HeaderValue::from_static("application/json"))
        .header("content-type", HeaderValue::from_static("application/json"))
        .body(Full::from(Bytes::from(vec![b'x'; 64])))
        .unwrap();
    match named {
        Some(tokens) => request.tokens(tokens),
        None => request,
    }
}

/// Returns what the second call of a service allocates.
fn allocated(layer: &OAuth2Layer, named: Option<&Tokens>) -> AllocationInfo {
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

/// Returns the allocations of the copy for a replay. It has one each for body, extensions and
/// headers.
fn copied(named: Option<&Tokens>) -> u64 {
    let copy = || {
        let request = request(named);
        measure(|| drop((request.body().clone(), request.extensions().clone())))
    };
    copy();
    copy().count_total + 1
}

// C1
#[test]
fn a_hit_allocates_only_the_copy_of_the_request() {
    assert!(copied(None) > 1, "the counter counts");
    assert_eq!(allocated(&layer(1).0, None).count_total, copied(None));
}

// C1
#[test]
fn a_hit_that_is_never_replayed_allocates_nothing() {
    let (layer, tokens) = layer(1);
    let layer = layer.replay_policy(ReplayPolicy::never());
    assert_eq!(allocated(&layer, None).count_total, 0);
    assert_eq!(allocated(&layer, Some(&tokens[0])).count_total, 0);
}

// C1
#[test]
fn a_hit_on_one_of_many_credentials_allocates_no_more() {
    let (one_layer, one) = layer(1);
    let (layer, tokens) = layer(1_000);
    let hit = allocated(&layer, Some(&tokens[617]));
    assert_eq!(hit.count_total, allocated(&one_layer, Some(&one[0])).count_total);
    assert_eq!(hit.count_total, copied(Some(&tokens[617])));
}
