//! Unit tests for code that calls an API, without a server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use tower::{Service, service_fn};
use tower_oauth2::replay::Replayed;
use tower_oauth2::{
    AccessToken, BoxError, Credentials, OAuth2Layer, Origins, TokenRequest, Tokens,
};

use crate::server::expect;

/// Creates an API that accepts one token.
fn api(
    good: &'static str,
) -> impl Service<Request<Empty<Bytes>>, Response = Response<()>, Error = BoxError, Future: Send> + Clone
{
    service_fn(move |request: Request<Empty<Bytes>>| async move {
        let is_good = request.headers()["authorization"] == good;
        Ok(Response::builder().status(if is_good { 200 } else { 401 }).body(())?)
    })
}

async fn with_a_fixed_token() -> Result<(), BoxError> {
    let layer = OAuth2Layer::new(Tokens::fixed(AccessToken::new("t")?), Origins::any());
    let request = Request::get("https://api.test/").body(Empty::new())?;
    let response = layer.layer(api("Bearer t")).send(request).await?;
    expect(response.status().as_u16(), 200)
}

async fn with_a_token_that_was_revoked() -> Result<(), BoxError> {
    let number = Arc::new(AtomicU32::new(1));
    let source = service_fn(move |_: TokenRequest| {
        let number = number.fetch_add(1, Ordering::Relaxed);
        async move { AccessToken::new(number.to_string()) }
    });
    let layer = OAuth2Layer::new(Tokens::new(Credentials::named("test"), source), Origins::any());
    let request = Request::get("https://api.test/").body(Empty::new())?;
    let response = layer.layer(api("Bearer 2")).send(request).await?;
    expect(response.extensions().get(), Some(&Replayed::Yes))
}

pub(crate) async fn run() -> Result<(), BoxError> {
    with_a_fixed_token().await?;
    with_a_token_that_was_revoked().await
}
