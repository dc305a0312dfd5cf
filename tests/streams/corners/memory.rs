use std::sync::{Arc, Mutex};

use allocation_counter::measure;
use bytes::Bytes;
use tower::{Layer, ServiceExt};
use tower_oauth2::replay::{ReplayBody, ReplayPolicy, ReplayableBody, ReplayableLayer};
use tower_oauth2::{NoToken, OAuth2Layer, Origins, Tokens};

use crate::support::*;

const LIMIT: usize = 64 * 1024;

/// Returns a body of pieces of these sizes, which are created when it is read.
fn body(pieces: &Pieces, sizes: &[usize]) -> Script {
    Script::of(sizes.iter().map(|size| pieces.of(*size)).collect::<Vec<_>>())
}

/// The bodies that a connection holds after the response.
type Held = Arc<Mutex<Vec<ReplayBody<Script>>>>;

/// Returns an API that polls each body this many times, holds it, and answers.
///
/// It records the number of pieces at the time of the answer.
fn api(
    looks: usize,
    pieces: &Pieces,
    held: &Held,
    counts: &Arc<Mutex<Vec<usize>>>,
) -> Api<ReplayBody<Script>, ()> {
    let (pieces, held, counts) = (pieces.clone(), held.clone(), counts.clone());
    Api::serving(move |_, request| {
        let mut body = request.into_body();
        for _ in 0..looks {
            drop(look(&mut body));
        }
        counts.lock().unwrap().push(pieces.alive());
        held.lock().unwrap().push(body);
        async { status(200) }
    })
}

/// Sends five pieces, two of them before the answer.
///
/// Returns the number of pieces at the time of the answer, and after it.
async fn pieces_before_and_after(layer: OAuth2Layer, without_token: bool) -> (usize, usize) {
    let pieces = Pieces::default();
    let (held, counts) = (Held::default(), Arc::default());
    let service = ReplayableLayer::new().layer(layer.layer(api(2, &pieces, &held, &counts)));
    let mut request = put(body(&pieces, &[COUNTED; 5]));
    if without_token {
        request.extensions_mut().insert(NoToken);
    }
    service.oneshot(request).await.unwrap();
    let after = pieces.alive();
    let mut held = held.lock().unwrap().pop().unwrap();
    assert_eq!(read(&mut held).len(), 3 * COUNTED);
    assert_eq!(pieces.alive(), 0, "nothing more is kept once the answer is there");
    let before = counts.lock().unwrap()[0];
    (before, after)
}

// R3
#[tokio::test(start_paused = true)]
async fn kept_data_is_freed_after_an_accepted_response() {
    let layer = warm_layer(&ScriptedSource::tokens(hour)).await;
    assert_eq!(pieces_before_and_after(layer, false).await, (5, 3));
}

// R7, X2
#[tokio::test(start_paused = true)]
async fn nothing_is_kept_of_a_request_that_cannot_be_replayed() {
    let source = ScriptedSource::tokens(hour);
    let never = warm_layer(&source).await.replay_policy(ReplayPolicy::never());
    assert_eq!(pieces_before_and_after(never, false).await, (3, 3), "policy never");
    let any = warm_layer(&source).await;
    assert_eq!(pieces_before_and_after(any, true).await, (3, 3), "NoToken");
    let tokens = Tokens::new(credentials(), source);
    tokens.warm().await.unwrap();
    let other = Origins::only(["https://other.test"]).unwrap();
    let elsewhere = OAuth2Layer::new(tokens, other);
    assert_eq!(pieces_before_and_after(elsewhere, false).await, (3, 3), "a foreign origin");
}

// R3, R7
#[tokio::test(start_paused = true)]
async fn policy_never_keeps_nothing_after_a_miss() {
    let layer = cold_layer(&ScriptedSource::tokens(hour)).replay_policy(ReplayPolicy::never());
    assert_eq!(pieces_before_and_after(layer, false).await, (3, 3));
}

// R3
#[test]
fn a_body_that_is_not_kept_uses_no_memory() {
    let pieces = Pieces::default();
    let mut body = ReplayBody::new(body(&pieces, &[COUNTED; 5]), LIMIT);
    for left in [4, 3, 2, 1, 0] {
        drop(look(&mut body));
        assert_eq!(pieces.alive(), left);
    }
}

// R3
#[test]
fn kept_data_is_freed_when_the_limit_is_exceeded() {
    let pieces = Pieces::default();
    let mut first = ReplayBody::new(body(&pieces, &[COUNTED, COUNTED, 0, 1, COUNTED]), 2 * COUNTED);
    let kept = first.keep();
    for alive in [5, 5, 4, 1, 0] {
        drop(look(&mut first));
        assert_eq!(pieces.alive(), alive);
    }
    assert!(ReplayBody::replay(kept).is_none());
}

// R3
#[test]
fn small_pieces_are_freed_beyond_the_limit_too() {
    let mut first = ReplayBody::new(Script::of(vec![&b"x"[..]; 2001]), 2000);
    let kept = first.keep();
    let filled = measure(|| (0..2000).for_each(|_| drop(look(&mut first))));
    assert!(filled.bytes_current >= 2000);
    let freed = measure(|| drop(look(&mut first)));
    assert!(freed.bytes_current <= -2000, "{freed:?}");
    drop(kept);
}

// R3
#[test]
fn replayed_data_is_freed_as_it_is_sent() {
    let pieces = Pieces::default();
    let mut first = ReplayBody::new(body(&pieces, &[COUNTED; 5]), LIMIT);
    let kept = first.keep();
    read(&mut first);
    assert_eq!(pieces.alive(), 5);
    let mut second = ReplayBody::replay(kept).unwrap();
    for left in [4, 3, 2, 1, 0] {
        drop(look(&mut second));
        assert_eq!(pieces.alive(), left);
    }
}

// R3
#[test]
fn many_small_frames_do_not_cost_many_times_their_size() {
    // Large chunks are static here, so that only the cost of the memory is counted.
    for sizes in [&[1][..], &[COUNTED - 1], &[COUNTED], &[1, COUNTED], &[1, 1, COUNTED]] {
        static DATA: [u8; COUNTED] = [b'x'; COUNTED];
        let count = LIMIT / sizes.iter().sum::<usize>() * sizes.len();
        let frames = sizes.iter().cycle().map(|size| Bytes::from_static(&DATA[..*size]));
        let mut first = ReplayBody::new(Script::of(frames.take(count)), LIMIT);
        let kept = first.keep();
        // The body is not read to its end, because that frees the script, which would be counted
        // too.
        let spent = measure(|| (0..count).for_each(|_| assert!(look(&mut first).is_ready())));
        assert!((1..=2 * LIMIT as i64).contains(&spent.bytes_current), "{sizes:?}: {spent:?}");
        let mut second = ReplayBody::replay(kept).expect("within the limit");
        assert!(read(&mut second).len() > LIMIT - COUNTED - 3);
    }
}

// R3
#[test]
fn small_frames_do_not_keep_their_large_buffers_alive() {
    let pieces = Pieces::default();
    let large = pieces.of(1_000_000);
    let parts: Vec<_> = [1, 255, 256, COUNTED - 1].map(|len| large.slice(len..2 * len)).into();
    drop(large);
    let mut first = ReplayBody::new(Script::of(parts), LIMIT);
    let kept = first.keep();
    let sent = read(&mut first);
    assert_eq!(pieces.alive(), 0);
    assert_eq!(read(&mut ReplayBody::replay(kept).unwrap()), sent);
}
