//! Stacks of this crate, and the two stacks that it is compared with.

use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Request;
use tower::{Layer, Service};
use tower_http::auth::{AddAuthorization, AddAuthorizationLayer};
use tower_oauth2::source::TokenSource;
use tower_oauth2::{
    AccessToken, ClientAuth, ConfigError, Credentials, OAuth2Layer, Origins, TokenCache,
    TokenRequest, Tokens,
};

use super::{Body, DAY};

/// Returns a token of 256 characters.
pub fn secret(n: u64) -> String {
    format!("{n:0>256}")
}

pub fn fixed<S>(api: S) -> AddAuthorization<S> {
    AddAuthorizationLayer::bearer(&secret(0)).as_sensitive(true).layer(api)
}

pub fn credentials(n: usize) -> Credentials {
    let auth = ClientAuth::client_secret_basic(format!("client-{n}"), "s3cr3t");
    Credentials::new("https://auth.example.com/token", auth).expect("valid credentials")
}

pub fn cache(source: impl TokenSource) -> TokenCache {
    TokenCache::builder(source).capacity(20_000).build()
}

pub fn tokens(credentials: Credentials, source: impl TokenSource) -> Tokens {
    cache(source).tokens(&credentials)
}

pub fn layer(tokens: Tokens) -> OAuth2Layer {
    let origins = Origins::only(["https://api.example.com"]).expect("a valid origin");
    OAuth2Layer::new(tokens, origins)
}

/// Returns a source whose tokens live for a day.
pub fn endless() -> Source {
    issuing(DAY.as_secs(), false)
}

/// Returns a source that answers at once, with another token each time.
pub fn issuing(lifetime: u64, is_dpop: bool) -> Source {
    let lifetime = Duration::from_secs(lifetime);
    Source { count: Arc::default(), lifetime, is_dpop }
}

#[derive(Clone)]
pub struct Source {
    count: Arc<AtomicU64>,
    lifetime: Duration,
    is_dpop: bool,
}

impl Service<TokenRequest> for Source {
    type Response = AccessToken;
    type Error = ConfigError;
    type Future = Ready<Result<AccessToken, ConfigError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConfigError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: TokenRequest) -> Self::Future {
        let secret = secret(self.count.fetch_add(1, Ordering::Relaxed));
        let token = match self.is_dpop {
            true => AccessToken::dpop(secret),
            false => AccessToken::new(secret),
        };
        ready(token.map(|token| token.with_expires_in(self.lifetime)))
    }
}

/// A retry as most services write it: it clones the request and the service.
#[derive(Clone)]
pub struct Cloning<S>(S);

impl<S> Cloning<S> {
    pub fn new(service: S) -> Self {
        Self(service)
    }
}

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

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let output = std::task::ready!(this.future.poll(cx));
        drop(black_box(this.kept.take()));
        Poll::Ready(output)
    }
}
