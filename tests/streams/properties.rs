//! Properties of replays for any body, any limit and any time of the 401.
//!
//! The replay has the original body, or the 401 is returned.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use bytes::{Buf, Bytes};
use http::{HeaderMap, Response};
use http_body::Body;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tower::{Layer, ServiceExt};
use tower_oauth2::replay::{NotReplayed, ReplayBody, ReplayableLayer, Replayed};

use crate::support::*;

#[derive(Clone, Debug)]
struct Case {
    body: Splitting,
    limit: usize,
    /// The number of polls of the first body before the response.
    looks: usize,
    fate: Fate,
}

/// The use of the first body after the response.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Dropped,
    Kept,
    /// The test polls the first body before each poll of the second one.
    Polled,
}

/// The result of reading a body to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Content {
    data: Vec<u8>,
    trailers: Option<HeaderMap>,
    is_broken: bool,
}

impl Case {
    fn steps(&self) -> impl Iterator<Item = Poll<Option<Step>>> {
        let mut script = self.body.script.clone();
        std::iter::from_fn(move || {
            Some(match look(&mut script) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(None) => Poll::Ready(None),
                Poll::Ready(Some(Err(_))) => Poll::Ready(Some(Step::Error)),
                Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(match frame.into_data() {
                    Ok(data) => Step::Data(data),
                    Err(frame) => Step::Trailers(frame.into_trailers().unwrap()),
                })),
            })
        })
    }

    /// Returns the data of this many polls.
    fn content(&self, looks: usize) -> Content {
        let mut content = Content::default();
        for step in self.steps().take(looks) {
            match step {
                Poll::Pending => {}
                Poll::Ready(Some(Step::Data(data))) => content.data.extend_from_slice(&data),
                Poll::Ready(Some(Step::Trailers(trailers))) => content.trailers = Some(trailers),
                Poll::Ready(Some(_)) => {
                    content.is_broken = true;
                    break;
                }
                Poll::Ready(None) => break,
            }
        }
        content
    }

    /// Returns whether the body can be replayed.
    fn can_be_replayed(&self) -> bool {
        let sent = self.content(self.looks);
        !sent.is_broken && sent.data.len() <= self.limit
    }
}

/// Reads the first body and its inner body side by side, which must not differ.
async fn read_in_step(body: &mut ReplayBody<Splitting>, mut within: Splitting, looks: usize) {
    for _ in 0..looks {
        assert_eq!(hint(body), hint(&within));
        assert_eq!(body.is_end_stream(), within.is_end_stream());
        let frame = poll_fn(|cx| Poll::Ready(Pin::new(&mut *body).poll_frame(cx))).await;
        match (frame, look(&mut within)) {
            (Poll::Pending, Poll::Pending) => tokio::task::yield_now().await,
            (Poll::Ready(Some(Ok(ours))), Poll::Ready(Some(Ok(theirs)))) => {
                assert_eq!(ours.trailers_ref(), theirs.trailers_ref());
                let theirs = theirs.into_data().ok().map(|mut d| d.copy_to_bytes(d.remaining()));
                assert_eq!(ours.into_data().ok(), theirs);
            }
            (Poll::Ready(Some(Err(error))), Poll::Ready(Some(Err(_)))) => {
                assert!(error.is::<Broken>());
                return;
            }
            (Poll::Ready(None), Poll::Ready(None)) => return,
            (ours, theirs) => panic!("{ours:?} for {theirs:?}"),
        }
    }
}

/// Reads the second body to its end. Polls the first one beside it if it still exists.
async fn read_again(
    body: &mut ReplayBody<Splitting>,
    old: Option<&mut ReplayBody<Splitting>>,
    case: &Case,
) -> Content {
    let mut content = Content::default();
    let mut old = old;
    loop {
        if let Some(old) = &mut old {
            assert!(!old.is_end_stream());
            let frame = look(&mut **old);
            assert!(matches!(frame, Poll::Ready(Some(Err(_)))), "the first yields {frame:?}");
        }
        // The hint is that of the original after the same amount of data.
        let said = case.body.script.hint_after(content.data.len() as u64);
        assert_eq!(hint(body), (said.lower(), said.upper()));
        let has_ended = body.is_end_stream();
        let frame = poll_fn(|cx| Poll::Ready(Pin::new(&mut *body).poll_frame(cx))).await;
        assert!(!has_ended || matches!(frame, Poll::Ready(None)), "not the end: {frame:?}");
        match frame {
            Poll::Pending => tokio::task::yield_now().await,
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => content.data.extend_from_slice(&data),
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap();
                    assert_eq!(content.trailers.replace(trailers), None);
                }
            },
            Poll::Ready(Some(Err(error))) => {
                assert!(error.is::<Broken>());
                content.is_broken = true;
                return content;
            }
            Poll::Ready(None) => return content,
        }
    }
}

/// Sends the body to an API that responds with `status` first. Reads the second body completely.
async fn send(case: &Case, status: u16) -> (Response<()>, Vec<Content>) {
    let contents = Arc::<Mutex<Vec<Content>>>::default();
    let old = Arc::new(Mutex::new(None));
    let api = Api::serving({
        let (case, contents) = (case.clone(), contents.clone());
        move |n, request| {
            let (case, contents, old) = (case.clone(), contents.clone(), old.clone());
            let mut body = request.into_body();
            async move {
                if n == 1 {
                    read_in_step(&mut body, case.body.clone(), case.looks).await;
                    if !matches!(case.fate, Fate::Dropped) {
                        *old.lock().unwrap() = Some(body);
                    }
                } else {
                    let mut old = old.lock().unwrap().take();
                    let polled = old.as_mut().filter(|_| matches!(case.fate, Fate::Polled));
                    let content = read_again(&mut body, polled, &case).await;
                    contents.lock().unwrap().push(content);
                }
                let status = if n == 1 { status } else { 200 };
                Response::builder().status(status).body(()).unwrap()
            }
        }
    });
    let source = ScriptedSource::tokens(hour);
    let service = ReplayableLayer::new()
        .limit(case.limit)
        .layer(warm_layer(&source).await.layer(api.clone()));
    let response = service.oneshot(put(case.body.clone())).await.unwrap();
    let contents = contents.lock().unwrap().clone();
    assert_eq!(api.count(), 1 + contents.len());
    (response, contents)
}

fn data() -> impl Strategy<Value = Bytes> {
    let len = prop_oneof![
        Just(0),
        1..4_usize,
        // Sizes around the one below which data is copied.
        COUNTED - 2..COUNTED + 3,
        1000..1200_usize,
    ];
    (len, any::<u8>()).prop_map(|(len, first)| {
        (0..len).map(|at| first.wrapping_add(at as u8)).collect::<Vec<_>>().into()
    })
}

fn trailers() -> HeaderMap {
    [("x-checksum", "1"), ("x-twice", "a"), ("x-twice", "b")]
        .into_iter()
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .collect()
}

fn case() -> impl Strategy<Value = Case> {
    let step = prop_oneof![
        2 => Just(Step::Pending),
        6 => data().prop_map(Step::Data),
    ];
    let end = prop_oneof![
        3 => Just(vec![]),
        2 => Just(vec![Step::Trailers(trailers())]),
        1 => Just(vec![Step::Pending, Step::Trailers(trailers()), Step::Pending]),
        1 => Just(vec![Step::Error, Step::Data(Bytes::from_static(b"never"))]),
        1 => Just(vec![Step::Pending, Step::Error]),
    ];
    let says = prop_oneof![
        3 => Just(Hint::Exact),
        1 => Just(Hint::Unknown),
        1 => (0..300_u64, 0..300_u64).prop_map(|(below, above)| Hint::Loose(below, above)),
    ];
    let fate = prop_oneof![Just(Fate::Dropped), Just(Fate::Kept), Just(Fate::Polled)];
    let steps = proptest::collection::vec(step, 0..12);
    (steps, end, says, any::<bool>(), 0..300_usize).prop_flat_map(
        move |(mut steps, end, says, knows_its_end, at)| {
            steps.extend(end);
            let looks = 0..steps.len() + 2;
            let script = Script::new(steps).saying(says, knows_its_end);
            let total = script.left() as usize;
            let limit = prop_oneof![
                2 => Just(usize::MAX),
                2 => 0..=total + 1,
                1 => total.saturating_sub(1)..=total + 1,
            ];
            let body = Splitting { script, at };
            (limit, looks, fate.clone()).prop_map(move |(limit, looks, fate)| Case {
                body: body.clone(),
                limit,
                looks,
                fate,
            })
        },
    )
}

fn check(test: impl Fn(Case) + std::panic::RefUnwindSafe) {
    let mut runner = TestRunner::new(property(1500));
    let result = runner.run(&case(), |case| {
        test(case);
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(future)
}

// R3, R4
#[test]
fn a_replay_has_the_original_body_or_the_401_is_returned() {
    check(|case| {
        let (response, contents) = block_on(send(&case, 401));
        if case.can_be_replayed() {
            assert_eq!((response.status().as_u16(), contents.len()), (200, 1));
            assert_eq!(replayed(&response), Some(Replayed::Yes));
            assert_eq!(contents[0], case.content(usize::MAX));
        } else {
            assert_eq!((response.status().as_u16(), contents.len()), (401, 0));
            assert_eq!(replayed(&response), Some(Replayed::No(NotReplayed::Body)));
        }
    });
}

// R3, R6
#[test]
fn an_accepted_first_send_is_not_repeated() {
    check(|case| {
        let (response, contents) = block_on(send(&case, 200));
        assert_eq!((response.status().as_u16(), contents.len()), (200, 0));
        assert_eq!(replayed(&response), None);
    });
}

// R3
#[test]
fn a_body_that_is_not_kept_passes_through_unchanged() {
    check(|case| {
        let mut body = ReplayBody::new(case.body.clone(), case.limit);
        block_on(read_in_step(&mut body, case.body.clone(), usize::MAX));
    });
}
