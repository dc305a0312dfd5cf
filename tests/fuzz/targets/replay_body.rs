//! Fuzzes `ReplayBody`: after any calls, a body yields all of its data or an error.
//!
//! The first line is the limit, the second the script (`support/script.rs`). The rest is a list of
//! actions: a letter and the digit of a body or of kept data. `p` polls a body, `k` keeps it, `r`
//! replays kept data, `x` drops a body, and `y` drops kept data.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};

use http_body::Body;
use tower_oauth2::replay::{KeptBody, ReplayBody, ReplayableBody};

use super::support::*;

struct WatchedBody {
    body: ReplayBody<Script>,
    emitted: Emitted,
    has_begun: bool,
    /// The body waits for the stream, and must be woken.
    waits: Option<usize>,
}

struct KeptData {
    kept: KeptBody<Script>,
    /// The number of the newest body, if a replay up to the limit must succeed.
    certain_for: Option<u32>,
}

/// Counts the wake-ups of the waiting body.
#[derive(Default)]
struct WakeUps(AtomicUsize);

impl Wake for WakeUps {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.splitn(3, '\n');
    let limit = lines.next().and_then(|limit| limit.trim().parse().ok()).unwrap_or(usize::MAX);
    let script = Script::read(lines.next().unwrap_or_default());
    let deeds = lines.next().unwrap_or_default().as_bytes();

    let wake_ups = Arc::new(WakeUps::default());
    let waker = Waker::from(wake_ups.clone());
    let new =
        |body| WatchedBody { body, emitted: Emitted::default(), has_begun: false, waits: None };
    let mut bodies = vec![Some(new(ReplayBody::new(script.clone(), limit)))];
    let mut all_kept: Vec<Option<KeptData>> = Vec::new();
    // The index of the body that owns the stream.
    let mut newest = 0;
    let mut deeds = deeds.iter().take(256).copied().filter(|byte| !byte.is_ascii_whitespace());
    while let Some(deed) = deeds.next() {
        let mut index =
            |len: usize| usize::from(deeds.next().unwrap_or(b'0').wrapping_sub(b'0')) % len.max(1);
        match deed {
            b'p' => {
                let at = index(bodies.len());
                let Some(one) = &mut bodies[at] else { continue };
                look(one, at == newest, &script, &waker, &wake_ups);
            }
            b'k' => {
                let at = index(bodies.len());
                let Some(one) = &bodies[at] else { continue };
                let is_sole = all_kept.iter().all(Option::is_none);
                let is_certain = at == newest && !one.has_begun && is_sole;
                for kept in all_kept.iter_mut().flatten() {
                    kept.certain_for = None;
                }
                let kept = one.body.keep();
                all_kept
                    .push(Some(KeptData { kept, certain_for: is_certain.then_some(at as u32) }));
            }
            b'r' => {
                let at = index(all_kept.len());
                let Some(KeptData { kept, certain_for }) =
                    all_kept.get_mut(at).and_then(Option::take)
                else {
                    continue;
                };
                let waiting = bodies[newest].as_ref().and_then(|one| one.waits);
                let is_there = bodies[newest].is_some();
                let emitted = bodies[newest].as_ref().map(|one| &one.emitted);
                let certain = certain_for.filter(|_| is_there).map(|of| {
                    let emitted = emitted.unwrap();
                    assert_eq!(of as usize, newest);
                    emitted.len <= limit && !emitted.has_failed
                });
                let again = ReplayBody::replay(kept);
                // R3: only data that was kept from the start and is within the limit can be sent
                // again.
                assert!(certain.is_none_or(|certain| certain == again.is_some()), "{certain:?}");
                let Some(again) = again else { continue };
                if let Some(before) = waiting {
                    assert!(
                        wake_ups.0.load(Ordering::Relaxed) > before,
                        "the waiting body is not woken"
                    );
                }
                newest = bodies.len();
                bodies.push(Some(new(again)));
            }
            b'x' => {
                let at = index(bodies.len());
                bodies[at] = None;
            }
            b'y' => {
                let at = index(all_kept.len());
                if let Some(kept) = all_kept.get_mut(at) {
                    *kept = None;
                }
            }
            _ => {}
        }
        if bodies.len() > 32 || all_kept.len() > 32 {
            break;
        }
    }
    // The owner of the stream reaches its end.
    if let Some(one) = &mut bodies[newest] {
        for _ in 0..200 {
            look(one, true, &script, &waker, &wake_ups);
        }
        assert!(one.emitted.has_ended || one.emitted.has_failed, "no end");
        assert!(one.emitted.has_failed || one.emitted.is_whole(&script));
        assert_eq!(one.emitted.has_failed, script.breaks());
    }
}

/// Polls a body once, and compares the result with its size hint.
fn look(
    one: &mut WatchedBody,
    is_newest: bool,
    script: &Script,
    waker: &Waker,
    wake_ups: &WakeUps,
) {
    let hint = one.body.size_hint();
    let says_it_has_ended = one.body.is_end_stream();
    let had_failed = one.emitted.has_failed;
    let frame = Pin::new(&mut one.body).poll_frame(&mut Context::from_waker(waker));
    one.has_begun = true;
    one.waits = frame.is_pending().then(|| wake_ups.0.load(Ordering::Relaxed));
    if says_it_has_ended {
        assert!(
            matches!(frame, std::task::Poll::Ready(None)),
            "is_end_stream() was true before the end: {frame:?}"
        );
    }
    let is_taken = !is_newest;
    if is_taken {
        // R4
        assert!(matches!(frame, std::task::Poll::Ready(Some(Err(_)))), "taken over, and {frame:?}");
        assert_eq!((hint.lower(), hint.upper()), (0, None));
    } else if !had_failed {
        let left = (script.left() - one.emitted.len) as u64;
        let exact = script.tells_its_size().then_some(left);
        assert!(hint.lower() <= left && hint.upper().is_none_or(|upper| upper >= left));
        assert!(exact.is_none() || hint.exact() == exact, "{hint:?} for {left}");
    }
    one.emitted.take(frame, script);
}
