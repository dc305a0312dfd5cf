//! A streaming body that can be sent twice, up to a limit.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::{fmt, mem};

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tower::BoxError;

use super::ReplayableBody;

/// Frames smaller than this are copied together, so that the smallest frames can not cost many times
/// their size.
const SMALL: usize = 256;

/// A streaming request body that is remembered as it goes out, so that it can be sent once more;
/// made by a [`ReplayableLayer`](super::ReplayableLayer).
///
/// Data, trailers, `size_hint` and `is_end_stream` are those of the body within, and nothing is
/// remembered unless [`OAuth2`](crate::OAuth2) asks for it. What can be reference-counted is not copied. Once the
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
pub struct ReplayBody<B> {
    stream: Arc<Mutex<Stream<B>>>,
    /// The stream belongs to the body whose turn it is.
    turn: u32,
    /// What goes out before the rest of the stream.
    again: Remembered,
}

/// What is held back of a [`ReplayBody`].
pub struct KeptBody<B> {
    stream: Arc<Mutex<Stream<B>>>,
}

struct Stream<B> {
    /// Gone once it has ended or failed.
    body: Option<Pin<Box<B>>>,
    has_begun: bool,
    turn: u32,
    /// Whoever reads at present, to be told when another takes over.
    reader: Option<Waker>,
    memory: Memory,
}

/// What has gone out so far, if anybody wants to know.
struct Memory {
    state: MemoryState,
    limit: usize,
    len: usize,
    remembered: Remembered,
    /// The last chunk, while it is made of small ones.
    small: BytesMut,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum MemoryState {
    Unwanted,
    Whole,
    /// Something went out that is not in here.
    Lost,
}

#[derive(Default)]
struct Remembered {
    chunks: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
}

impl<B> ReplayBody<B> {
    /// Remembers at most `limit` bytes of `body`.
    pub fn new(body: B, limit: usize) -> Self {
        let memory = Memory {
            state: MemoryState::Unwanted,
            limit,
            len: 0,
            remembered: Remembered::default(),
            small: BytesMut::new(),
        };
        let stream =
            Stream { body: Some(Box::pin(body)), has_begun: false, turn: 0, reader: None, memory };
        Self { stream: Arc::new(Mutex::new(stream)), turn: 0, again: Remembered::default() }
    }
}

impl<B> ReplayableBody for ReplayBody<B> {
    type Kept = KeptBody<B>;

    fn keep(&self) -> KeptBody<B> {
        let mut stream = lock(&self.stream);
        stream.memory.state =
            if stream.has_begun || self.turn != 0 { MemoryState::Lost } else { MemoryState::Whole };
        drop(stream);
        KeptBody { stream: self.stream.clone() }
    }

    fn replay(kept: KeptBody<B>) -> Option<Self> {
        let mut stream = lock(&kept.stream);
        let again = stream.memory.take()?;
        stream.turn += 1;
        let turn = stream.turn;
        let reader = stream.reader.take();
        drop(stream);
        // It finds out that its turn is over.
        if let Some(reader) = reader {
            reader.wake();
        }
        Some(Self { stream: kept.stream.clone(), turn, again })
    }
}

impl<B> Drop for KeptBody<B> {
    fn drop(&mut self) {
        lock(&self.stream).memory.forget();
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
        let mut stream = lock(&this.stream);
        if stream.turn != this.turn {
            return Poll::Ready(Some(Err(TakenOver.into())));
        }
        if let Some(frame) = this.again.next() {
            return Poll::Ready(Some(Ok(frame)));
        }
        stream.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        let stream = lock(&self.stream);
        stream.turn == self.turn
            && self.again.is_empty()
            && stream.body.as_ref().is_none_or(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let stream = lock(&self.stream);
        let rest = match &stream.body {
            Some(body) => body.size_hint(),
            None => SizeHint::with_exact(0),
        };
        let again: u64 = self.again.chunks.iter().map(|chunk| chunk.len() as u64).sum();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(again));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(again)) {
            hint.set_upper(upper);
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

impl Memory {
    fn remember(&mut self, frame: &Frame<Bytes>) {
        if self.state != MemoryState::Whole {
            return;
        }
        if let Some(data) = frame.data_ref() {
            self.len = self.len.saturating_add(data.len());
            if self.len > self.limit {
                self.lose();
            } else if data.len() >= SMALL {
                self.gather();
                self.remembered.chunks.push_back(data.clone());
            } else {
                self.small.extend_from_slice(data);
            }
        } else if let Some(trailers) = frame.trailers_ref() {
            self.remembered.trailers = Some(trailers.clone());
        }
    }

    fn gather(&mut self) {
        if !self.small.is_empty() {
            self.remembered.chunks.push_back(self.small.split().freeze());
        }
    }

    /// All of it, once.
    fn take(&mut self) -> Option<Remembered> {
        if self.state != MemoryState::Whole {
            return None;
        }
        self.gather();
        self.state = MemoryState::Lost;
        Some(mem::take(&mut self.remembered))
    }

    fn lose(&mut self) {
        self.forget();
        self.state = MemoryState::Lost;
    }

    fn forget(&mut self) {
        if self.state == MemoryState::Whole {
            self.state = MemoryState::Unwanted;
        }
        self.remembered = Remembered::default();
        self.small = BytesMut::new();
    }
}

impl Remembered {
    fn next(&mut self) -> Option<Frame<Bytes>> {
        let data = self.chunks.pop_front().map(Frame::data);
        data.or_else(|| self.trailers.take().map(Frame::trailers))
    }

    fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.trailers.is_none()
    }
}

fn lock<B>(stream: &Mutex<Stream<B>>) -> MutexGuard<'_, Stream<B>> {
    // A body that panics in `poll_frame` leaves the stream as it was before that frame.
    stream.lock().unwrap_or_else(PoisonError::into_inner)
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
