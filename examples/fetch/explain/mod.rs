//! Prints a token request and its response without secrets.

mod jwt;
mod transcript;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use tower::{BoxError, Service};

use crate::bounded::{self, Keep};

pub(crate) use self::transcript::Transcript;

/// An HTTP client whose requests and responses go into a transcript.
#[derive(Clone)]
pub(crate) struct Explained<S> {
    inner: S,
    transcript: Transcript,
}

impl<S> Explained<S> {
    pub(crate) fn new(inner: S, transcript: Transcript) -> Self {
        Self { inner, transcript }
    }
}

impl<S> Service<Request<Bytes>> for Explained<S>
where
    S: Service<Request<Bytes>, Response = Response<Incoming>, Error: Into<BoxError>>,
    S::Future: Send + 'static,
{
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        self.transcript.request(&request);
        let (transcript, response) = (self.transcript.clone(), self.inner.call(request));
        Box::pin(async move {
            let (head, body) = response.await.map_err(Into::into)?.into_parts();
            let body = bounded::body(body, Keep::Body).await?;
            let response = Response::from_parts(head, body);
            transcript.response(&response);
            Ok(response.map(Full::new))
        })
    }
}
