//! Generic code over HTTP clients with any body type, and layers around a token source.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tower::{Service, ServiceBuilder};
use tower_oauth2::source::{HttpClient, TokenRetry};
use tower_oauth2::store::{MemoryStore, TokenStoreLayer};
use tower_oauth2::{BoxError, Credentials, TokenCache, TokenEndpoint, Tokens};

use crate::server::{Http, TestServer, expect};

/// Creates tokens with any tower service that is an HTTP client.
fn over_service<H, B>(http: H, credentials: Credentials) -> Tokens
where
    H: Service<Request<Full<Bytes>>, Response = Response<B>, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + 'static,
    B: Body<Error: Into<BoxError>, Data: Send> + Send + 'static,
{
    Tokens::new(credentials, TokenEndpoint::new(http))
}

/// Returns tokens as `over_service` does, with a shorter bound.
fn over_client<M>(http: impl HttpClient<M>, credentials: Credentials) -> Tokens {
    Tokens::new(credentials, TokenEndpoint::new(http))
}

/// Adds a store, a timeout and a concurrency limit to the token endpoint.
fn with_layers(http: Http) -> TokenCache {
    TokenCache::new(
        ServiceBuilder::new()
            .layer(TokenStoreLayer::new(MemoryStore::new()).lease(Duration::from_secs(5)))
            .timeout(Duration::from_secs(60))
            .concurrency_limit(4)
            .service(TokenEndpoint::new(http).retry(TokenRetry::new(1))),
    )
}

/// Creates a token endpoint whose client has axum's request bodies.
fn with_axum_bodies() -> TokenEndpoint {
    let http: Client<_, axum::body::Body> = Client::builder(TokioExecutor::new()).build_http();
    TokenEndpoint::with_body(http)
}

pub(crate) async fn run(server: &TestServer) -> Result<(), BoxError> {
    let credentials = server.credentials("generic")?;
    over_service(server.http(), credentials.clone()).warm().await?;
    over_client(server.http(), credentials.clone()).warm().await?;
    with_layers(server.http()).tokens(&credentials).warm().await?;
    let tokens = Tokens::new(credentials, with_axum_bodies());
    // Both futures are `Send`, so they can run in tasks.
    let token = tokio::spawn(async move { tokens.get().await }).await??;
    expect(token.secret(), "token-4")
}
