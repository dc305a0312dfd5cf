use std::task::Poll;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;
use tokio::runtime::Builder;
use tokio::time::timeout;
use tokio_test::task;
use tower_oauth2::replay::{ReplayBody, ReplayableBody};

use crate::support::*;

const LIMIT: usize = 64 * 1024;

/// The limit of a wait, which is not a measurement.
const MAX_WAIT: Duration = Duration::from_secs(60);

fn is_error<T, E>(poll: &Poll<Option<Result<T, E>>>) -> bool {
    matches!(poll, Poll::Ready(Some(Err(_))))
}

// R4
#[test]
fn a_waiting_first_body_is_woken_by_a_takeover_and_fails() {
    let (feeder, body) = fed();
    let mut first = task::spawn(ReplayBody::new(body, LIMIT));
    let kept = first.keep();
    feeder.data("one ");
    assert!(first.enter(|cx, body| body.poll_frame(cx)).is_ready());
    assert!(first.enter(|cx, body| body.poll_frame(cx)).is_pending());
    assert!(!first.is_woken());

    let second = ReplayBody::replay(kept).unwrap();
    assert!(first.is_woken(), "the first body would wait forever");
    let frame = first.enter(|cx, body| body.poll_frame(cx));
    let Poll::Ready(Some(Err(error))) = frame else { panic!("not an error: {frame:?}") };
    assert_eq!(error.to_string(), "the request is sent again, with the rest of this body");
    drop((second, feeder));
}

// R4
#[test]
fn the_second_body_is_woken_by_the_rest() {
    let (feeder, body) = fed();
    let mut first = task::spawn(ReplayBody::new(body, LIMIT));
    let kept = first.keep();
    feeder.data("one ");
    assert!(first.enter(|cx, body| body.poll_frame(cx)).is_ready());
    assert!(first.enter(|cx, body| body.poll_frame(cx)).is_pending());

    let mut second = task::spawn(ReplayBody::replay(kept).unwrap());
    let mut seen = Vec::new();
    let mut look_at_second = |second: &mut task::Spawn<ReplayBody<Fed>>| {
        let frame = second.enter(|cx, body| body.poll_frame(cx));
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            seen.extend_from_slice(frame.data_ref().unwrap());
        }
        (frame.is_ready(), String::from_utf8(seen.clone()).unwrap())
    };
    assert_eq!(look_at_second(&mut second), (true, "one ".to_owned()));
    assert_eq!(look_at_second(&mut second), (false, "one ".to_owned()));
    // Polls of the first body do not change which task is woken.
    assert!(is_error(&first.enter(|cx, body| body.poll_frame(cx))));
    feeder.data("two");
    assert!(second.is_woken());
    assert_eq!(look_at_second(&mut second), (true, "one two".to_owned()));
    assert_eq!(look_at_second(&mut second), (false, "one two".to_owned()));
    drop(feeder);
    assert!(second.is_woken());
    assert_eq!(look_at_second(&mut second), (true, "one two".to_owned()));
}

// R4
#[test]
fn a_first_body_yields_no_data_and_no_end_after_a_takeover() {
    let mut first = ReplayBody::new(Script::of(["one ", "two ", "three"]), LIMIT);
    let kept = first.keep();
    assert!(look(&mut first).is_ready());
    let mut second = ReplayBody::replay(kept).unwrap();
    for _ in 0..3 {
        assert!(is_error(&look(&mut first)));
        assert!(look(&mut second).is_ready());
    }
    // All data was sent, but the first body must not look complete.
    assert!(matches!(look(&mut second), Poll::Ready(None)));
    assert!(is_error(&look(&mut first)));
    assert!(!first.is_end_stream());
    drop(second);
    assert!(is_error(&look(&mut first)));
}

// R3, R4
#[test]
fn an_unread_first_body_does_not_look_empty_after_a_takeover() {
    // A client that had it in a queue would send it as such, and never ask for the error.
    let first = ReplayBody::new(Script::of(["one"]), LIMIT);
    let mut second = ReplayBody::replay(first.keep()).unwrap();
    assert_eq!(hint(&second), (3, Some(3)));
    assert_eq!(read(&mut second), b"one");
    assert!(matches!(look(&mut second), Poll::Ready(None)));
    assert!(!first.is_end_stream());
    assert_eq!(hint(&first), (0, None));
}

// R4
#[test]
fn a_first_body_cannot_be_kept_again_after_a_takeover() {
    let first = ReplayBody::new(Script::of(["one"]), LIMIT);
    let mut second = ReplayBody::replay(first.keep()).unwrap();
    let kept = first.keep();
    assert_eq!(read(&mut second), b"one");
    assert!(ReplayBody::replay(kept).is_none());
}

// R3, R4
#[test]
fn a_takeover_by_another_thread_neither_doubles_nor_cuts_data() {
    let whole: Vec<_> = (0..200_u8).collect();
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    for round in 0..300 {
        let script = whole.chunks(1 + round % 7).map(<[u8]>::to_vec);
        let mut first = ReplayBody::new(Script::of(script), LIMIT);
        let kept = first.keep();
        let (data, ended) = thread::scope(|scope| {
            let reader = scope.spawn(move || {
                let mut data = Vec::new();
                loop {
                    match look(&mut first) {
                        Poll::Ready(Some(Ok(frame))) => {
                            data.extend_from_slice(frame.data_ref().unwrap());
                        }
                        Poll::Ready(end) => return (data, end.is_none()),
                        Poll::Pending => {}
                    }
                }
            });
            // Waits while the other thread polls the inner body.
            let second = ReplayBody::replay(kept).unwrap().collect();
            let second = runtime.block_on(async { timeout(MAX_WAIT, second).await });
            assert_eq!(second.expect("the second body is woken").unwrap().to_bytes(), whole);
            reader.join().unwrap()
        });
        assert!(whole.starts_with(&data));
        assert!(!ended || data == whole, "an end where there is none");
    }
}

// R3
#[test]
fn the_second_body_is_not_copied_where_it_can_be_counted() {
    let chunk = Bytes::from(vec![b'x'; COUNTED]);
    let mut first = ReplayBody::new(Script::of([chunk.clone()]), LIMIT);
    let kept = first.keep();
    let sent = [look(&mut first), look(&mut ReplayBody::replay(kept).unwrap())];
    for frame in sent {
        let Poll::Ready(Some(Ok(frame))) = frame else { panic!("no data: {frame:?}") };
        assert_eq!(frame.into_data().unwrap().as_ptr(), chunk.as_ptr());
    }
}
