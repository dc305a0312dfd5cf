//! What the proxy stands in front of: an API, and a path at which uploads are refused in the middle.

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

/// Uploads are refused or let in once their [`FIRST`] bytes have arrived.
pub(crate) const IMPATIENT: &str = "/impatient";

#[derive(Clone)]
pub(crate) struct Upstream {
    issuer: Issuer,
    api: Api,
    last: Arc<Mutex<Option<Parts>>>,
    /// One permit for each upload that was let in there.
    let_in: Arc<Semaphore>,
}

impl Upstream {
    pub(crate) fn new(issuer: &Issuer) -> Self {
        let let_in = Arc::new(Semaphore::new(0));
        Self { issuer: issuer.clone(), api: Api::new(issuer), last: Arc::default(), let_in }
    }

    /// Those that the API has read to their end, whatever its answer.
    pub(crate) fn bodies(&self) -> Vec<Digest> {
        self.api.bodies()
    }

    /// The last request as it arrived here, without its body.
    pub(crate) fn last(&self) -> Option<Parts> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until so many more uploads were let in.
    pub(crate) async fn let_in(&self, uploads: u32) {
        self.let_in.acquire_many(uploads).await.expect("it is never closed").forget();
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
        let mut first = BytesMut::new();
        while first.len() < FIRST {
            let Some(frame) = body.frame().await.transpose()? else { break };
            first.extend(frame.into_data().unwrap_or_default());
        }
        if !is_accepted {
            let mut refusal = Response::default();
            *refusal.status_mut() = StatusCode::UNAUTHORIZED;
            return Ok(refusal);
        }
        self.let_in.add_permits(1);
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
