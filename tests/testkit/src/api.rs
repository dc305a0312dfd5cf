use std::convert::Infallible;
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tower::Service;

type Answer<R> = Pin<Box<dyn Future<Output = Result<Response<R>, Infallible>> + Send>>;
type Handler<B, R> = dyn Fn(usize, Request<B>) -> Answer<R> + Send + Sync;

/// An API that records every request.
///
/// It takes any request body, and keeps those of an API that answers at once.
pub struct Api<B = Full<Bytes>, R = Full<Bytes>> {
    handler: Arc<Handler<B, R>>,
    keep: fn(&B) -> Option<B>,
    records: bool,
    seen: Arc<Mutex<Seen<B>>>,
}

struct Seen<B> {
    count: usize,
    /// The requests, with the bodies that were kept.
    requests: Vec<(Parts, Option<B>)>,
}

impl Api {
    /// Responds at once with the result of `handler`.
    pub fn new(
        handler: impl Fn(&Request<Full<Bytes>>) -> Response<Full<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        let api = Self::serving(move |_, request| ready(handler(&request)));
        Self { keep: |body| Some(body.clone()), ..api }
    }

    /// Responds with 200 if `accepts` returns true for the token, otherwise with 401.
    pub fn accepting(accepts: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self::new(move |request| {
            let accepted = bearer(request.headers()).is_some_and(&accepts);
            answer(if accepted { StatusCode::OK } else { StatusCode::UNAUTHORIZED })
        })
    }

    /// Responds with this status to every request.
    pub fn always(status: u16) -> Self {
        Self::new(move |_| answer(StatusCode::from_u16(status).unwrap()))
    }

    /// Returns the requests, in order.
    pub fn requests(&self) -> Vec<Request<Full<Bytes>>> {
        assert!(self.records, "this API does not record requests");
        let seen = self.seen.lock().unwrap();
        let requests = seen.requests.iter().map(|(head, body)| {
            let body = body.clone().expect("an API that answers at once keeps bodies");
            Request::from_parts(head.clone(), body)
        });
        requests.collect()
    }
}

impl<B, R> Api<B, R> {
    /// Responds to request number n, from 1, with `handler(n, request)`. The handler gets the body.
    pub fn serving<F>(handler: impl Fn(usize, Request<B>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response<R>> + Send + 'static,
    {
        let handler: Arc<Handler<B, R>> = Arc::new(move |n, request| {
            let response = handler(n, request);
            Box::pin(async move { Ok(response.await) })
        });
        let seen = Arc::new(Mutex::new(Seen { count: 0, requests: Vec::new() }));
        Self { handler, keep: |_| None, records: true, seen }
    }

    /// Counts the requests without recording them, for tests that send millions of them.
    pub fn counting_only(self) -> Self {
        Self { records: false, ..self }
    }

    pub fn count(&self) -> usize {
        self.seen.lock().unwrap().count
    }

    /// Returns the Bearer token of each request, in order. It is an empty string for a request
    /// without one.
    pub fn tokens(&self) -> Vec<String> {
        assert!(self.records, "this API does not record requests");
        let seen = self.seen.lock().unwrap();
        let tokens =
            seen.requests.iter().map(|(head, _)| bearer(&head.headers).unwrap_or_default());
        tokens.map(str::to_owned).collect()
    }
}

impl<B, R> Clone for Api<B, R> {
    fn clone(&self) -> Self {
        let (handler, seen) = (self.handler.clone(), self.seen.clone());
        Self { handler, keep: self.keep, records: self.records, seen }
    }
}

impl<B, R> Service<Request<B>> for Api<B, R> {
    type Response = Response<R>;
    type Error = Infallible;
    type Future = Answer<R>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (head, body) = request.into_parts();
        let n = {
            let mut seen = self.seen.lock().unwrap();
            seen.count += 1;
            if self.records {
                seen.requests.push((head.clone(), (self.keep)(&body)));
            }
            seen.count
        };
        (self.handler)(n, Request::from_parts(head, body))
    }
}

fn bearer(headers: &http::HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

fn answer(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}
