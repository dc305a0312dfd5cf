use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use tower::BoxError;
use tower_oauth2::replay::{ReplayBody, ReplayableBody};

use crate::support::*;

/// A body that panics instead of its second frame, and has a third one.
struct Panicking(Script, usize);

impl Body for Panicking {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.1 += 1;
        let frame = Pin::new(&mut self.0).poll_frame(cx);
        assert_ne!(self.1, 2, "lost a frame");
        frame
    }
}

fn panics(body: &mut ReplayBody<Panicking>) -> bool {
    catch_unwind(AssertUnwindSafe(|| look(body))).is_err()
}

// R3, R4
#[test]
fn a_body_that_has_panicked_is_not_replayed_incompletely() {
    let mut first = ReplayBody::new(Panicking(Script::of(["one ", "two ", "three"]), 0), 1000);
    let kept = first.keep();
    assert!(look(&mut first).is_ready());
    assert!(panics(&mut first));
    assert!(ReplayBody::replay(kept).is_none());
}

// R4
#[test]
fn a_panic_in_a_second_body_leaves_no_lock_held() {
    let mut first = ReplayBody::new(Panicking(Script::of(["one ", "two ", "three"]), 0), 1000);
    let kept = first.keep();
    assert!(look(&mut first).is_ready());
    let mut second = ReplayBody::replay(kept).unwrap();
    assert!(matches!(look(&mut second), Poll::Ready(Some(Ok(_)))));
    assert!(panics(&mut second));
    assert!(matches!(look(&mut first), Poll::Ready(Some(Err(_)))));
    assert!(!first.is_end_stream() && !second.is_end_stream());
    assert_eq!(read(&mut second), b"three", "the same data as the inner body");
    drop((first, second));
}
