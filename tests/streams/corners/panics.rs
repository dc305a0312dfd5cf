use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use tower::BoxError;
use tower_oauth2::replay::{ReplayBody, ReplayableBody};

use crate::support::*;

/// Loses its second frame in a panic, and would go on with the third.
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
fn a_body_that_has_panicked_is_not_sent_again_without_what_it_lost() {
    let mut first = ReplayBody::new(Panicking(Script::of(["one ", "two ", "three"]), 0), 1000);
    let kept = first.keep();
    assert!(look(&mut first).is_ready());
    assert!(panics(&mut first));
    assert!(ReplayBody::replay(kept).is_none());
}

// R4
#[test]
fn a_second_body_that_panics_does_so_with_the_body_within_and_no_lock_is_stuck() {
    let mut first = ReplayBody::new(Panicking(Script::of(["one ", "two ", "three"]), 0), 1000);
    let kept = first.keep();
    assert!(look(&mut first).is_ready());
    let mut second = ReplayBody::replay(kept).unwrap();
    assert!(matches!(look(&mut second), Poll::Ready(Some(Ok(_)))));
    assert!(panics(&mut second));
    assert!(matches!(look(&mut first), Poll::Ready(Some(Err(_)))));
    assert!(!first.is_end_stream() && !second.is_end_stream());
    assert_eq!(read(&mut second), b"three", "as the body within");
    drop((first, second));
}
