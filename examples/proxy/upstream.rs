//! What the proxy stands in front of: an API, and a path at which uploads are refused in the middle.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::sync::Notify;
use tower::Service;

use crate::api::{Api, Digest};
use crate::support::issuer::Issuer;
use crate::upload::FIRST;

/// Uploads without a valid token are refused as soon as they have begun to arrive.
pub(crate) const IMPATIENT: &str = "/impatient";

#[derive(Clone)]
pub(crate) struct Upstream {
    issuer: Issuer,
    api: Api,
    last: Arc<Mutex<Option<Parts>>>,
    /// Told of each impatient upload that is let in.
    pub(crate) let_in: Arc<Notify>,
}

impl Upstream {
    pub(crate) fn new(issuer: &Issuer) -> Self {
        let (last, let_in) = (Arc::default(), Arc::default());
        Self { issuer: issuer.clone(), api: Api::new(issuer), last, let_in }
    }

    /// The last request as it arrived here, without its body.
    pub(crate) fn last(&self) -> Option<Parts> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn answer(mut self, request: Request<Incoming>) -> hyper::Result<Response<Full<Bytes>>> {
        let (head, body) = request.into_parts();
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(head.clone());
        let request = Request::from_parts(head, body);
        match request.uri().path() {
            IMPATIENT => self.impatient(request).await,
            _ => self.api.call(request).await,
        }
    }

    async fn impatient(self, request: Request<Incoming>) -> hyper::Result<Response<Full<Bytes>>> {
        let is_accepted = self.issuer.accepts(request.headers());
        let mut body = request.into_body();
        if !is_accepted {
            // All that has come is read, lest closing the connection should lose the refusal.
            let mut left = FIRST;
            while let Some(frame) = body.frame().await.filter(|_| left > 0) {
                left = left.saturating_sub(frame?.data_ref().map_or(0, Bytes::len));
            }
            let mut refusal = Response::default();
            *refusal.status_mut() = StatusCode::UNAUTHORIZED;
            return Ok(refusal);
        }
        self.let_in.notify_one();
        let digest = Digest::of([body.collect().await?.to_bytes()]);
        Ok(Response::new(digest.to_string().into()))
    }
}

impl Service<Request<Incoming>> for Upstream {
    type Response = Response<Full<Bytes>>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        Box::pin(self.clone().answer(request))
    }
}
