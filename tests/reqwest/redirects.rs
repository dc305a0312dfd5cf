use http::HeaderName;
use reqwest::Client;
use tower_oauth2::http_client::AuthorizedClient;
use tower_oauth2::{OAuth2Layer, Origins};

use crate::support::*;

const X_TOKEN: HeaderName = HeaderName::from_static("x-token");

/// Starts a server that redirects everything to another one. Returns both.
async fn redirecting(status: u16) -> (Server, Server) {
    let other = Server::start(|_| respond(200)).await;
    let location = other.url("/elsewhere");
    let server = Server::start(move |_| redirect(status, &location)).await;
    (server, other)
}

fn layer_for(server: &Server) -> OAuth2Layer {
    OAuth2Layer::new(tokens(&source()), Origins::only(server.url("")).unwrap())
}

// X2
#[tokio::test]
async fn a_client_from_a_builder_returns_redirects() {
    for status in [301, 302, 303, 307, 308] {
        for header in [http::header::AUTHORIZATION, X_TOKEN] {
            let (server, other) = redirecting(status).await;
            let layer = layer_for(&server).header_name(header);
            // Redirects that were switched on are switched off again.
            let builder = Client::builder().redirect(reqwest::redirect::Policy::limited(5));
            let client = AuthorizedClient::from_builder(builder, layer).unwrap();
            let request = client.client().post(server.url("/")).body("body");
            let response = client.send(request).await.unwrap();
            assert_eq!(response.status(), status);
            assert_eq!(response.headers()["location"], other.url("/elsewhere"));
            assert_eq!(response.url().as_str(), server.url("/"));
            assert_eq!((server.count(), other.count()), (1, 0));
        }
    }
}

// X2
#[tokio::test]
async fn a_ready_client_keeps_the_authorization_header_to_one_host() {
    let http = Client::new();
    for (client, _) in clients(&http) {
        let (server, other) = redirecting(302).await;
        let response = client.send(http.get(server.url("/"))).await.unwrap();
        assert_eq!(response.url().as_str(), other.url("/elsewhere"), "{}", client.name());
        assert_eq!(server.authorizations(), ["Bearer token-1"]);
        assert_eq!(other.authorizations(), [""]);
    }
}

#[tokio::test]
async fn a_ready_client_sends_a_body_in_memory_where_a_307_leads() {
    let http = Client::new();
    for (client, _) in clients(&http) {
        let server = Server::start(|request| match request.uri().path() {
            "/old" => redirect(307, "/new"),
            _ => respond(200),
        })
        .await;
        let request = http.post(server.url("/old")).body("body");
        let response = client.send(request).await.unwrap();
        assert_eq!(response.status(), 200, "{}", client.name());
        assert_eq!(server.bodies(), ["body", "body"]);
    }
}

/// The documented reason to switch off redirects: reqwest removes no other header.
#[tokio::test]
async fn a_ready_client_sends_other_headers_to_other_hosts() {
    let http = Client::new();
    for (client, _) in clients_with(&http, |layer| layer.header_name(X_TOKEN)) {
        let (server, other) = redirecting(302).await;
        client.send(http.get(server.url("/"))).await.unwrap();
        assert_eq!(other.requests()[0].headers()[X_TOKEN], "Bearer token-1", "{}", client.name());
    }
    let http = no_redirects();
    for (client, _) in clients_with(&http, |layer| layer.header_name(X_TOKEN)) {
        let (server, other) = redirecting(302).await;
        let response = client.send(http.get(server.url("/"))).await.unwrap();
        assert_eq!((response.status().as_u16(), other.count()), (302, 0), "{}", client.name());
    }
}
