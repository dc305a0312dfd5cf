//! Makes a streaming body that can be sent twice, up to a limit.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tower::BoxError;

use super::ReplayableBody;
use super::memory::{MemoryState, Remembered};
use super::stream::{BodyNumber, QueryResult, SharedStream};

/// The number of empty frames in a row after which the task yields.
///
/// HTTP clients read until they get data. Without the limit, a body that always has an empty frame
/// would block the thread.
const MAX_EMPTY_FRAMES: u8 = 32;

/// Remembers what a streaming request body has sent, so that it can be resent.
///
/// A [`ReplayableLayer`](super::ReplayableLayer) makes it. Data, trailers, `size_hint` and
/// `is_end_stream` are those of the inner body. Nothing is remembered unless
/// [`OAuth2`](crate::OAuth2) asks for it. Chunks of 8 KiB and more are shared instead of copied.
/// Beyond the limit, the remembered data is freed, and the body goes on unchanged.
///
/// If the request is resent while this body is still being sent, the second body takes over the
/// rest of the stream, and the first ends with an error.
///
/// No lock is held while the inner body is polled, queried or dropped, so it may drop its own call.
/// After 32 empty frames in a row, the body lets other tasks run.
///
/// # Example
///
/// ```
/// use bytes::Bytes;
/// use http_body_util::{BodyExt, Full};
/// use tower_oauth2::replay::{ReplayBody, ReplayableBody};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower::BoxError> {
/// let body = ReplayBody::new(Full::new(Bytes::from_static(b"once")), 64 * 1024);
/// let kept = body.keep();
/// assert_eq!(body.collect().await?.to_bytes(), "once");
///
/// let again = ReplayBody::replay(kept).expect("within the limit");
/// assert_eq!(again.collect().await?.to_bytes(), "once");
/// # Ok(())
/// # }
/// ```
///
/// With a [`ReplayableLayer`](super::ReplayableLayer) outside, requests may have any body:
///
/// ```
/// # use bytes::Bytes;
/// # use http::{Request, Response};
/// # use http_body_util::combinators::BoxBody;
/// # use tower::{BoxError, Layer, Service};
/// # use tower_oauth2::OAuth2Layer;
/// # use tower_oauth2::replay::{ReplayBody, ReplayableLayer};
/// type Stream = BoxBody<Bytes, BoxError>;
///
/// fn stack<S>(oauth2: OAuth2Layer, http: S) -> impl Service<Request<Stream>>
/// where
///     S: Service<Request<ReplayBody<Stream>>, Response = Response<()>, Error = BoxError> + Clone,
/// {
///     ReplayableLayer::new().layer(oauth2.layer(http))
/// }
/// ```
///
/// Without that layer, a stream does not compile:
///
/// ```compile_fail,E0277
/// # use bytes::Bytes;
/// # use http::{Request, Response};
/// # use http_body_util::combinators::BoxBody;
/// # use tower::{BoxError, Layer, Service};
/// # use tower_oauth2::OAuth2Layer;
/// # use tower_oauth2::replay::{ReplayBody, ReplayableLayer};
/// # type Stream = BoxBody<Bytes, BoxError>;
/// fn stack<S>(oauth2: OAuth2Layer, http: S) -> impl Service<Request<Stream>>
/// where
///     S: Service<Request<Stream>, Response = Response<()>, Error = BoxError> + Clone,
/// {
///     oauth2.layer(http)
/// }
/// ```
pub struct ReplayBody<B> {
    stream: Arc<SharedStream<B>>,
    /// The stream belongs to the body with its owner's number.
    number: BodyNumber,
    /// Frames to send before the rest of the stream.
    again: Remembered,
    /// The number of bytes that this body has sent.
    sent: u64,
    has_begun: bool,
    /// The number of empty frames in a row.
    empty_frames: u8,
}

/// Holds the data that a [`ReplayBody`] keeps for a resend.
pub struct KeptBody<B> {
    stream: Arc<SharedStream<B>>,
    /// The number of the body that was kept.
    number: BodyNumber,
}

impl<B> ReplayBody<B> {
    /// Creates a body that remembers at most `limit` bytes of `body`.
    pub fn new(body: B, limit: usize) -> Self {
        Self::with_number(Arc::new(SharedStream::new(body, limit)), 0, Remembered::default())
    }

    fn with_number(stream: Arc<SharedStream<B>>, number: BodyNumber, again: Remembered) -> Self {
        Self { stream, number, again, sent: 0, has_begun: false, empty_frames: 0 }
    }
}

impl<B> ReplayableBody for ReplayBody<B> {
    type Kept = KeptBody<B>;

    fn keep(&self) -> KeptBody<B> {
        let mut stream = self.stream.lock();
        // A body that has lost the stream cannot be kept, and must not change its successor's
        // memory.
        if stream.owner == self.number {
            stream.memory.keepers += 1;
            if stream.memory.state == MemoryState::Unwanted {
                if self.has_begun || self.number == 0 && stream.has_begun {
                    stream.memory.state = MemoryState::Lost;
                } else {
                    stream.memory.state = MemoryState::Whole;
                    // The next resend begins with the same frames.
                    stream.memory.remembered = self.again.clone();
                }
            }
        }
        drop(stream);
        KeptBody { stream: self.stream.clone(), number: self.number }
    }

    fn replay(kept: KeptBody<B>) -> Option<Self> {
        let mut stream = kept.stream.lock();
        if stream.owner != kept.number {
            return None;
        }
        let again = stream.memory.take()?;
        stream.memory.len = again.len();
        // Other `KeptBody`s of the same stream have no data left.
        stream.memory.keepers = 0;
        stream.owner += 1;
        let number = stream.owner;
        let reader = stream.reader.take();
        drop(stream);
        // The reader that wakes up finds that it has lost the stream.
        if let Some(reader) = reader {
            reader.wake();
        }
        Some(Self::with_number(kept.stream.clone(), number, again))
    }
}

impl<B> Drop for KeptBody<B> {
    fn drop(&mut self) {
        let mut stream = self.stream.lock();
        if stream.owner != self.number {
            return;
        }
        stream.memory.keepers -= 1;
        let forgotten = (stream.memory.keepers == 0).then(|| stream.memory.forget());
        drop(stream);
        drop(forgotten);
    }
}

impl<B> Body for ReplayBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        this.has_begun = true;
        if this.empty_frames == MAX_EMPTY_FRAMES {
            this.empty_frames = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let is_owner = this.stream.lock().owner == this.number;
        let frame = match this.again.next().filter(|_| is_owner) {
            Some(frame) => Some(Ok(frame)),
            None => ready!(this.stream.poll_frame(this.number, cx)),
        };
        this.empty_frames = match &frame {
            Some(Ok(frame)) => {
                let len = frame.data_ref().map_or(0, |data| data.len() as u64);
                this.sent = this.sent.saturating_add(len);
                if len == 0 { this.empty_frames + 1 } else { 0 }
            }
            Some(Err(_)) | None => 0,
        };
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let stream = self.stream.lock();
        let has_ended_so_far =
            stream.owner == self.number && self.again.is_empty() && stream.handed_over.is_none();
        drop(stream);
        has_ended_so_far
            && match self.stream.query(self.number, |body| body.is_end_stream()) {
                QueryResult::Answered(has_ended) => has_ended,
                QueryResult::Ended => true,
                QueryResult::InUse => false,
            }
    }

    fn size_hint(&self) -> SizeHint {
        let stream = self.stream.lock();
        if stream.owner != self.number {
            // An exact hint of 0 would let an HTTP client send an empty body instead of the error.
            return SizeHint::new();
        }
        let has_begun = stream.has_begun;
        #[allow(clippy::clone_on_copy, reason = "the oldest http-body has no `Copy` here")]
        let size = stream.size.clone();
        drop(stream);
        if self.number == 0 || !has_begun {
            return match self.stream.query(self.number, |body| body.size_hint()) {
                QueryResult::Answered(hint) => hint,
                QueryResult::Ended => SizeHint::with_exact(0),
                QueryResult::InUse => size,
            };
        }
        // The hint of the first body at this point, so that the resend has the same framing.
        let mut hint = SizeHint::new();
        hint.set_lower(size.lower().saturating_sub(self.sent));
        if let Some(upper) = size.upper() {
            hint.set_upper(upper.saturating_sub(self.sent));
        }
        hint
    }
}

impl<B> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayBody").field("number", &self.number).finish_non_exhaustive()
    }
}

impl<B> fmt::Debug for KeptBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptBody").finish_non_exhaustive()
    }
}
