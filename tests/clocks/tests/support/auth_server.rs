use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tokio::time::sleep;
use tower::{BoxError, Service};

use super::HOUR;

/// The answer to one token request. Request number n, from 1, brings `token-<n>`.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// A token with this lifetime, at once.
    Token(Duration),
    /// A token without a known lifetime, at once.
    TokenWithoutLifetime,
    /// A token of an hour, after this time.
    Late(Duration),
    /// The connection is refused.
    Refused,
    /// The connection is dead: no answer ever comes.
    Never,
}

/// The HTTP client of a token endpoint. It answers as a script says, and counts the requests.
#[derive(Clone)]
pub struct AuthServer {
    script: Arc<dyn Fn(usize) -> Answer + Send + Sync>,
    requests: Arc<AtomicUsize>,
}

impl AuthServer {
    /// Creates a server that gives request number n, from 1, the answer `script(n)`.
    pub fn new(script: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Self {
        Self { script: Arc::new(script), requests: Arc::default() }
    }

    /// Creates a server whose tokens all live for an hour.
    pub fn hourly() -> Self {
        Self::new(|_| Answer::Token(HOUR))
    }

    /// Returns the number of token requests so far.
    pub fn count(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Service<Request<Full<Bytes>>> for AuthServer {
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Full<Bytes>>) -> Self::Future {
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let answer = (self.script)(number);
        Box::pin(async move {
            match answer {
                Answer::Token(lifetime) => Ok(token(number, Some(lifetime))),
                Answer::TokenWithoutLifetime => Ok(token(number, None)),
                Answer::Late(delay) => {
                    sleep(delay).await;
                    Ok(token(number, Some(HOUR)))
                }
                Answer::Refused => Err("connection refused".into()),
                Answer::Never => pending().await,
            }
        })
    }
}

fn token(number: usize, lifetime: Option<Duration>) -> Response<Full<Bytes>> {
    let expires_in = lifetime
        .map(|lifetime| format!(r#","expires_in":{}"#, lifetime.as_secs_f64()))
        .unwrap_or_default();
    Response::new(format!(r#"{{"access_token":"token-{number}"{expires_in}}}"#).into())
}
