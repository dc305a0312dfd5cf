//! The upstream of the proxy: an API, and a path that responds to uploads early.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::sync::Semaphore;
use tower::Service;

use crate::support::api::{Api, Digest};
use crate::support::issuer::Issuer;
use crate::upload::FIRST;

/// The path at which uploads are rejected or accepted once their [`FIRST`] bytes have arrived.
pub(crate) const EARLY: &str = "/early";

#[derive(Clone)]
pub(crate) struct Upstream {
    issuer: Issuer,
    api: Api,
    last: Arc<Mutex<Option<Parts>>>,
    /// One permit for each upload that was accepted at [`EARLY`].
    accepted: Arc<Semaphore>,
}

impl Upstream {
    pub(crate) fn new(issuer: &Issuer) -> Self {
        let accepted = Arc::new(Semaphore::new(0));
        Self { issuer: issuer.clone(), api: Api::new(issuer), last: Arc::default(), accepted }
    }

    /// Returns the digests of the bodies that the API has read to their end. The API may have
    /// accepted or rejected them.
    pub(crate) fn bodies(&self) -> Vec<Digest> {
        self.api.bodies()
    }

    /// Returns the last request that arrived, without its body.
    pub(crate) fn last(&self) -> Option<Parts> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until this many more uploads have been accepted at [`EARLY`].
    pub(crate) async fn accepted(&self, uploads: u32) {
        self.accepted.acquire_many(uploads).await.expect("the semaphore is never closed").forget();
    }

    async fn answer(mut self, request: Request<Incoming>) -> hyper::Result<Response<Full<Bytes>>> {
        let (head, body) = request.into_parts();
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(head.clone());
        let request = Request::from_parts(head, body);
        match request.uri().path() {
            EARLY => self.respond_early(request).await,
            _ => self.api.call(request).await,
        }
    }

    async fn respond_early(
        self,
        request: Request<Incoming>,
    ) -> hyper::Result<Response<Full<Bytes>>> {
        let is_accepted = self.issuer.accepts(request.headers());
        let mut body = request.into_body();
        let mut first = BytesMut::new();
        while first.len() < FIRST {
            let Some(frame) = body.frame().await.transpose()? else { break };
            first.extend(frame.into_data().unwrap_or_default());
        }
        if !is_accepted {
            let mut response = Response::default();
            *response.status_mut() = StatusCode::UNAUTHORIZED;
            return Ok(response);
        }
        self.accepted.add_permits(1);
        let rest = body.collect().await?.to_bytes();
        Ok(Response::new(Digest::of([first.freeze(), rest]).to_string().into()))
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
