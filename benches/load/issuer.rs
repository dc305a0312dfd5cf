//! A token endpoint and an API that know which tokens are good.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use tower::{BoxError, Service};
use tower_oauth2::cache::TokenCacheBuilder;
use tower_oauth2::{AccessToken, ConfigError, OAuth2, TokenCache, TokenRequest};

use crate::cases::Body;
use crate::cases::by_hand::{ByHand, Lock};
use crate::cases::stacks::{credentials, layer, secret};
use crate::now;

#[derive(Clone)]
pub struct Issuer(Arc<IssuerState>);

struct IssuerState {
    lifetime: Duration,
    /// The duration of a token request.
    delay: Duration,
    requests: AtomicU64,
    issued: Mutex<Vec<Issued>>,
    /// The number of tokens, from the first on, that are no longer valid.
    revoked: AtomicU64,
}

/// The times at which a token was requested and arrived.
#[derive(Clone, Copy)]
pub struct Issued {
    pub requested_at: Instant,
    pub arrived_at: Instant,
}

impl Issuer {
    pub fn new(lifetime: Duration, delay: Duration) -> Self {
        Self(Arc::new(IssuerState {
            lifetime,
            delay,
            requests: AtomicU64::new(0),
            issued: Mutex::default(),
            revoked: AtomicU64::new(0),
        }))
    }

    /// Answers a token request.
    pub async fn issue(&self) -> (String, Duration) {
        let IssuerState { lifetime, delay, requests, issued, .. } = &*self.0;
        requests.fetch_add(1, Ordering::Relaxed);
        let requested_at = now();
        tokio::time::sleep(*delay).await;
        let mut issued = issued.lock().expect("no thread panicked while it held the lock");
        issued.push(Issued { requested_at, arrived_at: now() });
        (secret(issued.len() as u64), *lifetime)
    }

    /// Returns the number of token requests.
    pub fn requests(&self) -> u64 {
        self.0.requests.load(Ordering::Relaxed)
    }

    pub fn issued(&self) -> Vec<Issued> {
        self.0.issued.lock().expect("no thread panicked while it held the lock").clone()
    }

    /// Revokes all tokens that were issued so far.
    pub fn revoke(&self) {
        self.0.revoked.store(self.issued().len() as u64, Ordering::Relaxed);
    }

    fn accepts(&self, request: &Request<Body>) -> bool {
        let IssuerState { lifetime, issued, revoked, .. } = &*self.0;
        let header = request.headers().get(AUTHORIZATION);
        let text = header.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let Some(number) = text.and_then(|text| text.parse::<u64>().ok()) else {
            return false;
        };
        number > revoked.load(Ordering::Relaxed)
            && issued.lock().expect("no thread panicked while it held the lock")
                [number as usize - 1]
                .arrived_at
                .elapsed()
                < *lifetime
    }

    pub fn api(&self, delay: fn() -> Duration) -> Api {
        Api { issuer: self.clone(), delay }
    }

    /// Returns this crate's service around `api`, with its own cache.
    pub fn ours(
        &self,
        api: Api,
        set: impl FnOnce(TokenCacheBuilder) -> TokenCacheBuilder,
    ) -> OAuth2<Api> {
        let issuer = self.clone();
        let source = tower::service_fn(move |_: TokenRequest| {
            let issuer = issuer.clone();
            async move {
                let (secret, lifetime) = issuer.issue().await;
                Ok::<_, ConfigError>(AccessToken::new(secret)?.with_expires_in(lifetime))
            }
        });
        let cache = set(TokenCache::builder(source)).build();
        layer(cache.tokens(&credentials(0))).layer(api)
    }

    pub fn by_hand<L: Lock>(&self, api: Api) -> ByHand<L, Api> {
        let issuer = self.clone();
        ByHand::new(api, move || {
            let issuer = issuer.clone();
            Box::pin(async move { issuer.issue().await })
        })
    }
}

/// Checks the token of a request when it arrives, and answers after a delay.
#[derive(Clone)]
pub struct Api {
    issuer: Issuer,
    delay: fn() -> Duration,
}

impl Service<Request<Body>> for Api {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let is_good = self.issuer.accepts(&request);
        let delay = (self.delay)();
        Box::pin(async move {
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            let mut response = Response::new(Full::new(Bytes::new()));
            if !is_good {
                *response.status_mut() = StatusCode::UNAUTHORIZED;
                let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
                response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            }
            Ok(response)
        })
    }
}
