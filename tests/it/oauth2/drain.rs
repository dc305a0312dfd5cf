//! The body of a rejected response is read, so that its connection is kept.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::{BoxError, Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_oauth2::replay::{DrainLayer, DrainedBody, NotReplayed, ReplayPolicy, Replayed};
use tower_oauth2::{OAuth2Layer, Origins};

use crate::support::{ScriptedSource, client, hour, raw_server, secs, tokens};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// Answers the requests of one connection: those with `token-1` with `rejection`, others with 200.
async fn serve(mut stream: TcpStream, rejection: Arc<Vec<u8>>) {
    let (mut head, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(n) => head.extend_from_slice(&buffer[..n]),
        }
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        let is_rejected = String::from_utf8(std::mem::take(&mut head)).unwrap().contains("token-1");
        let response = if is_rejected { &rejection[..] } else { OK };
        if stream.write_all(response).await.is_err() {
            return;
        }
    }
}

/// Sends a request through real HTTP whose first token is rejected, and another one.
///
/// Returns the number of connections.
async fn connections(rejection: Vec<u8>) -> usize {
    let rejection = Arc::new(rejection);
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = accepted.clone();
    let address = raw_server(move |stream| {
        count.fetch_add(1, Ordering::SeqCst);
        serve(stream, rejection.clone())
    })
    .await;
    let service = ServiceBuilder::new()
        .layer(OAuth2Layer::new(tokens(&ScriptedSource::tokens(hour)), Origins::any()))
        .layer(DrainLayer::new())
        .service(client());
    for expected in [Some(Replayed::Yes), None] {
        let request = Request::get(format!("http://{address}/")).body(Full::default()).unwrap();
        let response: Response<DrainedBody<Incoming>> = service.send(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.extensions().get::<Replayed>().copied(), expected);
        response.into_body().collect().await.unwrap();
    }
    accepted.load(Ordering::SeqCst)
}

/// Returns a 401 of this many chunks of this length.
fn chunked(chunks: usize, len: usize) -> Vec<u8> {
    let mut response = b"HTTP/1.1 401 Unauthorized\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..chunks {
        response.extend(format!("{len:x}\r\n{}\r\n", "a".repeat(len)).into_bytes());
    }
    response.extend(b"0\r\n\r\n");
    response
}

/// Returns a 401 with a `Content-Length`, of whose body this many bytes are sent.
fn sized(len: usize, sent: usize) -> Vec<u8> {
    let head = format!("HTTP/1.1 401 Unauthorized\r\ncontent-length: {len}\r\n\r\n");
    [head.into_bytes(), vec![b'a'; sent]].concat()
}

// R5
#[tokio::test]
async fn a_401_its_replay_and_more_requests_share_one_connection() {
    for rejection in [
        chunked(0, 0),
        chunked(1, 5),
        chunked(2, 5),
        chunked(10, 100),
        sized(0, 0),
        sized(500, 500),
    ] {
        assert_eq!(connections(rejection).await, 1);
    }
}

// R5: the layer does not wait for the rest of the body.
#[tokio::test]
async fn a_body_whose_rest_does_not_arrive_costs_its_connection() {
    assert_eq!(connections(sized(500, 100)).await, 2);
}

/// A body that follows a script. It ends with the script, or never.
struct Scripted {
    frames: VecDeque<Option<Frame<Bytes>>>,
    has_end: bool,
    polls: Arc<AtomicUsize>,
}

impl Body for Scripted {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.polls.fetch_add(1, Ordering::SeqCst);
        match self.frames.pop_front() {
            Some(Some(frame)) => Poll::Ready(Some(Ok(frame))),
            None if self.has_end => Poll::Ready(None),
            Some(None) | None => Poll::Pending,
        }
    }
}

fn data(text: &'static str) -> Option<Frame<Bytes>> {
    Some(Frame::data(Bytes::from_static(text.as_bytes())))
}

/// Returns the response, and the number of polls of its body before that.
async fn drain(
    status: u16,
    frames: impl IntoIterator<Item = Option<Frame<Bytes>>>,
    has_end: bool,
) -> (Response<DrainedBody<Scripted>>, Arc<AtomicUsize>) {
    let polls = Arc::new(AtomicUsize::new(0));
    let body = Scripted { frames: frames.into_iter().collect(), has_end, polls: polls.clone() };
    let response = Response::builder().status(status).body(body).unwrap();
    let response = std::sync::Mutex::new(Some(response));
    let inner = service_fn(move |_: Request<()>| {
        let response = response.lock().unwrap().take().unwrap();
        async move { Ok::<_, BoxError>(response) }
    });
    let response = DrainLayer::new().layer(inner).oneshot(Request::new(())).await.unwrap();
    (response, polls)
}

// R3, R5
#[tokio::test]
async fn a_response_that_is_returned_still_has_its_whole_body() {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-end", "1".parse().unwrap());
    for status in [200, 401, 407] {
        let frames = [data("one "), None, data("two"), Some(Frame::trailers(trailers.clone()))];
        let (response, polls) = drain(status, frames, true).await;
        assert_eq!(response.status(), status);
        assert_eq!(polls.load(Ordering::SeqCst), if status == 200 { 0 } else { 5 });
        if status != 200 {
            let hint = response.body().size_hint();
            assert_eq!((hint.lower(), hint.exact()), (7, None), "there are trailers");
            assert!(!response.body().is_end_stream());
        }
        let mut body = response.into_body();
        let (mut text, mut end) = (String::new(), None);
        // The second frame of the 200 is not ready, and this body never wakes its task.
        let mut task = tokio_test::task::spawn(());
        while let Poll::Ready(Some(frame)) =
            task.enter(|cx, _| match Pin::new(&mut body).poll_frame(cx) {
                Poll::Pending => Pin::new(&mut body).poll_frame(cx),
                ready => ready,
            })
        {
            match frame.unwrap().into_data() {
                Ok(data) => text.push_str(std::str::from_utf8(&data).unwrap()),
                Err(frame) => end = frame.into_trailers().ok(),
            }
        }
        assert_eq!((text.as_str(), end.as_ref()), ("one two", Some(&trailers)));
    }
}

// R5
#[tokio::test]
async fn a_body_is_read_only_as_far_as_it_has_arrived() {
    // Nothing arrives, or nothing more.
    for frames in [vec![], vec![data("one")]] {
        let count = frames.len();
        let (response, polls) = drain(401, frames, false).await;
        assert!(polls.load(Ordering::SeqCst) <= count + 17);
        assert_eq!(response.body().size_hint().lower(), 3 * count as u64);
        assert_eq!(response.body().size_hint().upper(), None);
    }
    // 64 KiB, and frames without data.
    for (len, expected) in [(1024, 65), (0, 256)] {
        let frame = || Some(Frame::data(Bytes::from(vec![b'a'; len])));
        let (_response, polls) = drain(401, (0..10_000).map(|_| frame()), false).await;
        assert_eq!(polls.load(Ordering::SeqCst), expected);
    }
}

// R6
#[tokio::test]
async fn a_401_that_is_not_replayed_keeps_its_body() {
    let inner = service_fn(|_: Request<Empty<Bytes>>| async {
        let body = Full::<Bytes>::from("why");
        Ok::<_, BoxError>(Response::builder().status(401).body(body).unwrap())
    });
    let service = ServiceBuilder::new()
        .layer(OAuth2Layer::new(tokens(&ScriptedSource::tokens(hour)), Origins::any()))
        .layer(DrainLayer::new())
        .service(inner);
    for expected in [Replayed::Yes, Replayed::No(NotReplayed::BreakerOpen)] {
        let request = Request::get("https://api.test/").body(Empty::new()).unwrap();
        let response = service.send(request).await.unwrap();
        assert_eq!(response.extensions().get(), Some(&expected));
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "why");
    }
}

// R7
#[tokio::test]
async fn the_policy_says_whose_bodies_are_read() {
    let policy = ReplayPolicy::statuses([419]);
    for (status, expected) in [(419, 1), (401, 0)] {
        let polls = Arc::new(AtomicUsize::new(0));
        let count = polls.clone();
        let inner = service_fn(move |_: Request<()>| {
            let body = Scripted { frames: VecDeque::new(), has_end: true, polls: count.clone() };
            async move { Ok::<_, BoxError>(Response::builder().status(status).body(body).unwrap()) }
        });
        let layer = DrainLayer::new().replay_policy(policy.clone());
        layer.layer(inner).oneshot(Request::new(())).await.unwrap();
        assert_eq!(polls.load(Ordering::SeqCst), expected, "{status}");
    }
}

// R5: a body is read after the inner future was dropped, and holds no permit while a token is
// awaited.
#[tokio::test(start_paused = true)]
async fn a_replay_and_a_read_body_share_a_limit_of_one() {
    let inner = service_fn(|request: Request<Empty<Bytes>>| async move {
        let is_rejected = request.headers()["authorization"] == "Bearer token-1";
        let polls = Arc::new(AtomicUsize::new(0));
        let body = Scripted { frames: [data("why")].into(), has_end: false, polls };
        let status = if is_rejected { 401 } else { 200 };
        Ok::<_, BoxError>(Response::builder().status(status).body(body).unwrap())
    });
    let limit = GlobalConcurrencyLimitLayer::new(1);
    let limited = limit.layer(service_fn(|()| async { Ok::<_, BoxError>(()) }));
    let source = ScriptedSource::new(move |n, _| {
        let limited = limited.clone();
        async move {
            limited.oneshot(()).await?;
            Ok(hour(n))
        }
    });
    let service = ServiceBuilder::new()
        .layer(OAuth2Layer::new(tokens(&source), Origins::any()))
        .layer(DrainLayer::new())
        .layer(limit)
        .service(inner);
    let request = Request::get("https://api.test/").body(Empty::new()).unwrap();
    let response = tokio::time::timeout(secs(5), service.send(request)).await;
    assert_eq!(response.expect("no deadlock").unwrap().status(), StatusCode::OK);
    assert_eq!(source.count(), 2);
}
