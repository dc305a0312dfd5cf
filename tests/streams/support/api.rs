use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use http::header::AUTHORIZATION;
use http::{Request, Response};
use tower::Service;
use tower_oauth2::replay::ReplayBody;

pub type Answer = Pin<Box<dyn Future<Output = Response<()>> + Send>>;
type Handler<B> = dyn Fn(usize, Request<ReplayBody<B>>) -> Answer + Send + Sync;

/// An API made of a function of each request, its body and its number, which starts at 1.
pub struct Api<B> {
    handler: Arc<Handler<B>>,
    count: Arc<AtomicUsize>,
    tokens: Arc<Mutex<Vec<String>>>,
}

impl<B> Api<B> {
    pub fn new<F>(
        handler: impl Fn(usize, Request<ReplayBody<B>>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Response<()>> + Send + 'static,
    {
        let handler: Arc<Handler<B>> = Arc::new(move |n, request| Box::pin(handler(n, request)));
        Self { handler, count: Arc::default(), tokens: Arc::default() }
    }

    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Returns the Bearer token of each request in order, or an empty text.
    pub fn tokens(&self) -> Vec<String> {
        self.tokens.lock().unwrap().clone()
    }
}

impl<B> Clone for Api<B> {
    fn clone(&self) -> Self {
        Self {
            handler: self.handler.clone(),
            count: self.count.clone(),
            tokens: self.tokens.clone(),
        }
    }
}

impl<B> Service<Request<ReplayBody<B>>> for Api<B> {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<()>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReplayBody<B>>) -> Self::Future {
        let header = request.headers().get(AUTHORIZATION);
        let token = header.map_or("", |header| header.to_str().unwrap());
        self.tokens.lock().unwrap().push(token.trim_start_matches("Bearer ").to_owned());
        let answer = (self.handler)(self.count.fetch_add(1, Ordering::Relaxed) + 1, request);
        Box::pin(async move { Ok(answer.await) })
    }
}
