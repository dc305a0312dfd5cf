//! Reads the small bodies of rejected responses, so that connections are kept.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use super::drained_body::{DrainedBody, ReadFrames};
use super::policy::{Recipient, ReplayPolicy};

/// Reads small bodies of rejected responses, so that HTTP/1.1 connections are kept.
///
/// A request is replayed after its rejected response was dropped. An HTTP/1.1 client closes the
/// connection of a response that is dropped before its end, so each 401 could cost a connection.
/// hyper keeps the connection if the rest arrives with its next read, which is the case for most
/// small bodies with a `Content-Length`, but not for one of several chunks.
///
/// Put this layer inside an [`OAuth2Layer`](crate::OAuth2Layer). It reads what has arrived of a
/// response that the [policy](Self::replay_policy) matches, up to 64 KiB. It does not wait for the
/// server: it lets other tasks run a few times, one of which reads the connection, and stops if no
/// more data arrives. It helps most if the request runs in a spawned task: tokio then
/// often runs the connection's task on the same thread, before this layer stops waiting. A response
/// that is returned and not replayed still has its whole body. Other responses are not touched.
///
/// It is a separate layer because an [`OAuth2Layer`](crate::OAuth2Layer) also accepts responses
/// whose bodies are not a [`Body`], such as `Response<()>`.
///
/// # Example
///
/// ```
/// use tower::ServiceBuilder;
/// use tower_oauth2::OAuth2Layer;
/// use tower_oauth2::replay::DrainLayer;
///
/// fn stack<S: Clone>(oauth2: OAuth2Layer, http: S) -> impl Sized {
///     ServiceBuilder::new()
///         .layer(oauth2)
///         .layer(DrainLayer::new())
///         .service(http)
/// }
/// ```
///
/// [`Body`]: https://docs.rs/http-body/latest/http_body/trait.Body.html
#[derive(Clone, Debug)]
pub struct DrainLayer {
    policy: ReplayPolicy,
}

impl DrainLayer {
    /// Creates a layer that reads the bodies of 401 and 407 responses.
    pub fn new() -> Self {
        Self { policy: ReplayPolicy::unauthorized().for_recipient(Recipient::Any) }
    }

    /// Sets the responses whose bodies are read.
    ///
    /// Pass the policy of the `OAuth2Layer`.
    #[must_use]
    pub fn replay_policy(mut self, policy: ReplayPolicy) -> Self {
        self.policy = policy.for_recipient(Recipient::Any);
        self
    }
}

impl Default for DrainLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for DrainLayer {
    type Service = Drain<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Drain { inner, policy: self.policy.clone() }
    }
}

/// Reads the bodies of rejected responses of the inner service.
///
/// [`DrainLayer`] makes it.
#[derive(Clone, Debug)]
pub struct Drain<S> {
    inner: S,
    policy: ReplayPolicy,
}

impl<S> Drain<S> {
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

impl<S, B, ResBody> Service<Request<B>> for Drain<S>
where
    S: Service<Request<B>, Response = Response<ResBody>>,
    ResBody: Body,
{
    type Response = Response<DrainedBody<ResBody>>;
    type Error = S::Error;
    /// Resolves to the response.
    type Future = DrainFuture<S::Future, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let response = self.inner.call(request);
        DrainFuture { policy: self.policy.clone(), state: State::InFlight { response } }
    }
}

pin_project! {
    /// Resolves to the response of a [`Drain`] service.
    pub struct DrainFuture<F, B>
    where
        B: Body,
    {
        policy: ReplayPolicy,
        #[pin]
        state: State<F, B>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, B>
    where
        B: Body,
    {
        // The inner service has the request.
        InFlight {
            #[pin]
            response: F,
        },
        // The inner future was dropped, because it may hold a permit that another request waits
        // for.
        Draining {
            // `None` once the response was returned.
            draining: Option<Box<Draining<B>>>,
        },
    }
}

/// The most bytes that are read of a body.
const MAX_BYTES: usize = 64 * 1024;

/// The most frames that are read of a body.
///
/// A body may have empty frames without end.
const MAX_FRAMES: usize = 256;

/// The number of times in a row that other tasks run without another frame.
///
/// One of them reads the connection, and may be on another thread.
const MAX_YIELDS: u8 = 16;

struct Draining<B: Body> {
    head: Response<()>,
    body: Pin<Box<B>>,
    frames: ReadFrames<B>,
    bytes: usize,
    yields: u8,
}

impl<B: Body> Draining<B> {
    fn new(response: Response<B>) -> Self {
        let (head, body) = response.into_parts();
        Self {
            head: Response::from_parts(head, ()),
            body: Box::pin(body),
            frames: VecDeque::new(),
            bytes: 0,
            yields: 0,
        }
    }

    /// Reads until the end, a limit, or a body without immediate data.
    ///
    /// Returns whether the body is at its end.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        while self.bytes <= MAX_BYTES && self.frames.len() < MAX_FRAMES {
            match self.body.as_mut().poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let len = frame.data_ref().map_or(0, Buf::remaining);
                    self.bytes = self.bytes.saturating_add(len);
                    self.frames.push_back(Ok(frame));
                    self.yields = 0;
                }
                Poll::Ready(Some(Err(error))) => {
                    self.frames.push_back(Err(error));
                    return Poll::Ready(true);
                }
                Poll::Ready(None) => return Poll::Ready(true),
                Poll::Pending if self.yields == MAX_YIELDS => return Poll::Ready(false),
                Poll::Pending => {
                    self.yields += 1;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(false)
    }

    fn into_response(self, has_ended: bool) -> Response<DrainedBody<B>> {
        let rest = (!has_ended).then_some(self.body);
        self.head.map(|()| DrainedBody::read(self.frames, rest))
    }
}

impl<F, B, E> Future for DrainFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<DrainedBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProj::InFlight { response } => {
                    let response = ready!(response.poll(cx))?;
                    if response.body().is_end_stream() || !this.policy.is_rejection(&response) {
                        return Poll::Ready(Ok(response.map(DrainedBody::unread)));
                    }
                    let draining = Some(Box::new(Draining::new(response)));
                    this.state.set(State::Draining { draining });
                }
                StateProj::Draining { draining } => {
                    let reading = draining.as_mut().expect("`DrainFuture` polled after completion");
                    let has_ended = ready!(reading.poll(cx));
                    let done = draining.take().expect("`draining` was borrowed above");
                    return Poll::Ready(Ok(done.into_response(has_ended)));
                }
            }
        }
    }
}

impl<F, B: Body> fmt::Debug for DrainFuture<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DrainFuture").finish_non_exhaustive()
    }
}
