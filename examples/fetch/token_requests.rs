//! Counts the token requests, and collects their secrets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tower::Service;

use crate::secrets::Secrets;

/// The token requests of this process. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct TokenRequests {
    count: Arc<AtomicU64>,
    secrets: Secrets,
}

impl TokenRequests {
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    pub(crate) fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Wraps the HTTP client of a token endpoint.
    pub(crate) fn watch<S>(&self, inner: S) -> Watched<S> {
        Watched { inner, token_requests: self.clone() }
    }
}

/// An HTTP client whose requests are counted.
#[derive(Clone)]
pub(crate) struct Watched<S> {
    inner: S,
    token_requests: TokenRequests,
}

impl<S: Service<Request<Full<Bytes>>>> Service<Request<Bytes>> for Watched<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        self.token_requests.count.fetch_add(1, Ordering::Relaxed);
        self.token_requests.secrets.add_request(&request);
        self.inner.call(request.map(Full::new))
    }
}
