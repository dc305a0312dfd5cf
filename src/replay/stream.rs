//! A streaming body that can be sent twice, up to a limit.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use tower::BoxError;

use super::ReplayableBody;
use super::memory::{Memory, MemoryState, Remembered};

/// A streaming request body that is remembered as it goes out, so that it can be sent once more;
/// made by a [`ReplayableLayer`](super::ReplayableLayer).
///
/// Data, trailers, `size_hint` and `is_end_stream` are those of the body within, and nothing is
/// remembered unless [`OAuth2`](crate::OAuth2) asks for it. Chunks of 8 KiB and more are not copied, but counted. Once the
/// limit is passed, what was kept is freed, and the body goes on untouched.
///
/// When the request is sent again while this body is still going out, the second one takes over the
/// rest of the stream, and the first ends with an error.
///
/// # Example
///
/// ```
/// use bytes::Bytes;
/// use http_body_util::{BodyExt, Full};
/// use tower_oauth2::{ReplayBody, ReplayableBody};
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
/// Put a [`ReplayableLayer`](super::ReplayableLayer) outside, and the body may be any:
///
/// ```
/// # use bytes::Bytes;
/// # use http::{Request, Response};
/// # use http_body_util::combinators::BoxBody;
/// # use tower::{BoxError, Layer, Service};
/// # use tower_oauth2::{OAuth2Layer, ReplayBody, ReplayableLayer};
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
/// Without it, a stream is not taken:
///
/// ```compile_fail,E0277
/// # use bytes::Bytes;
/// # use http::{Request, Response};
/// # use http_body_util::combinators::BoxBody;
/// # use tower::{BoxError, Layer, Service};
/// # use tower_oauth2::{OAuth2Layer, ReplayBody, ReplayableLayer};
/// # type Stream = BoxBody<Bytes, BoxError>;
/// fn stack<S>(oauth2: OAuth2Layer, http: S) -> impl Service<Request<Stream>>
/// where
///     S: Service<Request<Stream>, Response = Response<()>, Error = BoxError> + Clone,
/// {
///     oauth2.layer(http)
/// }
/// ```
pub struct ReplayBody<B> {
    stream: Arc<Mutex<Stream<B>>>,
    /// The stream belongs to the body whose turn it is.
    turn: u32,
    /// What goes out before the rest of the stream.
    again: Remembered,
    /// How many bytes have gone out of this one.
    sent: u64,
    has_begun: bool,
}

/// What is held back of a [`ReplayBody`].
pub struct KeptBody<B> {
    stream: Arc<Mutex<Stream<B>>>,
    /// Of the body that it is held back of.
    turn: u32,
}

struct Stream<B> {
    /// Gone once it has ended or failed.
    body: Option<Pin<Box<B>>>,
    has_begun: bool,
    /// What the body said of its size before it began.
    size: SizeHint,
    turn: u32,
    /// Whoever reads at present, to be told when another takes over.
    reader: Option<Waker>,
    memory: Memory,
}

impl<B> ReplayBody<B> {
    /// Remembers at most `limit` bytes of `body`.
    pub fn new(body: B, limit: usize) -> Self {
        let stream = Stream {
            body: Some(Box::pin(body)),
            has_begun: false,
            size: SizeHint::new(),
            turn: 0,
            reader: None,
            memory: Memory::new(limit),
        };
        let stream = Arc::new(Mutex::new(stream));
        Self { stream, turn: 0, again: Remembered::default(), sent: 0, has_begun: false }
    }
}

impl<B> ReplayableBody for ReplayBody<B> {
    type Kept = KeptBody<B>;

    fn keep(&self) -> KeptBody<B> {
        let mut stream = lock(&self.stream);
        // Of one whose turn is over, nothing can be kept; what is kept of the one that follows stays.
        if stream.turn == self.turn {
            stream.memory.keepers += 1;
            if stream.memory.state == MemoryState::Unwanted {
                if self.has_begun || self.turn == 0 && stream.has_begun {
                    stream.memory.state = MemoryState::Lost;
                } else {
                    stream.memory.state = MemoryState::Whole;
                    // What goes out before the rest of the stream would go out again too.
                    stream.memory.remembered = self.again.clone();
                }
            }
        }
        drop(stream);
        KeptBody { stream: self.stream.clone(), turn: self.turn }
    }

    fn replay(kept: KeptBody<B>) -> Option<Self> {
        let mut stream = lock(&kept.stream);
        if stream.turn != kept.turn {
            return None;
        }
        let again = stream.memory.take()?;
        stream.memory.len = again.len();
        // Whoever else keeps something of the last one has nothing any more.
        stream.memory.keepers = 0;
        stream.turn += 1;
        let turn = stream.turn;
        let reader = stream.reader.take();
        drop(stream);
        // It finds out that its turn is over.
        if let Some(reader) = reader {
            reader.wake();
        }
        Some(Self { stream: kept.stream.clone(), turn, again, sent: 0, has_begun: false })
    }
}

impl<B> Drop for KeptBody<B> {
    fn drop(&mut self) {
        let mut stream = lock(&self.stream);
        if stream.turn != self.turn {
            return;
        }
        stream.memory.keepers -= 1;
        if stream.memory.keepers == 0 {
            stream.memory.forget();
        }
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
        let mut stream = lock(&this.stream);
        if stream.turn != this.turn {
            return Poll::Ready(Some(Err(TakenOver.into())));
        }
        let frame = match this.again.next() {
            Some(frame) => Some(Ok(frame)),
            None => ready!(stream.poll_frame(cx)),
        };
        if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
            this.sent = this.sent.saturating_add(data.len() as u64);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let stream = lock(&self.stream);
        stream.turn == self.turn
            && self.again.is_empty()
            && stream.body.as_ref().is_none_or(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let stream = lock(&self.stream);
        if stream.turn != self.turn {
            // Whoever has not begun to send it must not take it for an empty one.
            return SizeHint::new();
        }
        if self.turn == 0 || !stream.has_begun {
            return match &stream.body {
                Some(body) => body.size_hint(),
                None => SizeHint::with_exact(0),
            };
        }
        // As the first one at this point, so that it is framed as that was.
        let mut hint = SizeHint::new();
        hint.set_lower(stream.size.lower().saturating_sub(self.sent));
        if let Some(upper) = stream.size.upper() {
            hint.set_upper(upper.saturating_sub(self.sent));
        }
        hint
    }
}

impl<B> Stream<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        if !self.has_begun {
            self.size = body.size_hint();
        }
        let Poll::Ready(frame) = body.as_mut().poll_frame(cx) else {
            match &mut self.reader {
                Some(reader) => reader.clone_from(cx.waker()),
                reader => *reader = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        };
        self.has_begun = true;
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                let frame = frame.map_data(|mut data| data.copy_to_bytes(data.remaining()));
                self.memory.remember(&frame);
                Some(Ok(frame))
            }
            Some(Err(error)) => {
                self.body = None;
                self.memory.lose();
                Some(Err(error.into()))
            }
            None => {
                self.body = None;
                None
            }
        })
    }
}

fn lock<B>(stream: &Mutex<Stream<B>>) -> MutexGuard<'_, Stream<B>> {
    stream.lock().unwrap_or_else(|poisoned| {
        // The body has panicked, and who knows what it has lost.
        let mut stream = PoisonError::into_inner(poisoned);
        stream.memory.lose();
        stream
    })
}

/// What the first body ends with when the second has taken over the stream.
#[derive(Debug)]
struct TakenOver;

impl fmt::Display for TakenOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request is sent again, with the rest of this body")
    }
}

impl std::error::Error for TakenOver {}

impl<B> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayBody").field("turn", &self.turn).finish_non_exhaustive()
    }
}

impl<B> fmt::Debug for KeptBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptBody").finish_non_exhaustive()
    }
}
