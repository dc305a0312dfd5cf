//! Request bodies that follow a script, are fed by the test, or count their memory.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::buf::Chain;
use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tower::BoxError;

/// The result of one poll of a body.
#[derive(Clone, Debug)]
pub enum Step {
    /// Pending, with an immediate wake-up.
    Pending,
    Data(Bytes),
    Trailers(HeaderMap),
    Error,
}

/// The size hint of a body.
#[derive(Clone, Copy, Debug)]
pub enum Hint {
    Exact,
    Unknown,
    /// A lower bound that is too low, and an upper bound that is too high.
    Loose(u64, u64),
}

/// A body that follows a script.
#[derive(Clone, Debug)]
pub struct Script {
    steps: VecDeque<Step>,
    hint: Hint,
    /// Returns `true` from `is_end_stream` at its end.
    knows_its_end: bool,
}

impl Script {
    pub fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: steps.into_iter().collect(), hint: Hint::Exact, knows_its_end: true }
    }

    /// Creates a script of data only.
    pub fn of<D: Into<Bytes>>(data: impl IntoIterator<Item = D>) -> Self {
        Self::new(data.into_iter().map(|data| Step::Data(data.into())))
    }

    pub fn saying(mut self, hint: Hint, knows_its_end: bool) -> Self {
        self.hint = hint;
        self.knows_its_end = knows_its_end;
        self
    }

    /// Returns the number of bytes that are left.
    pub fn left(&self) -> u64 {
        let data = self.steps.iter().map(|step| match step {
            Step::Data(data) => data.len() as u64,
            _ => 0,
        });
        data.sum()
    }

    /// Returns the size hint after this much more data.
    pub fn hint_after(&self, sent: u64) -> SizeHint {
        let left = self.left() - sent;
        let mut hint = SizeHint::new();
        match self.hint {
            Hint::Exact => hint.set_exact(left),
            Hint::Unknown => {}
            Hint::Loose(below, above) => {
                hint.set_lower(left.saturating_sub(below));
                hint.set_upper(left + above);
            }
        }
        hint
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(match self.steps.pop_front() {
            Some(Step::Pending) => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Some(Step::Data(data)) => Some(Ok(Frame::data(data))),
            Some(Step::Trailers(trailers)) => Some(Ok(Frame::trailers(trailers))),
            Some(Step::Error) => Some(Err(Broken.into())),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.knows_its_end && self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.hint_after(0)
    }
}

#[derive(Debug)]
pub struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body broke off")
    }
}

impl std::error::Error for Broken {}

/// A script whose chunks have two parts each.
#[derive(Clone, Debug)]
pub struct Splitting {
    pub script: Script,
    /// The position of the split, if the chunk is long enough.
    pub at: usize,
}

impl Body for Splitting {
    type Data = Chain<Bytes, Bytes>;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, BoxError>>> {
        let at = self.at;
        let frame = Pin::new(&mut self.script).poll_frame(cx);
        frame.map_ok(|frame| {
            frame.map_data(|mut data| {
                let first = data.split_to(at.min(data.len()));
                first.chain(data)
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.script.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.script.size_hint()
    }
}

/// Returns the size hint of a body in a comparable form.
pub fn hint(body: &impl Body) -> (u64, Option<u64>) {
    let hint = body.size_hint();
    (hint.lower(), hint.upper())
}

/// A body that is fed while it is read. It ends when the feeder is dropped.
pub struct Fed {
    frames: UnboundedReceiver<Frame<Bytes>>,
    looks: Arc<AtomicUsize>,
}

/// Feeds a body.
pub struct Feeder {
    frames: UnboundedSender<Frame<Bytes>>,
    looks: Arc<AtomicUsize>,
}

pub fn fed() -> (Feeder, Fed) {
    let (sender, receiver) = unbounded_channel();
    let looks = Arc::<AtomicUsize>::default();
    (Feeder { frames: sender, looks: looks.clone() }, Fed { frames: receiver, looks })
}

impl Feeder {
    pub fn data(&self, data: impl Into<Bytes>) {
        self.frames.send(Frame::data(data.into())).expect("the body is there");
    }

    /// Returns the number of polls of the body.
    pub fn looks(&self) -> usize {
        self.looks.load(Ordering::Relaxed)
    }
}

impl Body for Fed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        self.frames.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}

/// Creates pieces of memory, and counts those that exist.
#[derive(Clone, Default)]
pub struct Pieces(Arc<AtomicUsize>);

struct Piece {
    data: Vec<u8>,
    all: Arc<AtomicUsize>,
}

impl Pieces {
    pub fn of(&self, len: usize) -> Bytes {
        self.0.fetch_add(1, Ordering::Relaxed);
        Bytes::from_owner(Piece { data: vec![b'x'; len], all: self.0.clone() })
    }

    /// Returns the number of pieces that have not been freed.
    pub fn alive(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Ordering::Relaxed);
    }
}
