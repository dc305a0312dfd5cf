use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http_body::Frame;
use http_body_util::StreamBody;
use reqwest::multipart::{Form, Part};
use reqwest::{Body, Client};
use reqwest_middleware::ClientBuilder;
use tower_oauth2::BoxError;
use tower_oauth2::http_client::{AuthorizedClient, OAuth2Middleware};
use tower_oauth2::replay::{NotReplayed, Replayed};

use crate::support::*;

const KIB: usize = 1024;

/// Creates a body of unknown length in chunks of 16 KiB. Counts the chunks that are taken.
fn stream_of(chunks: usize, taken: &Arc<AtomicUsize>) -> Body {
    let taken = taken.clone();
    let frames = (0..chunks).map(move |n| {
        taken.fetch_add(1, Ordering::Relaxed);
        Ok::<_, BoxError>(Frame::data(chunk(n)))
    });
    Body::wrap(StreamBody::new(stream::iter(frames)))
}

fn chunk(n: usize) -> Bytes {
    vec![u8::try_from(n).unwrap(); 16 * KIB].into()
}

fn chunks(count: usize) -> Bytes {
    (0..count).map(chunk).collect::<Vec<_>>().concat().into()
}

// R3
#[tokio::test]
async fn a_body_in_memory_is_replayed_whatever_its_size() {
    let http = Client::new();
    for size in [0, 1, 300 * KIB] {
        for (client, _) in clients(&http) {
            let server = Server::accepting_from(2).await;
            let body = Bytes::from(vec![7; size]);
            let request = http.post(server.url("/")).body(body.clone());
            let response = client.send(request).await.unwrap();
            assert_eq!(response.extensions().get(), Some(&Replayed::Yes), "{}", client.name());
            assert_eq!(server.bodies(), [body.clone(), body]);
        }
    }
}

// R3
#[tokio::test]
async fn a_stream_within_the_limit_is_replayed() {
    let http = Client::new();
    for (client, _) in clients(&http) {
        let (server, taken) = (Server::accepting_from(2).await, Arc::default());
        let request = http.post(server.url("/")).body(stream_of(3, &taken));
        let response = client.send(request).await.unwrap();
        assert_eq!(response.status(), 200, "{}", client.name());
        assert_eq!(response.extensions().get(), Some(&Replayed::Yes));
        assert_eq!(server.bodies(), [chunks(3), chunks(3)]);
        assert_eq!(taken.load(Ordering::Relaxed), 3, "the stream is read once");
    }
}

// R3
#[tokio::test]
async fn a_stream_beyond_the_limit_is_sent_whole_and_not_replayed() {
    let http = Client::new();
    for (client, source) in clients(&http) {
        let server = Server::accepting_from(2).await;
        for (status, replayed) in [(401, Some(Replayed::No(NotReplayed::Body))), (200, None)] {
            let request = http.post(server.url("/")).body(stream_of(5, &Arc::default()));
            let response = client.send(request).await.unwrap();
            assert_eq!(response.status(), status, "{}", client.name());
            assert_eq!(response.extensions().get().copied(), replayed);
        }
        // The second request has the token that replaced the rejected one.
        assert_eq!(server.authorizations(), ["Bearer token-1", "Bearer token-2"]);
        assert_eq!(server.bodies(), [chunks(5), chunks(5)]);
        assert_eq!(source.count(), 2);
    }
}

#[tokio::test]
async fn the_limit_of_a_stream_can_be_set() {
    let http = Client::new();
    for (limit, replayed) in
        [(128 * KIB, Replayed::Yes), (16 * KIB, Replayed::No(NotReplayed::Body))]
    {
        let client = AuthorizedClient::new(http.clone(), layer(&source())).replay_limit(limit);
        let middleware = OAuth2Middleware::new(layer(&source())).replay_limit(limit);
        let middleware = ClientBuilder::new(http.clone()).with(middleware).build();
        for client in [Http::Client(client), Http::Middleware(middleware)] {
            let server = Server::accepting_from(2).await;
            let request = http.post(server.url("/")).body(stream_of(5, &Arc::default()));
            let response = client.send(request).await.unwrap();
            assert_eq!(response.extensions().get(), Some(&replayed), "{}", client.name());
        }
    }
}

// R3
#[tokio::test]
async fn a_multipart_form_is_replayed() {
    let http = Client::new();
    for (client, _) in clients(&http) {
        let server = Server::accepting_from(2).await;
        let file = Part::bytes(vec![b'f'; 10 * KIB]).file_name("f.bin");
        let streamed = Part::stream(stream_of(1, &Arc::default()));
        let form = Form::new().text("name", "Alf").part("file", file).part("more", streamed);
        let response = client.send(http.post(server.url("/")).multipart(form)).await.unwrap();
        assert_eq!(response.extensions().get(), Some(&Replayed::Yes), "{}", client.name());
        let [first, second] = &server.requests()[..] else { panic!("not replayed") };
        assert_eq!(first.headers()[CONTENT_TYPE], second.headers()[CONTENT_TYPE]);
        assert!(first.body().len() > 26 * KIB);
        assert_eq!(first.body(), second.body());
    }
}

// R3
#[tokio::test]
async fn the_framing_is_that_of_reqwest_alone() {
    let http = Client::new();
    for (client, _) in clients(&http) {
        let server = Server::accepting_from(0).await;
        let requests = || {
            [
                http.get(server.url("/")),
                http.post(server.url("/")),
                http.post(server.url("/")).body("text"),
                http.post(server.url("/")).body(stream_of(1, &Arc::default())),
            ]
        };
        for request in requests() {
            request.send().await.unwrap();
        }
        for request in requests() {
            client.send(request).await.unwrap();
        }
        let framing = |request: &http::Request<Bytes>| {
            [CONTENT_LENGTH, TRANSFER_ENCODING].map(|name| request.headers().get(name).cloned())
        };
        let framings: Vec<_> = server.requests().iter().map(framing).collect();
        assert_eq!(framings[..4], framings[4..], "{}", client.name());
    }
}
