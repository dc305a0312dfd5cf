use tokio::sync::mpsc;
use tower_oauth2::replay::{NotReplayed, Replayed};

use super::*;

/// Returns the result of a request, and checks the bodies that a server has read. Each body that it
/// read to its end is complete.
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

/// Sends all sizes to a server that rejects early. It answers after nothing, one frame or half of
/// the body.
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
async fn an_early_401_over_http1_is_replayed_while_the_body_is_read() {
    rejected_early(Http1, Rest::Reads).await;
}

// R4
#[tokio::test]
async fn an_early_401_over_http1_is_replayed_after_a_close() {
    rejected_early(Http1, Rest::ReadsAndCloses).await;
}

// R4
#[tokio::test]
async fn an_early_401_over_http2_is_replayed_while_the_body_is_read() {
    rejected_early(Http2, Rest::Reads).await;
}

// R4
#[tokio::test]
async fn an_early_401_over_http2_is_replayed_after_a_reset() {
    rejected_early(Http2, Rest::Drops).await;
}

// R4
#[tokio::test]
async fn a_connection_cut_with_a_401_never_causes_a_wrong_body() {
    // Unread data resets the connection, which may lose the 401. The call then fails with that
    // error.
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

/// Sends a part, waits until the replay has reached the server, and sends the rest.
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
                        assert_eq!(arrived.len, 4, "more data arrived than was sent by then");
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
    let api = client::<Fed>(protocol, LIMIT, &ScriptedSource::tokens(hour)).await;
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
    tokio::time::timeout(GUARD, watched).await.expect("the call hangs");
}

// R4
#[tokio::test]
async fn an_upload_that_waits_continues_in_the_replay() {
    taken_over_in_the_middle(Http1, Rest::Reads).await;
    taken_over_in_the_middle(Http2, Rest::Reads).await;
    taken_over_in_the_middle(Http2, Rest::Drops).await;
}
