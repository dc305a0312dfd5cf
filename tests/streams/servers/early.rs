use tokio::sync::mpsc;
use tower_oauth2::replay::{NotReplayed, Replayed};

use super::*;

/// Each body that a server has read to its end is the whole one; and what came of the request.
fn assert_whole(
    context: &str,
    body: Upload,
    limit: usize,
    response: Result<Response<Incoming>, BoxError>,
    seen: &[Seen],
) -> Outcome {
    for seen in seen.iter().filter_map(|seen| seen.body.as_ref()) {
        assert_eq!(*seen, body.arrived(), "{context}");
    }
    let response = match response {
        Ok(response) => response,
        Err(error) => panic!("{context}: {error:?}"),
    };
    match replayed(&response) {
        Some(Replayed::Yes) => {
            assert_eq!(response.status(), 200, "{context}");
            assert_eq!(seen.len(), 2, "{context}");
            assert!(seen[1].body.is_some(), "{context}");
            Outcome::Healed
        }
        other => {
            assert_eq!(other, Some(Replayed::No(NotReplayed::Body)), "{context}");
            assert_eq!((response.status().as_u16(), seen.len()), (401, 1), "{context}");
            assert!(body.end > limit, "{context}: within the limit, and not sent again");
            Outcome::Returned
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Healed,
    Returned,
}

/// All sizes, to a server that answers 401 when it has read nothing, a frame, or a half.
async fn rejected_early(protocol: Protocol, rest: Rest) {
    for is_exact in [true, false] {
        for (limit, sizes) in [(LIMIT, &SIZES[..]), (LARGE, &[LARGE])] {
            for size in sizes {
                let body = Upload::new(*size, is_exact);
                for until in [0, 1, size.div_ceil(2)] {
                    let first = First::RejectsAt(until, rest);
                    let context = format!("{protocol:?} {first:?} {body:?} {limit}");
                    let (response, seen) = upload(protocol, first, limit, body).await;
                    let outcome = assert_whole(&context, body, limit, response, &seen);
                    if until > limit {
                        assert_eq!(outcome, Outcome::Returned, "{context}");
                    }
                }
            }
        }
    }
}

// R4
#[tokio::test]
async fn over_http1_an_early_401_is_taken_over_while_the_connection_reads_on() {
    rejected_early(Http1, Rest::Reads).await;
}

// R4
#[tokio::test]
async fn over_http1_an_early_401_is_taken_over_when_the_connection_closes() {
    rejected_early(Http1, Rest::ReadsAndCloses).await;
}

// R4
#[tokio::test]
async fn over_http2_an_early_401_is_taken_over_while_the_stream_is_read_on() {
    rejected_early(Http2, Rest::Reads).await;
}

// R4
#[tokio::test]
async fn over_http2_an_early_401_is_taken_over_when_the_stream_is_reset() {
    rejected_early(Http2, Rest::Drops).await;
}

// R4
#[tokio::test]
async fn over_http1_a_connection_that_is_cut_with_the_401_never_lets_a_wrong_body_through() {
    // What was not read resets the connection, and may take the 401 with it: then that is the error.
    for is_exact in [true, false] {
        for size in SIZES {
            let body = Upload::new(size, is_exact);
            for until in [0, 1, size.div_ceil(2)] {
                let first = First::RejectsAt(until, Rest::Drops);
                let context = format!("{first:?} {body:?}");
                let (response, seen) = upload(Http1, first, LIMIT, body).await;
                if response.is_ok() {
                    assert_whole(&context, body, LIMIT, response, &seen);
                } else {
                    assert!(body.end > 1, "{context}: {response:?}");
                    assert!(seen.iter().all(|seen| seen.body.is_none()), "{context}");
                }
            }
        }
    }
}

/// Sends a part, waits for the replay to have reached the server, and sends the other part.
async fn taken_over_in_the_middle(protocol: Protocol, rest: Rest) {
    let (saw, mut seen_by_server) = mpsc::unbounded_channel();
    let (report, arrived) = oneshot::channel();
    let report = Arc::new(Mutex::new(Some(report)));
    let address = serve(protocol, move |request| {
        let (saw, report) = (saw.clone(), report.clone());
        async move {
            let (parts, mut body) = request.into_parts();
            let token = parts.headers["authorization"].to_str().unwrap().to_owned();
            let mut arrived = Arrived::default();
            if token == "Bearer token-1" {
                arrived.read(&mut body, 4).await.unwrap();
                assert_eq!(arrived.len, 4);
                tokio::spawn(async move {
                    if rest != Rest::Drops {
                        let end = arrived.read(&mut body, usize::MAX).await;
                        assert!(end.is_err(), "the abandoned upload has an end");
                        assert_eq!(arrived.len, 4, "it had more than what was sent by then");
                    }
                    saw.send("the end of the first".to_owned()).unwrap();
                });
                return Response::builder().status(401).body(Empty::new()).unwrap();
            }
            saw.send(token).unwrap();
            assert!(!arrived.read(&mut body, usize::MAX).await.unwrap());
            report.lock().unwrap().take().unwrap().send(arrived).unwrap();
            Response::new(Empty::new())
        }
    })
    .await;
    let api = client::<Fed>(protocol, LIMIT, &Source::of(hour)).await;
    let (feeder, body) = fed();
    feeder.data("one ");
    let call = tokio::spawn(api.oneshot(request(address, body)));
    let watched = async {
        let mut seen = [seen_by_server.recv().await.unwrap(), seen_by_server.recv().await.unwrap()];
        seen.sort();
        assert_eq!(seen, ["Bearer token-2", "the end of the first"]);
        feeder.data("two ");
        feeder.data("three");
        drop(feeder);
        let response = call.await.unwrap().unwrap();
        assert_eq!((response.status().as_u16(), replayed(&response)), (200, Some(Replayed::Yes)));
        let mut expected = Arrived::default();
        expected.add(b"one two three");
        assert_eq!(arrived.await.unwrap(), expected);
    };
    tokio::time::timeout(GUARD, watched).await.expect("it hangs");
}

// R4
#[tokio::test]
async fn an_upload_that_waits_in_the_middle_goes_on_in_the_replay() {
    taken_over_in_the_middle(Http1, Rest::Reads).await;
    taken_over_in_the_middle(Http2, Rest::Reads).await;
    taken_over_in_the_middle(Http2, Rest::Drops).await;
}
