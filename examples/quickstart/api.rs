//! An API that keeps what is put, and lets nobody in without a token.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;

use crate::issuer::Issuer;
use crate::server::response;

#[derive(Clone)]
pub(crate) struct Api {
    issuer: Issuer,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    resources: HashMap<String, Bytes>,
    seen: Vec<Seen>,
}

/// One request as it arrived, and what it got.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) body: Bytes,
    pub(crate) status: StatusCode,
}

impl Api {
    pub(crate) fn new(issuer: Issuer) -> Self {
        Self { issuer, state: Arc::default() }
    }

    /// What has arrived since the first `known` requests.
    pub(crate) fn seen_since(&self, known: usize) -> Vec<Seen> {
        self.lock().seen[known..].to_vec()
    }

    pub(crate) fn requests(&self) -> usize {
        self.lock().seen.len()
    }

    pub(crate) fn answer(&self, request: Request<Bytes>) -> Response<Full<Bytes>> {
        let mut state = self.lock();
        let response = if self.issuer.accepts(request.headers().get(AUTHORIZATION)) {
            state.act(&request)
        } else {
            unauthorized()
        };
        state.seen.push(Seen { status: response.status(), body: request.into_body() });
        response
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn act(&mut self, request: &Request<Bytes>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        let resource = match *request.method() {
            Method::PUT => {
                self.resources.insert(path.to_owned(), request.body().clone());
                Some(request.body().clone())
            }
            Method::GET => self.resources.get(path).cloned(),
            Method::DELETE => self.resources.remove(path),
            _ => return response(StatusCode::METHOD_NOT_ALLOWED, Bytes::new()),
        };
        match resource {
            Some(resource) => response(StatusCode::OK, resource),
            None => response(StatusCode::NOT_FOUND, Bytes::new()),
        }
    }
}

fn unauthorized() -> Response<Full<Bytes>> {
    let mut response = response(StatusCode::UNAUTHORIZED, Bytes::new());
    let challenge = HeaderValue::from_static(r#"Bearer error="invalid_token""#);
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}
