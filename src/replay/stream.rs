//! Shares one stream between the bodies of a request.
//!
//! No code of the inner body, of its data or of a waker runs under the lock: each may drop the call
//! that the body belongs to, and that locks the stream again.

use std::fmt;
use std::mem;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use tower::BoxError;

use super::memory::Memory;
use crate::util::sync::LockExt;

/// The number of a body among those that share a stream. The last one owns the stream.
pub(super) type BodyNumber = u32;

type FrameResult = Result<Frame<Bytes>, BoxError>;

/// An inner body and its memory, behind a lock.
pub(super) struct SharedStream<B>(Mutex<Stream<B>>);

pub(super) struct Stream<B> {
    source: Source<B>,
    pub(super) has_begun: bool,
    /// The size hint of the inner body before its first frame.
    pub(super) size: SizeHint,
    pub(super) owner: BodyNumber,
    /// Wakes the owner, for a takeover or because the inner body is free again.
    pub(super) reader: Option<Waker>,
    /// The reader waits until the inner body is free.
    wants_source: bool,
    /// A frame that arrived for a body that had lost the stream. The owner sends it first.
    pub(super) handed_over: Option<FrameResult>,
    pub(super) memory: Memory,
}

/// The inner body.
enum Source<B> {
    Idle(Pin<Box<B>>),
    /// A thread polls or queries the body.
    InUse,
    /// The body has ended or failed, and was dropped.
    Ended,
}

/// The result of a query to the inner body.
pub(super) enum QueryResult<T> {
    Answered(T),
    Ended,
    /// Another thread polls the body.
    InUse,
}

impl<B> SharedStream<B> {
    pub(super) fn new(body: B, limit: usize) -> Self {
        Self(Mutex::new(Stream {
            source: Source::Idle(Box::pin(body)),
            has_begun: false,
            size: SizeHint::new(),
            owner: 0,
            reader: None,
            wants_source: false,
            handed_over: None,
            memory: Memory::new(limit),
        }))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Stream<B>> {
        // No foreign code runs under the lock, so a panic cannot leave the stream half changed.
        self.0.lock_unpoisoned()
    }

    /// Queries the inner body without the lock.
    pub(super) fn query<T>(
        &self,
        number: BodyNumber,
        question: impl FnOnce(&B) -> T,
    ) -> QueryResult<T> {
        let taken = self.lock().source.take();
        match taken {
            Source::Idle(body) => {
                let borrowed = Borrowed { stream: self, number, body: Some(body) };
                let answer = borrowed.body.as_deref().map(question);
                borrowed.give_back();
                answer.map_or(QueryResult::Ended, QueryResult::Answered)
            }
            Source::InUse => QueryResult::InUse,
            Source::Ended => QueryResult::Ended,
        }
    }

    /// Registers the reader of a body that another thread uses.
    fn wait_for_source(&self, waker: Waker) {
        let mut stream = self.lock();
        if !matches!(stream.source, Source::InUse) {
            // The other thread has given the body back in the meantime.
            drop(stream);
            waker.wake();
            return;
        }
        stream.wants_source = true;
        let displaced = stream.reader.replace(waker);
        drop(stream);
        drop(displaced);
    }
}

impl<B> SharedStream<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    /// Polls the next frame for the body with this number.
    pub(super) fn poll_frame(
        &self,
        number: BodyNumber,
        cx: &mut Context<'_>,
    ) -> Poll<Option<FrameResult>> {
        let mut stream = self.lock();
        if stream.owner != number {
            return Poll::Ready(Some(Err(TakenOver.into())));
        }
        if let Some(frame) = stream.handed_over.take() {
            let displaced = stream.memory.remember(&frame);
            drop(stream);
            drop(displaced);
            return Poll::Ready(Some(frame));
        }
        let (taken, has_begun) = (stream.source.take(), stream.has_begun);
        drop(stream);
        let body = match taken {
            Source::Idle(body) => body,
            Source::Ended => return Poll::Ready(None),
            Source::InUse => {
                self.wait_for_source(cx.waker().clone());
                return Poll::Pending;
            }
        };
        let mut borrowed = Borrowed { stream: self, number, body: Some(body) };
        let Some(body) = &mut borrowed.body else {
            return Poll::Ready(None);
        };
        if !has_begun {
            let size = body.size_hint();
            self.lock().size = size;
        }
        let polled = body.as_mut().poll_frame(cx);
        match polled {
            Poll::Pending => borrowed.give_back_pending(cx.waker().clone()),
            Poll::Ready(Some(Ok(frame))) => {
                let frame = frame.map_data(|mut data| data.copy_to_bytes(data.remaining()));
                borrowed.give_back_ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => borrowed.give_back_ready(Some(Err(error.into()))),
            Poll::Ready(None) => borrowed.give_back_ready(None),
        }
    }
}

impl<B> Source<B> {
    /// Takes an idle body, and marks it as in use.
    fn take(&mut self) -> Self {
        match self {
            Self::Idle(_) => mem::replace(self, Self::InUse),
            Self::InUse => Self::InUse,
            Self::Ended => Self::Ended,
        }
    }
}

/// An inner body that is in use outside of its stream.
///
/// It must be given back.
struct Borrowed<'a, B> {
    stream: &'a SharedStream<B>,
    /// The number of the body that borrows it.
    number: BodyNumber,
    /// `None` once it was given back.
    body: Option<Pin<Box<B>>>,
}

impl<B> Borrowed<'_, B> {
    /// Gives the inner body back unpolled.
    fn give_back(mut self) {
        let mut stream = self.stream.lock();
        stream.source = self.body.take().map_or(Source::Ended, Source::Idle);
        let reader = stream.take_waiting_reader();
        drop(stream);
        wake(reader);
    }

    /// Gives the inner body back after it was not ready. It wakes `waker`.
    fn give_back_pending(mut self, waker: Waker) -> Poll<Option<FrameResult>> {
        let mut stream = self.stream.lock();
        stream.source = self.body.take().map_or(Source::Ended, Source::Idle);
        if stream.owner == self.number {
            let displaced = stream.reader.replace(waker);
            drop(stream);
            drop(displaced);
            return Poll::Pending;
        }
        // Another body has taken over, and polls the inner body with its own waker.
        let reader = stream.take_waiting_reader();
        drop(stream);
        wake(reader);
        Poll::Ready(Some(Err(TakenOver.into())))
    }

    /// Gives the inner body back after a frame, or drops it after its end.
    fn give_back_ready(mut self, frame: Option<FrameResult>) -> Poll<Option<FrameResult>> {
        let has_ended = !matches!(frame, Some(Ok(_)));
        let mut ended = None;
        let mut body = self.body.take();
        let mut stream = self.stream.lock();
        stream.has_begun = true;
        if has_ended {
            stream.source = Source::Ended;
            ended = body.take();
        } else {
            stream.source = body.take().map_or(Source::Ended, Source::Idle);
        }
        if stream.owner == self.number {
            let displaced = frame.as_ref().map(|frame| stream.memory.remember(frame));
            drop(stream);
            drop((displaced, ended));
            return Poll::Ready(frame);
        }
        // Another body has taken over, and its first frames do not include this one.
        stream.handed_over = frame;
        let reader = stream.take_waiting_reader();
        drop(stream);
        drop(ended);
        wake(reader);
        Poll::Ready(Some(Err(TakenOver.into())))
    }
}

impl<B> Drop for Borrowed<'_, B> {
    /// Gives the inner body back after a panic. It may have lost a frame.
    fn drop(&mut self) {
        let Some(body) = self.body.take() else {
            return;
        };
        let mut stream = self.stream.lock();
        stream.source = Source::Idle(body);
        let forgotten = stream.memory.invalidate();
        if stream.owner != self.number {
            stream.handed_over = Some(Err(Panicked.into()));
        }
        let reader = stream.take_waiting_reader();
        drop(stream);
        drop(forgotten);
        wake(reader);
    }
}

impl<B> Stream<B> {
    /// Takes the waker of a reader that waits until the inner body is free.
    fn take_waiting_reader(&mut self) -> Option<Waker> {
        if mem::take(&mut self.wants_source) { self.reader.take() } else { None }
    }
}

fn wake(reader: Option<Waker>) {
    if let Some(reader) = reader {
        reader.wake();
    }
}

/// Ends the first body after the second has taken over the stream.
#[derive(Debug)]
struct TakenOver;

impl fmt::Display for TakenOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request is sent again, with the rest of this body")
    }
}

impl std::error::Error for TakenOver {}

/// Ends the second body if the inner body panicked while the first one polled it.
#[derive(Debug)]
struct Panicked;

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request body panicked and may have lost data")
    }
}

impl std::error::Error for Panicked {}
