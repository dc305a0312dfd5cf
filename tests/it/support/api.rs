use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tower::Service;

type Handler = dyn Fn(&Request<Full<Bytes>>) -> Response<Full<Bytes>> + Send + Sync;

/// An API that responds at once and records every request.
#[derive(Clone)]
pub struct Api {
    handler: Arc<Handler>,
    requests: Arc<Mutex<Vec<Request<Full<Bytes>>>>>,
}

impl Api {
    pub fn new(
        handler: impl Fn(&Request<Full<Bytes>>) -> Response<Full<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        Self { handler: Arc::new(handler), requests: Arc::default() }
    }

    /// Responds with 200 to a request whose token `accepts` returns true for, and with 401 to others.
    pub fn accepting(accepts: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self::new(move |request| {
            let accepted = bearer(request).is_some_and(&accepts);
            answer(if accepted { StatusCode::OK } else { StatusCode::UNAUTHORIZED })
        })
    }

    /// Responds with this status to every request.
    pub fn always(status: u16) -> Self {
        Self::new(move |_| answer(StatusCode::from_u16(status).unwrap()))
    }

    pub fn requests(&self) -> Vec<Request<Full<Bytes>>> {
        self.requests.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    /// Returns the Bearer token of each request, in order. A request without one is an empty string.
    pub fn tokens(&self) -> Vec<String> {
        let requests = self.requests();
        requests.iter().map(|request| bearer(request).unwrap_or_default().to_owned()).collect()
    }
}

impl Service<Request<Full<Bytes>>> for Api {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let response = (self.handler)(&request);
        self.requests.lock().unwrap().push(request);
        ready(Ok(response))
    }
}

fn bearer(request: &Request<Full<Bytes>>) -> Option<&str> {
    request.headers().get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

fn answer(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}
