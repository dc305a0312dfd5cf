use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use reqwest::Client;
use tower_oauth2::http_client::AuthorizedClient;
use tower_oauth2::metadata::Metadata;
use tower_oauth2::{
    ClientAuth, Credentials, OAuth2Layer, Origins, TokenEndpoint, TokenError, TokenErrorKind,
    Tokens,
};

use crate::support::*;

const SECRET: &str = "s3cr3t-of-the-client";

fn json(text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    Response::builder().header("content-type", "application/json").body(text.into().into()).unwrap()
}

fn token() -> Response<Full<Bytes>> {
    json(r#"{"access_token":"token-1","expires_in":3600}"#)
}

/// Gets a token from `url` with a `reqwest::Client` that follows redirects.
async fn get(url: &str) -> Result<String, TokenError> {
    let auth = ClientAuth::client_secret_post("client-id", SECRET);
    let credentials = Credentials::new(url, auth).unwrap().scope("read");
    let tokens = Tokens::new(credentials, TokenEndpoint::new(Client::new()));
    Ok(tokens.get().await?.secret().to_owned())
}

// W1
#[tokio::test]
async fn one_client_serves_the_token_endpoint_and_the_api() {
    let http = no_redirects();
    let (server, api) = (Server::start(|_| token()).await, Server::accepting_from(1).await);
    let auth = ClientAuth::client_secret_post("client-id", SECRET);
    let credentials = Credentials::new(server.url("/token"), auth).unwrap().scope("read");
    let tokens = Tokens::new(credentials, TokenEndpoint::new(http.clone()));
    let layer = OAuth2Layer::new(tokens, Origins::only(api.url("")).unwrap());
    let client = AuthorizedClient::new(http.clone(), layer);
    for _ in 0..2 {
        let response = client.send(http.get(api.url("/things"))).await.unwrap();
        assert_eq!(response.status(), 200);
    }
    let [request] = &server.requests()[..] else { panic!("one token request") };
    assert_eq!(request.method(), "POST");
    let body = std::str::from_utf8(request.body()).unwrap();
    for parameter in ["grant_type=client_credentials", "client_id=client-id", "scope=read"] {
        assert!(body.contains(parameter), "{body}");
    }
    // The length is known, although the body is a stream to reqwest.
    assert_eq!(request.headers()["content-length"], body.len().to_string());
}

// W4
#[tokio::test]
async fn a_redirected_token_request_fails_and_sends_no_secret() {
    for status in [301, 302, 303, 307, 308] {
        let other = Server::start(|_| token()).await;
        let location = other.url("/token");
        let server = Server::start(move |_| redirect(status, &location)).await;
        let error = get(&server.url("/token")).await.unwrap_err();
        assert_eq!(error.kind(), TokenErrorKind::Redirect, "{status}");
        assert_eq!(server.count(), 1, "a redirect is not retried");
        for request in other.requests() {
            assert_eq!((request.method().as_str(), &request.body()[..]), ("GET", &b""[..]));
            let text = format!("{request:?}");
            assert!(!text.contains(SECRET), "{status}: {text}");
        }
    }
}

// W4
#[tokio::test]
async fn the_error_of_a_followed_redirect_names_the_repair() {
    let other = Server::start(|_| token()).await;
    let location = other.url("/token");
    let server = Server::start(move |_| redirect(302, &location)).await;
    let error = get(&server.url("/token")).await.unwrap_err().to_string();
    let expected = format!(
        "no token from {}: the endpoint redirects, and redirects are not followed: reqwest \
         followed one, and the response to it is not used; check the URL; build the \
         reqwest::Client with Policy::none()",
        server.url("")
    );
    assert_eq!(error, expected);
}

// W4, W7
#[tokio::test]
async fn metadata_is_fetched_with_a_reqwest_client() {
    let server = Server::start(|request| {
        let host = request.headers()["host"].to_str().unwrap();
        match request.uri().path() {
            "/.well-known/openid-configuration" => json(format!(
                r#"{{"issuer":"http://{host}","token_endpoint":"http://{host}/token"}}"#
            )),
            // It is no metadata of the first location, although reqwest follows the redirect.
            "/.well-known/oauth-authorization-server" => redirect(302, "/elsewhere"),
            _ => json("{}"),
        }
    })
    .await;
    let metadata = Metadata::fetch(server.url(""), Client::new()).await.unwrap();
    assert_eq!(metadata.token_endpoint().to_string(), server.url("/token"));
}
