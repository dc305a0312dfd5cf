use std::task::{Context, Poll};

use http::Request;
use tonic::body::Body;
use tower::Service;

use crate::replay::ReplayBody;

/// Passes replayable bodies to a channel, which takes tonic's own body only.
#[derive(Clone, Debug)]
pub(crate) struct IntoTonic<C>(pub(super) C);

impl<C> Service<Request<ReplayBody<Body>>> for IntoTonic<C>
where
    C: Service<Request<Body>>,
{
    type Response = C::Response;
    type Error = C::Error;
    type Future = C::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReplayBody<Body>>) -> Self::Future {
        self.0.call(request.map(Body::new))
    }
}
