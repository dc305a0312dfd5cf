//! Behavior that users of `alf` expect, with a real HTTP client and real servers.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use tokio::net::TcpListener;
use tower::ServiceExt;
use tower_oauth2::{
    OAuth2, OAuth2Layer, Origins, TokenEndpoint, TokenError, TokenErrorKind, Tokens,
};

use crate::support::*;

/// Returns a session, as `alf` calls it: an HTTP client for the API at `api`.
fn session(endpoint: SocketAddr, api: SocketAddr) -> OAuth2<Client> {
    let http = client();
    let credentials = credentials_at(format!("http://{endpoint}/token"));
    let tokens = Tokens::new(credentials, TokenEndpoint::new(http.clone()));
    let origins = Origins::only([format!("http://{api}")]).unwrap();
    OAuth2Layer::new(tokens, origins).layer(http)
}

async fn endpoint() -> (SocketAddr, Seen) {
    let body = r#"{"access_token":"token-1","token_type":"Bearer","expires_in":3600}"#;
    server(move |_| std::future::ready(Response::new(Full::from(body)))).await
}

/// Starts an API that answers with the body of the request.
async fn echo() -> (SocketAddr, Seen) {
    server(|request| std::future::ready(Response::new(Full::from(request.into_body())))).await
}

// alf 1, 10, 13, 14
#[tokio::test]
async fn get_put_and_delete_work() {
    let ((endpoint, token_requests), (api, requests)) = (endpoint().await, echo().await);
    let session = session(endpoint, api);
    for (method, body) in [
        (Method::GET, ""),
        (Method::PUT, r#"{"a":1}"#),
        (Method::POST, "a=1"),
        (Method::DELETE, ""),
    ] {
        let request = Request::builder()
            .method(method.clone())
            .uri(format!("http://{api}/things/1"))
            .header("x-mine", "kept")
            .body(Full::<Bytes>::from(body))
            .unwrap();
        let response = session.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(text(response).await, body);

        let seen = requests.lock().unwrap().pop().unwrap();
        assert_eq!((seen.method(), seen.uri().path()), (&method, "/things/1"));
        assert_eq!(seen.headers()["authorization"], "Bearer token-1");
        assert_eq!(seen.headers()["x-mine"], "kept");
    }
    let token_requests = token_requests.lock().unwrap();
    assert_eq!(token_requests.len(), 1);
    assert_eq!(token_requests[0].body(), "grant_type=client_credentials");
}

async fn fails(session: OAuth2<Client>, api: SocketAddr) -> TokenError {
    let request = Request::get(format!("http://{api}/")).body(Full::default()).unwrap();
    let error = session.oneshot(request).await.unwrap_err();
    TokenError::find_in(&*error).expect("a TokenError").clone()
}

// alf 38
#[tokio::test]
async fn the_api_is_not_called_if_the_endpoint_is_unreachable() {
    let (api, requests) = echo().await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = fails(session(nobody, api), api).await;
    assert_eq!(error.kind(), TokenErrorKind::Transport);
    assert!(error.to_string().contains("Connection refused (os error "), "{error}");
    assert!(requests.lock().unwrap().is_empty());
}

// alf 38
#[tokio::test(start_paused = true)]
async fn the_api_is_not_called_if_the_endpoint_does_not_answer() {
    let source = TokenEndpoint::new(tower::service_fn(|_: Request<Full<Bytes>>| {
        std::future::pending::<Result<Response<Full<Bytes>>, tower::BoxError>>()
    }));
    let api = Api::always(200);
    let layer = OAuth2Layer::new(Tokens::new(credentials(), source), Origins::any());
    let error = layer.layer(api.clone()).oneshot(get("/")).await.unwrap_err();
    assert_eq!(TokenError::find_in(&*error).unwrap().kind(), TokenErrorKind::Timeout);
    assert_eq!(api.count(), 0);
}

// alf 36, 39, 40
#[tokio::test]
async fn an_error_shows_status_and_code_and_is_retried() {
    let (api, requests) = echo().await;
    let (endpoint, token_requests) = server(|_| {
        let body = format!(r#"{{"error":"invalid_client","error_description":"not {SECRET}"}}"#);
        let response = Response::builder().status(401).body(Full::from(body));
        std::future::ready(response.unwrap())
    })
    .await;
    let session = session(endpoint, api);
    let error = fails(session.clone(), api).await;
    assert_eq!(
        error.to_string(),
        format!(
            "no token from http://{endpoint}: the endpoint answered with an error (status 401, \
             invalid_client); check client id, secret and authentication method; \
             the server's reason is in error_description()"
        )
    );
    assert_eq!(error.error_description(), Some(format!("not {SECRET}").as_str()));
    assert!(requests.lock().unwrap().is_empty());

    // No token is requested during the back-off. The first call after it requests one.
    fails(session.clone(), api).await;
    assert_eq!(token_requests.lock().unwrap().len(), 1);
    tokio::time::pause();
    tokio::time::advance(error.retry_in().unwrap()).await;
    tokio::time::resume();
    fails(session, api).await;
    assert_eq!(token_requests.lock().unwrap().len(), 2);
}
