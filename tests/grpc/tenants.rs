//! Tests how calls and clients name their tokens.

use tonic::{Code, Request};
use tower_oauth2::grpc::AuthorizedChannel;
use tower_oauth2::{AccessToken, OAuth2Layer, Origins, RequestExt, Tokens};

use crate::server::Server;
use crate::{channel, check, credentials, endpoint, health};

fn fixed(token: &str) -> Tokens {
    Tokens::fixed(AccessToken::new(token).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_call_can_name_its_tokens_or_none() {
    let server = Server::new();
    let mut health = health(channel(&server, &endpoint()));
    health.check(Request::new(check()).tokens(&fixed("tenant"))).await.unwrap();
    health.check(Request::new(check()).no_token()).await.unwrap();
    health.check(check()).await.unwrap();
    let bearer = |token| Some(format!("Bearer {token}"));
    assert_eq!(server.calls(), [bearer("tenant"), None, bearer("token-1")]);
}

#[tokio::test(start_paused = true)]
async fn a_client_can_have_the_tokens_of_a_tenant() {
    let server = Server::new();
    let layer = OAuth2Layer::per_request(Origins::only("https://api.test").unwrap());
    let channel = AuthorizedChannel::new(server.clone(), layer);
    let mut tenant = health(channel.with_tokens(&fixed("tenant")));
    tenant.check(check()).await.unwrap();
    // The tokens that a call names take precedence.
    tenant.check(Request::new(check()).tokens(&fixed("other"))).await.unwrap();
    tenant.check(Request::new(check()).no_token()).await.unwrap();
    let bearer = |token| Some(format!("Bearer {token}"));
    assert_eq!(server.calls(), [bearer("tenant"), bearer("other"), None]);
    // A call with credentials wants tokens of these, so it gets none of the tenant.
    let mut mistaken = Request::new(check());
    mistaken.extensions_mut().insert(credentials());
    let status = tenant.check(mistaken).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    // The channel itself has none.
    let status = health(channel).check(check()).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
}
