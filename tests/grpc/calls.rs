//! Tests which calls are resent, and what the caller gets.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::Request;
use http_body_util::{BodyExt, StreamBody};
use tonic::Code;
use tonic::body::Body;
use tonic::transport::Endpoint;
use tonic_health::pb::health_client::HealthClient;
use tower::{BoxError, ServiceExt};
use tower_oauth2::TokenError;
use tower_oauth2::grpc::AuthorizedChannel;
use tower_oauth2::replay::{NotReplayed, ReplayPolicy, Replayed};

use crate::server::{Refusal, Server};
use crate::{Channel, channel, check, endpoint, health, layer};

/// The state of an application, with a generated client as it is usually stored.
struct App {
    health: HealthClient<AuthorizedChannel>,
}

#[tokio::test(start_paused = true)]
async fn generated_clients_take_the_channel_without_a_cast() {
    let transport = Endpoint::from_static("http://127.0.0.1:9").connect_lazy();
    let app =
        App { health: HealthClient::new(AuthorizedChannel::new(transport, layer(&endpoint()))) };
    let _ = app.health.clone();

    let server = Server::new();
    health(channel(&server, &endpoint())).check(check()).await.unwrap();
    // A client without an origin means the layer's own (X2).
    HealthClient::new(channel(&server, &endpoint())).check(check()).await.unwrap();
    assert_eq!(server.tokens(), ["token-1", "token-1"]);
}

// R1, R7
#[tokio::test(start_paused = true)]
async fn a_unary_call_is_resent_once() {
    for refusal in [Refusal::InHeaders, Refusal::AfterFirstChunk, Refusal::WithHttpStatus] {
        let (server, endpoint) = (Server::refusing(&["token-1"], refusal), endpoint());
        let response = health(channel(&server, &endpoint)).check(check()).await.unwrap();
        assert_eq!(response.extensions().get(), Some(&Replayed::Yes));
        assert_eq!(server.tokens(), ["token-1", "token-2"]);
        assert_eq!(endpoint.count(), 2);
    }
}

// R1, R7
#[tokio::test(start_paused = true)]
async fn a_call_that_answers_with_a_stream_is_resent() {
    let server = Server::refusing(&["token-1"], Refusal::InHeaders);
    let response = health(channel(&server, &endpoint())).watch(check()).await.unwrap();
    assert_eq!(response.extensions().get(), Some(&Replayed::Yes));
    let first = response.into_inner().message().await.unwrap();
    assert!(first.is_some());
    assert_eq!(server.tokens(), ["token-1", "token-2"]);
}

/// Sends a stream of three chunks, 100 ms apart.
async fn upload(channel: Channel) -> Result<http::Response<Body>, BoxError> {
    let chunks = stream::iter(["one ", "two ", "three"]).then(|chunk| async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Ok::<_, BoxError>(http_body::Frame::data(Bytes::from(chunk)))
    });
    let request = Request::post("https://api.test/upload").body(Body::new(StreamBody::new(chunks)));
    channel.oneshot(request?).await
}

// R3, R4
#[tokio::test(start_paused = true)]
async fn a_streaming_call_is_resent_with_all_its_messages() {
    for refusal in [Refusal::InHeaders, Refusal::AfterFirstChunk] {
        let server = Server::refusing(&["token-1"], refusal);
        let response = upload(channel(&server, &endpoint())).await.unwrap();
        assert_eq!(response.extensions().get(), Some(&Replayed::Yes));
        assert_eq!(server.bodies(), [b"one two three"]);
    }
}

// R4
#[tokio::test(start_paused = true)]
async fn messages_beyond_the_limit_are_not_resent() {
    let server = Server::refusing(&["token-1"], Refusal::AfterFirstChunk);
    let channel = channel(&server, &endpoint());
    let response = upload(channel.clone().replay_limit(3)).await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "16");
    assert_eq!(response.extensions().get(), Some(&Replayed::No(NotReplayed::Body)));
    assert_eq!(server.tokens(), ["token-1"]);
    // The next call has another token.
    upload(channel).await.unwrap();
    assert_eq!(server.tokens(), ["token-1", "token-2"]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_in_the_trailers_is_returned_to_the_caller() {
    let server = Server::refusing(&["token-1"], Refusal::InTrailers);
    let response = upload(channel(&server, &endpoint())).await.unwrap();
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["grpc-status"], "16");
    assert_eq!(server.tokens(), ["token-1"]);
}

#[tokio::test(start_paused = true)]
async fn the_policy_of_the_layer_is_extended_unless_it_is_never() {
    for (policy, sends) in [
        (ReplayPolicy::never(), 1),
        (ReplayPolicy::statuses([419]), 2),
        (ReplayPolicy::grpc_unauthenticated(), 2),
    ] {
        let server = Server::refusing(&["token-1"], Refusal::InHeaders);
        let layer = layer(&endpoint()).replay_policy(policy);
        let channel = AuthorizedChannel::new(server.clone(), layer);
        let _ = health(channel).check(check()).await;
        assert_eq!(server.tokens().len(), sends);
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_channel_is_unchanged() {
    let server = Server::refusing(&["token-1"], Refusal::WithError);
    let status = health(channel(&server, &endpoint())).check(check()).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unknown, "the connection broke"));
    assert!(TokenError::find_in(&status).is_none());
}

#[test]
fn debug_output_shows_no_secret() {
    let transport = Endpoint::from_static("http://127.0.0.1:9");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _guard = runtime.enter();
    let channel = AuthorizedChannel::new(transport.connect_lazy(), layer(&endpoint()));
    let shown = format!("{channel:?}");
    assert!(shown.starts_with("AuthorizedChannel { channel: Channel, tokens: Some("), "{shown}");
    assert!(!shown.contains("s3cr3t"), "{shown}");
}
