//! A service that calls an API for many tenants. Each tenant has a handle to its tokens, so a
//! request needs no lookup in the cache.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use http::Request;
use http_body_util::Full;
use tower::ServiceExt;
use tower_oauth2::{
    BoxError, ClientAuth, Credentials, OAuth2, OAuth2Layer, Origins, RequestExt, Secret,
    TokenCache, TokenEndpoint, Tokens,
};

use crate::server::{Http, TestServer, expect};

struct App {
    tenants: HashMap<String, Tokens>,
    api: OAuth2<Http>,
    things: String,
}

async fn things(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
) -> Result<Body, StatusCode> {
    let tokens = app.tenants.get(&tenant).ok_or(StatusCode::NOT_FOUND)?;
    let request = Request::get(&app.things).tokens(tokens);
    let request = request.body(Full::default()).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    let response = app.api.send(request).await.map_err(|_| StatusCode::BAD_GATEWAY)?;
    Ok(Body::new(response.into_body()))
}

fn app(server: &TestServer, tenants: Vec<(String, Secret)>) -> Result<Router, BoxError> {
    let http = server.http();
    let cache = TokenCache::new(TokenEndpoint::new(http.clone()));
    let tenants = tenants.into_iter().map(|(name, secret)| {
        let auth = ClientAuth::client_secret_post(&*name, secret);
        let credentials = Credentials::new(server.token_endpoint(), auth)?.label(&*name);
        Ok((name, cache.tokens(&credentials)))
    });
    let tenants = tenants.collect::<Result<_, BoxError>>()?;
    // A request without tokens fails, so that it never gets another tenant's token.
    let api = OAuth2Layer::per_request(Origins::only(server.origin())?).layer(http);
    let app = App { tenants, api, things: server.things() };
    Ok(Router::new().route("/{tenant}/things", get(things)).with_state(Arc::new(app)))
}

pub(crate) async fn run(server: &TestServer) -> Result<(), BoxError> {
    let secret = |tenant: &str| (tenant.to_owned(), Secret::from("s3cr3t"));
    let app = app(server, vec![secret("acme"), secret("initech")])?;
    for (path, status) in
        [("/acme/things", 200), ("/initech/things", 200), ("/acme/things", 200), ("/a/things", 404)]
    {
        let response = app.clone().oneshot(Request::get(path).body(Body::empty())?).await?;
        expect(response.status().as_u16(), status)?;
    }
    let clients = server.token_requests().into_iter().map(|mut form| form.remove("client_id"));
    expect(clients.collect::<Vec<_>>(), vec![Some("acme".to_owned()), Some("initech".to_owned())])
}
