use std::task::Poll;

use http::HeaderMap;
use tower_oauth2::replay::{ReplayBody, ReplayableBody};

use crate::support::*;

const LIMIT: usize = 64 * 1024;

fn trailers(value: &'static str) -> Step {
    Step::Trailers(HeaderMap::from_iter([("x-sum".parse().unwrap(), value.parse().unwrap())]))
}

/// Returns the data of a replay after the body has been read to its end.
fn again(script: Script, limit: usize) -> Option<Vec<u8>> {
    let mut first = ReplayBody::new(script, limit);
    let kept = first.keep();
    while let Poll::Ready(Some(Ok(_))) = look(&mut first) {}
    ReplayBody::replay(kept).map(|mut second| read(&mut second))
}

// R3
#[test]
fn a_limit_of_zero_allows_replays_of_empty_bodies_only() {
    assert_eq!(again(Script::of([""]), 0), Some(vec![]));
    assert_eq!(again(Script::new([]), 0), Some(vec![]));
    assert_eq!(again(Script::new([trailers("1")]), 0), Some(vec![]));
    assert_eq!(again(Script::of(["x"]), 0), None);
    assert_eq!(again(Script::of(["", "x"]), 0), None);
}

// R3
#[test]
fn the_limit_itself_is_within_the_limit() {
    for sizes in [&[20_000][..], &[10_000, 10_000], &[1, 19_999], &[1, COUNTED, 1, 11_806]] {
        let chunks = || sizes.iter().map(|size| vec![b'x'; *size]);
        let whole = chunks().collect::<Vec<_>>().concat();
        assert_eq!(again(Script::of(chunks()), 20_000), Some(whole), "{sizes:?}");
        let more = chunks().chain([vec![b'x']]);
        assert_eq!(again(Script::of(more), 20_000), None, "{sizes:?} and one more");
    }
}

// R3
#[test]
fn order_is_kept_where_small_and_large_frames_alternate() {
    let sizes = [1, COUNTED - 1, COUNTED, 1, COUNTED + 1, 2, 3, 20_000, 0, 254, COUNTED, 7];
    let chunks: Vec<_> = (0..).zip(sizes).map(|(n, size)| vec![n; size]).collect();
    assert_eq!(again(Script::of(chunks.clone()), LIMIT), Some(chunks.concat()));
}

// R3
#[test]
fn a_body_that_is_kept_too_late_is_not_replayed() {
    let mut body = ReplayBody::new(Script::of(["one ", "two"]), LIMIT);
    assert!(look(&mut body).is_ready());
    let kept = body.keep();
    assert_eq!(read(&mut body), b"two", "the body itself goes on");
    assert!(ReplayBody::replay(kept).is_none());
}

// R3
#[test]
fn a_body_that_is_kept_after_its_end_is_not_replayed() {
    let mut body = ReplayBody::new(Script::of(["one"]), LIMIT);
    read(&mut body);
    assert!(ReplayBody::replay(body.keep()).is_none());
}

// R3
#[test]
fn a_second_body_is_kept_only_if_keep_is_called_first() {
    let mut first = ReplayBody::new(Script::of(["one ", "two ", "three"]), LIMIT);
    let kept = first.keep();
    assert!(look(&mut first).is_ready());
    let mut second = ReplayBody::replay(kept).unwrap();
    let kept = second.keep();
    assert!(look(&mut second).is_ready());
    assert!(look(&mut second).is_ready());
    let mut third = ReplayBody::replay(kept).unwrap();
    assert_eq!(read(&mut third), b"one two three");
    assert!(ReplayBody::replay(third.keep()).is_none());
}

// R3
#[test]
fn replayed_data_of_a_second_body_counts_towards_the_limit() {
    let first = ReplayBody::new(Script::of(["12345", "67890"]), 8);
    drop(first.keep());
    let mut first = first;
    let kept = first.keep();
    assert!(look(&mut first).is_ready());
    let mut second = ReplayBody::replay(kept).unwrap();
    let kept = second.keep();
    assert_eq!(read(&mut second), b"1234567890");
    assert!(ReplayBody::replay(kept).is_none());
}

// R3
#[test]
fn a_body_released_before_it_began_can_be_kept_again() {
    let mut first = ReplayBody::new(Script::of(["one"]), LIMIT);
    drop(first.keep());
    let kept = first.keep();
    assert_eq!(read(&mut first), b"one");
    assert_eq!(read(&mut ReplayBody::replay(kept).unwrap()), b"one");
}

// R3
#[test]
fn a_body_released_while_it_is_sent_is_not_replayed() {
    let mut first = ReplayBody::new(Script::of(["one ", "two"]), LIMIT);
    let let_go = first.keep();
    assert!(look(&mut first).is_ready());
    drop(let_go);
    let kept = first.keep();
    assert_eq!(read(&mut first), b"two");
    assert!(ReplayBody::replay(kept).is_none());
}

// R3
#[test]
fn a_body_that_is_kept_twice_is_replayed_once() {
    // Two layers may each keep the body, one for the API and one for a proxy.
    let mut first = ReplayBody::new(Script::of(["one ", "two"]), LIMIT);
    let outer = first.keep();
    let inner = first.keep();
    assert!(look(&mut first).is_ready());
    drop(inner);
    let mut second = ReplayBody::replay(outer).expect("the outer copy is still kept");
    assert_eq!(read(&mut second), b"one two");

    let mut first = ReplayBody::new(Script::of(["one ", "two"]), LIMIT);
    let outer = first.keep();
    let inner = first.keep();
    assert!(look(&mut first).is_ready());
    let mut second = ReplayBody::replay(inner).unwrap();
    assert!(ReplayBody::replay(outer).is_none());
    assert_eq!(read(&mut second), b"one two");
}

// R3
#[test]
fn frames_after_trailers_are_not_replayed_in_another_order() {
    // A correct body does not do this.
    let data = || Step::Data("x".into());
    assert_eq!(again(Script::new([data(), trailers("1"), data()]), LIMIT), None);
    assert_eq!(again(Script::new([data(), trailers("1"), trailers("2")]), LIMIT), None);
}

// R3
#[test]
fn a_replayed_body_has_the_same_frames() {
    // A size hint that the first body did not have would leave no room for trailers in HTTP/1.1.
    let steps = || [Step::Data("x".into()), trailers("1")];
    for (says, expected) in
        [(Hint::Exact, (1, Some(1))), (Hint::Unknown, (0, None)), (Hint::Loose(1, 2), (0, Some(3)))]
    {
        for looks in 0..4 {
            let mut first = ReplayBody::new(Script::new(steps()).saying(says, false), LIMIT);
            let kept = first.keep();
            for _ in 0..looks {
                assert!(look(&mut first).is_ready());
            }
            let second = ReplayBody::replay(kept).unwrap();
            assert_eq!(hint(&second), expected, "{says:?} after {looks}");
        }
    }
}

// R3
#[test]
fn keeping_an_outdated_body_does_not_affect_its_successor() {
    let first = ReplayBody::new(Script::of(["one ", "two"]), LIMIT);
    let second = ReplayBody::replay(first.keep()).unwrap();
    let too_late = first.keep();
    let kept = second.keep();
    assert!(ReplayBody::replay(too_late).is_none());
    let mut third = ReplayBody::replay(kept).unwrap();
    assert_eq!(read(&mut third), b"one two");
}
