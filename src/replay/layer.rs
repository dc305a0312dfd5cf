use std::task::{Context, Poll};

use http::Request;
use tower::{Layer, Service};

use super::ReplayBody;

/// Makes streaming request bodies replayable.
///
/// It turns each body into a [`ReplayBody`], which remembers what it has sent. Put this layer
/// outside an [`OAuth2Layer`](crate::OAuth2Layer). A body that has sent more than the
/// [limit](Self::limit) is not sent again. Its 401 is returned with
/// [`NotReplayed::Body`](crate::replay::NotReplayed::Body), and the next request gets another
/// token.
///
/// The service takes bodies of any type `B`, and the HTTP client inside takes
/// [`ReplayBody<B>`](ReplayBody). Send requests with [`tower::ServiceExt::oneshot`].
///
/// # Example
///
/// ```
/// use axum::body::Body;
/// use hyper_util::client::legacy::Client;
/// use hyper_util::client::legacy::connect::HttpConnector;
/// use tower::ServiceBuilder;
/// use tower_oauth2::replay::{ReplayBody, Replayable, ReplayableLayer};
/// use tower_oauth2::{OAuth2, OAuth2Layer};
///
/// type Http = Client<HttpConnector, ReplayBody<Body>>;
///
/// fn stack(oauth2: OAuth2Layer, http: Http) -> Replayable<OAuth2<Http>> {
///     ServiceBuilder::new()
///         .layer(ReplayableLayer::new().limit(256 * 1024))
///         .layer(oauth2)
///         .service(http)
/// }
/// # let _ = stack;
/// ```
///
/// [`tower::ServiceExt::oneshot`]: https://docs.rs/tower/latest/tower/trait.ServiceExt.html#method.oneshot
#[derive(Clone, Copy, Debug)]
pub struct ReplayableLayer {
    limit: usize,
}

impl ReplayableLayer {
    /// Gives the default limit of 64 KiB.
    pub const DEFAULT_LIMIT: usize = 64 * 1024;

    /// Creates a layer that remembers up to 64 KiB of each body.
    pub const fn new() -> Self {
        Self { limit: Self::DEFAULT_LIMIT }
    }

    /// Sets the maximum number of bytes of a body to remember.
    ///
    /// Chunks of 8 KiB and more are not copied. They keep the buffers that they are part of in
    /// memory, which may be more than the limit.
    #[must_use]
    pub const fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }
}

impl Default for ReplayableLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for ReplayableLayer {
    type Service = Replayable<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Replayable { inner, limit: self.limit }
    }
}

/// Makes request bodies replayable for the inner service.
///
/// [`ReplayableLayer`] makes it.
#[derive(Clone, Debug)]
pub struct Replayable<S> {
    inner: S,
    limit: usize,
}

impl<S> Replayable<S> {
    /// Returns a reference to the inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns a mutable reference to the inner service.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, B> Service<Request<B>> for Replayable<S>
where
    S: Service<Request<ReplayBody<B>>>,
{
    type Response = S::Response;
    type Error = S::Error;
    /// Resolves to the response of the inner service.
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.inner.call(request.map(|body| ReplayBody::new(body, self.limit)))
    }
}
