use std::sync::{Arc, Mutex};
use std::task::Poll;

use tower::{Layer, ServiceExt};
use tower_oauth2::replay::{NotReplayed, ReplayBody, ReplayableLayer, Replayed};

use crate::support::*;

// R3, R6
#[tokio::test(start_paused = true)]
async fn a_401_over_the_limit_is_returned_and_rejects_the_token() {
    let source = ScriptedSource::tokens(hour);
    let api = Api::serving(|n, request| {
        let len = read(&mut request.into_body()).len();
        async move {
            assert_eq!(len, 3000);
            let mut response = status(if n == 1 { 401 } else { 200 });
            response.headers_mut().insert("x-answer", n.into());
            response
        }
    });
    let oauth2 = warm_layer(&source).await.layer(api.clone());
    let service = ReplayableLayer::new().limit(2999).layer(oauth2);
    let response = service.clone().oneshot(put(Script::of([vec![b'x'; 3000]]))).await.unwrap();
    assert_eq!(response.status(), 401);
    assert_eq!(response.headers()["x-answer"], "1", "the response is unchanged");
    assert_eq!(replayed(&response), Some(Replayed::No(NotReplayed::Body)));
    // The token is fetched ahead of the next request, which uses it.
    settle().await;
    assert_eq!(source.count(), 2);

    let response = service.oneshot(put(Script::of([vec![b'x'; 3000]]))).await.unwrap();
    assert_eq!((response.status().as_u16(), replayed(&response)), (200, None));
    assert_eq!(api.tokens(), ["token-1", "token-2"]);
    assert_eq!(source.count(), 2);
}

// R5
#[tokio::test(start_paused = true)]
async fn a_body_is_not_polled_before_the_first_token_arrives() {
    let (source, bell) = notified_source(0);
    let api = Api::serving(|_, request| {
        let mut body = request.into_body();
        async move {
            assert_eq!(read(&mut body), b"one two");
            status(200)
        }
    });
    let (feeder, body) = fed();
    feeder.data("one ");
    let service = ReplayableLayer::new().layer(cold_layer(&source).layer(api.clone()));
    let call = tokio::spawn(service.oneshot(put(body)));
    settle().await;
    assert_eq!((source.count(), feeder.looks(), api.count()), (1, 0, 0));
    feeder.data("two");
    bell.notify_one();
    assert_eq!(call.await.unwrap().unwrap().status(), 200);
    assert_eq!(api.tokens(), ["token-1"]);
}

// R3
#[tokio::test(start_paused = true)]
async fn a_request_that_waited_for_its_token_is_replayed_whole() {
    let source = ScriptedSource::tokens(hour);
    let seen = Arc::<Mutex<Vec<Vec<u8>>>>::default();
    let api = Api::serving({
        let seen = seen.clone();
        move |n, request| {
            seen.lock().unwrap().push(read(&mut request.into_body()));
            async move { status(if n == 1 { 401 } else { 200 }) }
        }
    });
    let service = ReplayableLayer::new().layer(cold_layer(&source).layer(api.clone()));
    let response = service.oneshot(put(Script::of(["one ", "two"]))).await.unwrap();
    assert_eq!((response.status().as_u16(), replayed(&response)), (200, Some(Replayed::Yes)));
    assert_eq!(*seen.lock().unwrap(), [b"one two", b"one two"]);
}

// R4, R5
#[tokio::test(start_paused = true)]
async fn an_upload_stops_while_a_replay_waits_for_its_token() {
    let (source, bell) = notified_source(1);
    let held = Arc::<Mutex<Option<ReplayBody<Fed>>>>::default();
    let api = Api::serving({
        let held = held.clone();
        move |n, request| {
            let mut body = request.into_body();
            let held = held.clone();
            async move {
                if n == 1 {
                    assert!(matches!(look(&mut body), Poll::Ready(Some(Ok(_)))));
                    *held.lock().unwrap() = Some(body);
                    return status(401);
                }
                assert_eq!(read(&mut body), b"one two");
                status(200)
            }
        }
    });
    let (feeder, body) = fed();
    feeder.data("one ");
    let service = ReplayableLayer::new().layer(warm_layer(&source).await.layer(api.clone()));
    let call = tokio::spawn(service.oneshot(put(body)));
    settle().await;
    assert_eq!((source.count(), feeder.looks(), api.count()), (2, 1, 1));
    feeder.data("two");
    let mut first = held.lock().unwrap().take().unwrap();
    assert!(matches!(look(&mut first), Poll::Ready(Some(Err(_)))));
    assert_eq!(feeder.looks(), 1, "the first body did not take the rest of the stream");
    bell.notify_one();
    assert_eq!(call.await.unwrap().unwrap().status(), 200);
    assert_eq!(api.tokens(), ["token-1", "token-2"]);
}

// R1
#[tokio::test(start_paused = true)]
async fn a_rejected_replay_is_returned_and_not_replayed() {
    let source = ScriptedSource::tokens(hour);
    let api = Api::serving(|_, request| {
        let mut body = request.into_body();
        async move {
            assert_eq!(read(&mut body), b"one two");
            status(401)
        }
    });
    let service = ReplayableLayer::new().layer(warm_layer(&source).await.layer(api.clone()));
    let response = service.oneshot(put(Script::of(["one ", "two"]))).await.unwrap();
    assert_eq!((response.status().as_u16(), replayed(&response)), (401, Some(Replayed::Yes)));
    assert_eq!(api.count(), 2);
}
