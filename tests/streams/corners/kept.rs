use std::task::Poll;

use http::HeaderMap;
use tower_oauth2::replay::{ReplayBody, ReplayableBody};

use crate::support::*;

const LIMIT: usize = 64 * 1024;

fn trailers(value: &'static str) -> Step {
    Step::Trailers(HeaderMap::from_iter([("x-sum".parse().unwrap(), value.parse().unwrap())]))
}

/// What is sent again after the body has been read to its end.
fn again(script: Script, limit: usize) -> Option<Vec<u8>> {
    let mut first = ReplayBody::new(script, limit);
    let kept = first.keep();
    while let Poll::Ready(Some(Ok(_))) = look(&mut first) {}
    ReplayBody::replay(kept).map(|mut second| read(&mut second))
}

// R3
#[test]
fn a_limit_of_nothing_lets_bodies_without_data_be_sent_again_and_no_others() {
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
fn a_body_that_is_kept_after_it_has_begun_is_not_sent_again() {
    let mut body = ReplayBody::new(Script::of(["one ", "two"]), LIMIT);
    assert!(look(&mut body).is_ready());
    let kept = body.keep();
    assert_eq!(read(&mut body), b"two", "the body itself goes on");
    assert!(ReplayBody::replay(kept).is_none());
}

// R3
#[test]
fn a_body_that_has_ended_before_it_was_kept_is_not_sent_again_empty() {
    let mut body = ReplayBody::new(Script::of(["one"]), LIMIT);
    read(&mut body);
    assert!(ReplayBody::replay(body.keep()).is_none());
}

// R3
#[test]
fn a_second_body_is_kept_only_if_that_is_asked_for_before_it_begins() {
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
fn what_a_second_body_sends_again_counts_towards_the_limit() {
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
fn a_body_that_was_kept_and_let_go_before_it_began_can_be_kept_again() {
    let mut first = ReplayBody::new(Script::of(["one"]), LIMIT);
    drop(first.keep());
    let kept = first.keep();
    assert_eq!(read(&mut first), b"one");
    assert_eq!(read(&mut ReplayBody::replay(kept).unwrap()), b"one");
}

// R3
#[test]
fn a_body_that_was_let_go_while_it_went_out_is_not_sent_again_in_part() {
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
fn a_body_that_two_keep_is_sent_again_by_one() {
    // Such as two layers, one for the API and one for a proxy before it.
    let mut first = ReplayBody::new(Script::of(["one ", "two"]), LIMIT);
    let outer = first.keep();
    let inner = first.keep();
    assert!(look(&mut first).is_ready());
    drop(inner);
    let mut second = ReplayBody::replay(outer).expect("it is still kept");
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
fn what_comes_after_trailers_is_not_sent_again_in_another_order() {
    // No body does so that keeps to the rules.
    let data = || Step::Data("x".into());
    assert_eq!(again(Script::new([data(), trailers("1"), data()]), LIMIT), None);
    assert_eq!(again(Script::new([data(), trailers("1"), trailers("2")]), LIMIT), None);
}

// R3
#[test]
fn what_is_sent_again_is_framed_as_it_was_at_first() {
    // With a size that it did not have before, HTTP/1.1 would have no room for its trailers.
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
fn to_keep_a_body_whose_turn_is_over_costs_the_one_that_follows_nothing() {
    let first = ReplayBody::new(Script::of(["one ", "two"]), LIMIT);
    let second = ReplayBody::replay(first.keep()).unwrap();
    let too_late = first.keep();
    let kept = second.keep();
    assert!(ReplayBody::replay(too_late).is_none());
    let mut third = ReplayBody::replay(kept).unwrap();
    assert_eq!(read(&mut third), b"one two");
}
