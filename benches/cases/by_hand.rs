//! Code without this crate: a token behind a lock, and one retry after a 401.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response, StatusCode};
use tokio::sync::{Mutex, RwLock};
use tower::{BoxError, Service, ServiceExt};

use super::stacks::secret;
use super::{Body, DAY};

#[derive(Clone)]
pub struct Token {
    header: HeaderValue,
    expires_at: Instant,
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;
pub type Fetch = Arc<dyn Fn() -> Boxed<(String, Duration)> + Send + Sync>;

/// Returns a token that lives for a day.
pub fn endless() -> Boxed<(String, Duration)> {
    Box::pin(async { (secret(0), DAY) })
}

/// The lock around the token.
pub trait Lock: Default + Send + Sync + 'static {
    fn get(&self, fetch: &Fetch) -> impl Future<Output = HeaderValue> + Send;
    fn clear(&self) -> impl Future<Output = ()> + Send;
}

#[derive(Default)]
pub struct Mutexed(Mutex<Option<Token>>);

#[derive(Default)]
pub struct RwLocked(RwLock<Option<Token>>);

impl Lock for Mutexed {
    async fn get(&self, fetch: &Fetch) -> HeaderValue {
        let mut token = self.0.lock().await;
        match good(&token) {
            Some(header) => header,
            None => token.insert(fetched(fetch).await).header.clone(),
        }
    }

    async fn clear(&self) {
        *self.0.lock().await = None;
    }
}

impl Lock for RwLocked {
    async fn get(&self, fetch: &Fetch) -> HeaderValue {
        if let Some(header) = good(&*self.0.read().await) {
            return header;
        }
        let mut token = self.0.write().await;
        // Another caller may have fetched a token in the meantime.
        match good(&token) {
            Some(header) => header,
            None => token.insert(fetched(fetch).await).header.clone(),
        }
    }

    async fn clear(&self) {
        *self.0.write().await = None;
    }
}

fn good(token: &Option<Token>) -> Option<HeaderValue> {
    let token = token.as_ref()?;
    (now() < token.expires_at).then(|| token.header.clone())
}

async fn fetched(fetch: &Fetch) -> Token {
    let start = now();
    let (secret, lifetime) = fetch().await;
    let mut header: HeaderValue = format!("Bearer {secret}").parse().expect("a valid token");
    header.set_sensitive(true);
    // The margin keeps the token from expiring before it arrives at the API.
    Token { header, expires_at: start + lifetime - lifetime / 10 }
}

#[allow(clippy::disallowed_methods, reason = "hand-written code usually does this")]
fn now() -> Instant {
    Instant::now()
}

pub struct ByHand<L, S> {
    inner: S,
    lock: Arc<L>,
    fetch: Fetch,
    of: PhantomData<L>,
}

impl<L: Lock, S> ByHand<L, S> {
    pub fn new(
        inner: S,
        fetch: impl Fn() -> Boxed<(String, Duration)> + Send + Sync + 'static,
    ) -> Self {
        Self { inner, lock: Arc::default(), fetch: Arc::new(fetch), of: PhantomData }
    }
}

impl<L, S: Clone> Clone for ByHand<L, S> {
    fn clone(&self) -> Self {
        let (lock, fetch) = (self.lock.clone(), self.fetch.clone());
        Self { inner: self.inner.clone(), lock, fetch, of: PhantomData }
    }
}

impl<L, S, B> Service<Request<Body>> for ByHand<L, S>
where
    L: Lock,
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send,
    B: Send,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = Boxed<Result<Response<B>, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let again = self.inner.clone();
        let mut ready = std::mem::replace(&mut self.inner, again.clone());
        let (lock, fetch) = (self.lock.clone(), self.fetch.clone());
        Box::pin(async move {
            let kept = request.clone();
            request.headers_mut().insert(AUTHORIZATION, lock.get(&fetch).await);
            let response = ready.call(request).await?;
            if response.status() != StatusCode::UNAUTHORIZED {
                return Ok(response);
            }
            lock.clear().await;
            let mut request = kept;
            request.headers_mut().insert(AUTHORIZATION, lock.get(&fetch).await);
            again.oneshot(request).await
        })
    }
}
