use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::Response;
use http::header::{COOKIE, SET_COOKIE};
use http_body_util::Full;
use reqwest::Client;
use serde_json::{Value, json};

use crate::support::*;

#[tokio::test]
async fn a_response_knows_its_url_and_its_server() {
    let http = Client::new();
    for (client, _) in clients(&http) {
        let server = Server::accepting_from(2).await;
        let url = server.url("/things?page=2");
        let response = client.send(http.get(&url)).await.unwrap();
        assert_eq!(response.url().as_str(), url, "{}", client.name());
        assert_eq!(response.remote_addr().unwrap().to_string(), server.url("")["http://".len()..]);
    }
}

#[tokio::test]
async fn a_response_has_the_url_that_reqwest_was_redirected_to() {
    // This client follows redirects.
    let http = Client::new();
    for (client, _) in clients(&http) {
        let server = Server::start(|request| match request.uri().path() {
            "/old" => redirect(302, "/new"),
            _ => respond(200),
        })
        .await;
        let response = client.send(http.get(server.url("/old"))).await.unwrap();
        assert_eq!(response.url().as_str(), server.url("/new"), "{}", client.name());
        assert_eq!(server.authorizations(), ["Bearer token-1"; 2]);
    }
}

#[tokio::test]
async fn error_for_status_names_status_and_url() {
    let http = Client::new();
    for (client, _) in clients(&http) {
        let server = Server::start(|_| respond(503)).await;
        let response = client.send(http.get(server.url("/things"))).await.unwrap();
        let error = response.error_for_status().unwrap_err();
        assert!(error.is_status(), "{}", client.name());
        assert_eq!(error.status().unwrap(), 503);
        assert_eq!(error.url().unwrap().as_str(), server.url("/things"));
    }
}

#[tokio::test]
async fn json_is_sent_and_received() {
    let http = Client::new();
    for (client, _) in clients(&http) {
        let server =
            Server::start(|request| Response::new(Full::new(request.body().clone()))).await;
        let thing = json!({ "name": "Alf", "tags": ["a", "b"] });
        let request = http.post(server.url("/")).json(&thing);
        let response = client.send(request).await.unwrap();
        let length = thing.to_string().len() as u64;
        assert_eq!(response.content_length(), Some(length), "{}", client.name());
        assert_eq!(response.json::<Value>().await.unwrap(), thing);
        assert_eq!(server.requests()[0].headers()["content-type"], "application/json");
    }
}

// R3
#[tokio::test]
async fn cookies_are_kept_and_sent() {
    for n in [0, 1] {
        let http = Client::builder().cookie_store(true).build().unwrap();
        let [one, other] = clients(&http);
        let (client, _) = if n == 0 { one } else { other };
        let server = Server::start(cookies()).await;
        for _ in 0..2 {
            let response = client.send(http.get(server.url("/"))).await.unwrap();
            assert_eq!(response.status(), 200, "{}", client.name());
            assert_eq!(response.cookies().count(), 1);
        }
        let cookies = |request: &http::Request<Bytes>| request.headers().get(COOKIE).cloned();
        let cookies: Vec<_> = server.requests().iter().map(cookies).collect();
        // A rejected request may set a cookie too, which its replay sends.
        let expected = [None, Some("n=1"), Some("n=2")];
        assert_eq!(cookies, expected.map(|text| text.map(http::HeaderValue::from_static)));
    }
}

/// Sets a cookie with the number of the request, and rejects the first one.
fn cookies() -> impl Fn(&http::Request<Bytes>) -> Response<Full<Bytes>> + Send + Sync {
    let count = AtomicUsize::new(1);
    move |_| {
        let n = count.fetch_add(1, Ordering::Relaxed);
        let mut response = respond(if n == 1 { 401 } else { 200 });
        response.headers_mut().insert(SET_COOKIE, format!("n={n}").parse().unwrap());
        response
    }
}

// R10
#[tokio::test]
async fn a_response_says_that_no_token_was_sent() {
    use tower_oauth2::service::NoTokenSent;
    use tower_oauth2::{OAuth2Layer, Origins};

    let http = Client::new();
    let change = |_| {
        let elsewhere = Origins::only("https://api.test").unwrap();
        OAuth2Layer::new(tokens(&source()), elsewhere)
    };
    for (client, _) in clients_with(&http, change) {
        let server = Server::accepting_from(0).await;
        let response = client.send(http.get(server.url("/"))).await.unwrap();
        assert_eq!(response.extensions().get(), Some(&NoTokenSent::NotListed), "{}", client.name());
        assert_eq!(server.authorizations(), [""]);
    }
}
