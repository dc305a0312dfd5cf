use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use http::Extensions;
use http::header::AUTHORIZATION;
use reqwest::Client;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Middleware, Next};
use tower::timeout::Timeout;
use tower::{ServiceBuilder, ServiceExt};
use tower_http_client::ServiceExt as _;
use tower_oauth2::http_client::{AuthorizedClient, OAuth2Middleware, ReqwestService};
use tower_oauth2::replay::{ReplayableLayer, Replayed};
use tower_oauth2::{
    AccessToken, OAuth2Layer, Origins, RequestExt, TokenError, TokenErrorKind, Tokens,
};

use crate::support::*;

fn fixed(token: &str) -> Tokens {
    Tokens::fixed(AccessToken::new(token).unwrap())
}

fn with_middleware(layer: OAuth2Layer) -> ClientWithMiddleware {
    ClientBuilder::new(Client::new()).with(OAuth2Middleware::new(layer)).build()
}

// X2
#[tokio::test]
async fn a_client_for_a_tenant_sends_its_tokens() {
    let (http, server) = (Client::new(), Server::accepting_from(0).await);
    let layer = OAuth2Layer::per_request(Origins::only(server.url("")).unwrap());
    let client = AuthorizedClient::new(http.clone(), layer);
    let tenant = client.with_tokens(&fixed("tenant-7"));

    let error = client.send(http.get(server.url("/"))).await.unwrap_err();
    assert_eq!(TokenError::find_in(&*error).unwrap().kind(), TokenErrorKind::NoTokens);
    tenant.send(http.get(server.url("/"))).await.unwrap();

    // The tokens that a request names take precedence.
    let get = || http::Request::get(server.url("/"));
    let named = get().tokens(&fixed("other")).body("").unwrap();
    tenant.execute(named.try_into().unwrap()).await.unwrap();
    let unnamed = get().no_token().body("").unwrap();
    tenant.execute(unnamed.try_into().unwrap()).await.unwrap();
    // A request with credentials wants tokens of these, so it gets none of the tenant.
    let mistaken = get().extension(credentials()).body("").unwrap();
    let error = tenant.execute(mistaken.try_into().unwrap()).await.unwrap_err();
    assert_eq!(TokenError::find_in(&*error).unwrap().kind(), TokenErrorKind::NoTokens);
    assert_eq!(server.authorizations(), ["Bearer tenant-7", "Bearer other", ""]);
}

// X2
#[tokio::test]
async fn requests_with_middleware_name_their_tokens() {
    let server = Server::accepting_from(0).await;
    let client = with_middleware(layer(&source()));
    client.get(server.url("/")).send().await.unwrap();
    client.get(server.url("/")).tokens(&fixed("tenant-7")).send().await.unwrap();
    client.get(server.url("/")).no_token().send().await.unwrap();
    // The last one counts.
    client.get(server.url("/")).no_token().tokens(&fixed("a")).send().await.unwrap();
    client.get(server.url("/")).tokens(&fixed("a")).no_token().send().await.unwrap();
    let expected = ["Bearer token-1", "Bearer tenant-7", "", "Bearer a", ""];
    assert_eq!(server.authorizations(), expected);
}

// X2
#[tokio::test]
async fn credentials_instead_of_tokens_are_an_error_of_middleware() {
    let client = with_middleware(layer(&source()));
    let request = client.get("https://api.test/").with_extension(credentials());
    let error = request.send().await.unwrap_err();
    assert_eq!(TokenError::find_in(&error).unwrap().kind(), TokenErrorKind::NoTokens);
}

/// Records the token of each send that passes, and counts the sends in the extensions.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<String>>>);

#[derive(Clone, Debug, PartialEq)]
struct Sends(u32);

#[async_trait::async_trait]
impl Middleware for Recorder {
    async fn handle(
        &self,
        request: reqwest::Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<reqwest::Response> {
        let token = request.headers().get(AUTHORIZATION).map(|value| value.to_str().unwrap());
        self.0.lock().unwrap().push(token.unwrap_or_default().to_owned());
        let sends = extensions.get_or_insert_with(|| Sends(0));
        sends.0 += 1;
        next.run(request, extensions).await
    }
}

#[tokio::test]
async fn inner_middleware_sees_each_send_and_outer_middleware_one() {
    let server = Server::accepting_from(2).await;
    let (outer, inner) = (Recorder::default(), Recorder::default());
    let client = ClientBuilder::new(Client::new())
        .with(outer.clone())
        .with(OAuth2Middleware::new(layer(&source())))
        .with(inner.clone())
        .build();
    let mut extensions = Extensions::new();
    let request = client.get(server.url("/")).build().unwrap();
    let response = client.execute_with_extensions(request, &mut extensions).await.unwrap();
    assert_eq!(response.extensions().get(), Some(&Replayed::Yes));
    assert_eq!(*outer.0.lock().unwrap(), [""]);
    assert_eq!(*inner.0.lock().unwrap(), ["Bearer token-1", "Bearer token-2"]);
    assert_eq!(extensions.get(), Some(&Sends(3)));
}

/// Sends a request again after a 503, as reqwest-retry does.
struct Retry;

#[async_trait::async_trait]
impl Middleware for Retry {
    async fn handle(
        &self,
        request: reqwest::Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<reqwest::Response> {
        let again = request.try_clone().expect("the body is in memory");
        let response = next.clone().run(request, extensions).await?;
        if response.status() == 503 { next.run(again, extensions).await } else { Ok(response) }
    }
}

// R1, R3
#[tokio::test]
async fn middleware_that_retries_goes_outside_or_inside() {
    for is_outside in [true, false] {
        // The server is down at first, and the first token is revoked.
        let sends = AtomicUsize::new(0);
        let server = Server::start(move |request| {
            let is_first = sends.fetch_add(1, Ordering::Relaxed) == 0;
            let is_revoked = request.headers()[AUTHORIZATION] == "Bearer token-1";
            respond(if is_first {
                503
            } else if is_revoked {
                401
            } else {
                200
            })
        })
        .await;
        let (builder, oauth2) =
            (ClientBuilder::new(Client::new()), OAuth2Middleware::new(layer(&source())));
        let client = if is_outside {
            builder.with(Retry).with(oauth2).build()
        } else {
            builder.with(oauth2).with(Retry).build()
        };
        let response = client.post(server.url("/")).body("body").send().await.unwrap();
        assert_eq!(response.status(), 200);
        let expected = ["Bearer token-1", "Bearer token-1", "Bearer token-2"];
        assert_eq!(server.authorizations(), expected);
        assert_eq!(server.bodies(), ["body"; 3]);
    }
}

#[tokio::test]
async fn an_authorized_client_is_a_service_among_layers() {
    let server = Server::accepting_from(2).await;
    let client = AuthorizedClient::new(Client::new(), layer(&source()));
    let client: Timeout<AuthorizedClient> =
        ServiceBuilder::new().timeout(std::time::Duration::from_secs(60)).service(client);
    let request = http::Request::post(server.url("/")).body("body".into()).unwrap();
    let response = client.oneshot(request).await.unwrap();
    assert_eq!(response.extensions().get(), Some(&Replayed::Yes));
    // A response of the service can be used as one of reqwest.
    let response = reqwest::Response::from(response);
    assert_eq!(response.url().as_str(), server.url("/"));
    assert_eq!(server.bodies(), ["body", "body"]);
}

#[tokio::test]
async fn tower_http_client_sends_through_an_authorized_client() {
    let server = Server::accepting_from(2).await;
    let mut client = AuthorizedClient::new(Client::new(), layer(&source()));
    let thing = serde_json::json!({ "name": "Alf" });
    let response = client.post(server.url("/")).json(&thing).unwrap().send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(server.bodies(), [thing.to_string(), thing.to_string()]);
    let response = client.get(server.url("/")).send().await.unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn a_reqwest_service_works_in_a_custom_stack() {
    let server = Server::accepting_from(2).await;
    let service = ServiceBuilder::new()
        .layer(ReplayableLayer::new())
        .layer(layer(&source()))
        .service(ReqwestService::new(Client::new()));
    let request = http::Request::post(server.url("/")).body(reqwest::Body::from("body")).unwrap();
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.extensions().get(), Some(&Replayed::Yes));
    assert_eq!(server.bodies(), ["body", "body"]);

    // Bodies that are `Clone` need no layer outside.
    let service = layer(&source()).layer(ReqwestService::new(Client::new()));
    let body = http_body_util::Full::new(bytes::Bytes::from("body"));
    let response = service.send(http::Request::post(server.url("/")).body(body).unwrap()).await;
    assert_eq!(response.unwrap().status(), 200);
}

#[tokio::test]
async fn a_send_can_be_spawned_and_outlives_its_client() {
    let server = Server::accepting_from(1).await;
    let client = AuthorizedClient::new(Client::new(), layer(&source()));
    let send = client.send(client.client().get(server.url("/")));
    drop(client);
    let response = tokio::spawn(send).await.unwrap();
    assert_eq!(response.unwrap().status(), 200);
}

// X3
#[test]
fn debug_shows_neither_default_headers_nor_tokens() {
    let mut headers = http::HeaderMap::new();
    headers.insert("x-api-key", "s3cr3t-key".parse().unwrap());
    let http = Client::builder().default_headers(headers).build().unwrap();
    let layer = OAuth2Layer::new(fixed("s3cr3t-token"), Origins::any());
    let client = AuthorizedClient::new(http.clone(), layer.clone());
    let tenant = client.with_tokens(&fixed("s3cr3t-tenant"));
    let middleware = OAuth2Middleware::new(layer.clone());
    let service = layer.layer(ReqwestService::new(http));
    for text in [
        format!("{client:?}"),
        format!("{tenant:?}"),
        format!("{middleware:?}"),
        format!("{service:?}"),
    ] {
        assert!(!text.contains("s3cr3t"), "{text}");
    }
}

// Compiles only if tasks can share the client.
const _: fn(AuthorizedClient) = assert_shareable;

fn assert_shareable(_: impl Send + Sync + Clone) {}
