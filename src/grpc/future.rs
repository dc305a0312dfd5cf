use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tonic::body::Body;
use tower::{BoxError, Service};

use super::into_tonic::IntoTonic;
use super::status;
use crate::oauth2::ResponseFuture;
use crate::replay::ReplayBody;

pin_project! {
    /// Resolves to the response of an [`AuthorizedChannel`](super::AuthorizedChannel).
    pub struct ChannelFuture<C>
    where
        C: Service<Request<Body>>,
    {
        #[pin]
        response: ResponseFuture<IntoTonic<C>, ReplayBody<Body>>,
    }
}

impl<C> ChannelFuture<C>
where
    C: Service<Request<Body>>,
{
    pub(super) fn new(response: ResponseFuture<IntoTonic<C>, ReplayBody<Body>>) -> Self {
        Self { response }
    }
}

impl<C, ResBody> Future for ChannelFuture<C>
where
    C: Service<Request<Body>, Response = Response<ResBody>> + Clone,
    C::Error: Into<BoxError>,
{
    type Output = Result<Response<ResBody>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(ready!(self.project().response.poll(cx)).map_err(status::from_error))
    }
}

impl<C> fmt::Debug for ChannelFuture<C>
where
    C: Service<Request<Body>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelFuture").finish_non_exhaustive()
    }
}
