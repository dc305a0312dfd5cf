use tokio::time::{Instant, advance};
use tower::ServiceExt;
use tower_oauth2::testing::{RecordedRequest, Reply, ScriptedEndpoint};
use tower_oauth2::{ClientAuth, Credentials, TokenRequest};

use crate::support::{SECRET, secs, single_try};

/// Sends a token request with this client authentication, and returns it.
async fn recorded(auth: ClientAuth) -> RecordedRequest {
    let http = ScriptedEndpoint::in_order([Reply::token("token-1")]);
    let credentials =
        Credentials::new("https://auth.test/token?tenant=1", auth).unwrap().scope("read write");
    single_try(http.clone()).oneshot(TokenRequest::new(credentials)).await.unwrap();
    http.requests().remove(0)
}

#[tokio::test(start_paused = true)]
async fn a_token_request_is_recorded_as_it_was_sent() {
    let request = recorded(ClientAuth::client_secret_basic("client-id", "a")).await;
    assert_eq!(request.method(), "POST");
    assert_eq!(request.uri(), "https://auth.test/token?tenant=1");
    assert_eq!(request.headers()["authorization"], "Basic Y2xpZW50LWlkOmE=");
    assert_eq!(request.body(), "grant_type=client_credentials&scope=read+write");
}

#[tokio::test(start_paused = true)]
async fn form_parameters_are_decoded() {
    let request = recorded(ClientAuth::client_secret_post("client-id", "a&b=ä")).await;
    assert_eq!(request.parameter("scope").as_deref(), Some("read write"));
    assert_eq!(request.parameter("client_secret").as_deref(), Some("a&b=ä"));
    assert_eq!(request.parameter("audience"), None);
    let names: Vec<_> = request.parameters().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["grant_type", "scope", "client_id", "client_secret"]);
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_request_is_recorded() {
    advance(secs(5)).await;
    let sent_at = Instant::now();
    let request = recorded(ClientAuth::none("client-id")).await;
    advance(secs(5)).await;
    assert_eq!(request.received_at(), sent_at);
}

// X3
#[tokio::test(start_paused = true)]
async fn debug_of_a_recorded_request_shows_no_secret() {
    for auth in [
        ClientAuth::client_secret_basic("client-id", SECRET),
        ClientAuth::client_secret_post("client-id", SECRET),
    ] {
        assert_eq!(
            format!("{:?}", recorded(auth).await),
            r#"RecordedRequest { method: POST, host: Some("auth.test"), path: "/token", .. }"#
        );
    }
    let http = ScriptedEndpoint::in_order([Reply::token(SECRET)]);
    assert_eq!(format!("{http:?}"), "ScriptedEndpoint { count: 0, .. }");
}
