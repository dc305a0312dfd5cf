use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use tower::{BoxError, Service};
use tower_oauth2::{AccessToken, TokenRequest};

type Answer = Pin<Box<dyn Future<Output = Result<AccessToken, BoxError>> + Send>>;
type Script = dyn Fn(usize, TokenRequest) -> Answer + Send + Sync;

/// A source of tokens that follows a script and records its requests.
#[derive(Clone)]
pub struct Source {
    script: Arc<Script>,
    requests: Arc<Mutex<Vec<TokenRequest>>>,
}

impl Source {
    /// Responds to request number n, from 1, with the result of `script`.
    pub fn new<F>(script: impl Fn(usize, TokenRequest) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<AccessToken, BoxError>> + Send + 'static,
    {
        Self {
            script: Arc::new(move |n, request| Box::pin(script(n, request))),
            requests: Arc::default(),
        }
    }

    /// Responds to request number n, from 1, with the token `make(n)`, at once.
    pub fn of(make: impl Fn(usize) -> AccessToken + Send + Sync + 'static) -> Self {
        Self::new(move |n, _| std::future::ready(Ok(make(n))))
    }

    /// Returns the number of token requests.
    pub fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    pub fn requests(&self) -> Vec<TokenRequest> {
        self.requests.lock().unwrap().clone()
    }
}

impl Service<TokenRequest> for Source {
    type Response = AccessToken;
    type Error = BoxError;
    type Future = Answer;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: TokenRequest) -> Answer {
        let n = {
            let mut requests = self.requests.lock().unwrap();
            requests.push(request.clone());
            requests.len()
        };
        (self.script)(n, request)
    }
}
