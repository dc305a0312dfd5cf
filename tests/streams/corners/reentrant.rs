//! Bodies, chunks and wakers that drop their own call while they are used.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use tower::BoxError;
use tower_oauth2::replay::{KeptBody, ReplayBody, ReplayableBody};

use crate::support::*;

const LIMIT: usize = 64 * 1024;

/// The method of a [`DropsCall`] that drops the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    PollFrame,
    IsEndStream,
    SizeHint,
    Drop,
    DropChunk,
    ReadChunk,
}

/// Holds a call's share of its body, until a method of the body drops it.
struct Call<B>(Mutex<Option<KeptBody<B>>>);

impl<B> Call<B> {
    fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(None)))
    }

    fn begin(&self, kept: KeptBody<B>) {
        *self.0.lock().unwrap() = Some(kept);
    }

    fn end(&self) {
        let kept = self.0.lock().unwrap().take();
        drop(kept);
    }

    fn has_ended(&self) -> bool {
        self.0.lock().unwrap().is_none()
    }
}

/// A body of two chunks that drops its own call in one of its methods.
struct DropsCall {
    chunks: usize,
    during: Method,
    call: Arc<Call<Self>>,
}

impl DropsCall {
    fn act(&self, method: Method) {
        if self.during == method {
            self.call.end();
        }
    }
}

impl Body for DropsCall {
    type Data = Chunk;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Chunk>, BoxError>>> {
        self.act(Method::PollFrame);
        if self.chunks == 0 {
            return Poll::Ready(None);
        }
        self.chunks -= 1;
        let chunk = Chunk {
            data: Bytes::from_static(b"data"),
            during: self.during,
            call: self.call.clone(),
        };
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.act(Method::IsEndStream);
        false
    }

    fn size_hint(&self) -> SizeHint {
        self.act(Method::SizeHint);
        SizeHint::new()
    }
}

impl Drop for DropsCall {
    fn drop(&mut self) {
        self.act(Method::Drop);
    }
}

struct Chunk {
    data: Bytes,
    during: Method,
    call: Arc<Call<DropsCall>>,
}

impl Buf for Chunk {
    fn remaining(&self) -> usize {
        if self.during == Method::ReadChunk {
            self.call.end();
        }
        self.data.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.data.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.data.advance(count);
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        if self.during == Method::DropChunk {
            self.call.end();
        }
    }
}

// R3: no code of the caller runs under a lock.
#[test]
fn a_body_may_drop_its_own_call_in_every_method() {
    for during in [
        Method::PollFrame,
        Method::IsEndStream,
        Method::SizeHint,
        Method::Drop,
        Method::DropChunk,
        Method::ReadChunk,
    ] {
        let call = Call::new();
        let inner = DropsCall { chunks: 2, during, call: call.clone() };
        let mut body = ReplayBody::new(inner, LIMIT);
        call.begin(body.keep());
        let _ = (body.size_hint(), body.is_end_stream());
        assert_eq!(read(&mut body), b"datadata", "{during:?}");
        assert!(call.has_ended(), "{during:?}");
    }
}

/// Memory whose owner drops a call when it is freed.
struct Owner(Vec<u8>, Arc<Call<Script>>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.1.end();
    }
}

// R3: remembered chunks are freed outside the lock.
#[test]
fn a_chunk_over_the_limit_may_drop_the_call_when_it_is_freed() {
    let call = Call::new();
    let chunk = Bytes::from_owner(Owner(vec![b'x'; COUNTED], call.clone()));
    let mut body = ReplayBody::new(Script::of([chunk, Bytes::from_static(b"y")]), COUNTED);
    call.begin(body.keep());
    assert!(look(&mut body).is_ready());
    assert!(look(&mut body).is_ready(), "this chunk passes the limit");
    assert!(call.has_ended());
}

/// A waker whose last clone drops a call.
struct DropsCallAtTheEnd(Arc<Call<Fed>>);

impl Wake for DropsCallAtTheEnd {
    fn wake(self: Arc<Self>) {}
}

impl Drop for DropsCallAtTheEnd {
    fn drop(&mut self) {
        self.0.end();
    }
}

// R4: wakers are dropped outside the lock.
#[test]
fn a_waker_that_is_replaced_may_drop_the_call() {
    let (feeder, body) = fed();
    let mut body = ReplayBody::new(body, LIMIT);
    let call = Call::new();
    call.begin(body.keep());
    let waker = Waker::from(Arc::new(DropsCallAtTheEnd(call.clone())));
    assert!(Pin::new(&mut body).poll_frame(&mut Context::from_waker(&waker)).is_pending());
    drop(waker);
    // The channel of the body drops its clone as well, whichever is the last.
    assert!(look(&mut body).is_pending());
    assert!(call.has_ended());
    drop(feeder);
}

/// A body that starts the second send of its own request while it is polled.
struct Overtaken {
    script: Script,
    call: Arc<Call<Self>>,
    second: Arc<Mutex<Option<ReplayBody<Self>>>>,
}

impl Body for Overtaken {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.script.left() == 5 {
            if let Some(kept) = self.call.0.lock().unwrap().take() {
                *self.second.lock().unwrap() = ReplayBody::replay(kept);
            }
        }
        Pin::new(&mut self.script).poll_frame(cx)
    }

    fn size_hint(&self) -> SizeHint {
        self.script.size_hint()
    }
}

// R4
#[test]
fn a_frame_during_a_takeover_goes_to_the_second_body() {
    let (call, second) = (Call::new(), Arc::new(Mutex::new(None)));
    let script = Script::of(["one ", "two ", "three"]);
    let inner = Overtaken { script, call: call.clone(), second: second.clone() };
    let mut first = ReplayBody::new(inner, LIMIT);
    call.begin(first.keep());
    assert_eq!(read(&mut first), b"one two ");
    let mut second = second.lock().unwrap().take().unwrap();
    assert_eq!(hint(&second), (13, Some(13)));
    assert!(!second.is_end_stream());
    let kept = second.keep();
    assert_eq!(read(&mut second), b"one two three");
    assert_eq!(read(&mut ReplayBody::replay(kept).unwrap()), b"one two three");
}

/// A body that always has an empty frame, and never an end.
struct EmptyFrames;

impl Body for EmptyFrames {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::new()))))
    }
}

// R3: an HTTP client that reads until it gets data would not let other tasks run.
#[test]
fn a_body_of_empty_frames_lets_other_tasks_run() {
    let mut body = tokio_test::task::spawn(ReplayBody::new(EmptyFrames, LIMIT));
    for _ in 0..3 {
        let frames = (0..1_000).take_while(|_| {
            let frame = body.enter(|cx, body| body.poll_frame(cx));
            frame.is_ready()
        });
        assert!(frames.count() < 100);
        assert!(body.is_woken(), "the task is polled again");
    }
}
