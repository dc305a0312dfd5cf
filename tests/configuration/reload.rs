//! Tests that client tables keep their tokens when a file is read again.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::{BoxError, service_fn};
use tower_oauth2::TokenCache;
use tower_oauth2::config::Clients;

use crate::{clients, endpoint, public};

/// Sends a request with each client table, and returns the tokens that the APIs received.
async fn sent(clients: &Clients, cache: &TokenCache) -> Vec<String> {
    let mut tokens = Vec::new();
    for name in ["mail", "stock"] {
        let echo = service_fn(|request: Request<Full<Bytes>>| async move {
            let token = request.headers()["authorization"].to_str()?.to_owned();
            Ok::<_, BoxError>(Response::new(token))
        });
        let api = clients.get(name).unwrap().layer(cache).unwrap().layer(echo);
        let request = Request::get("https://api.test/").body(Full::default()).unwrap();
        tokens.push(api.send(request).await.unwrap().into_body());
    }
    tokens
}

fn file(mail: &str, stock: &str) -> Clients {
    clients(&format!("[mail]\n{}\n[stock]\n{}", public(mail), public(stock)))
}

#[tokio::test(start_paused = true)]
async fn unchanged_client_tables_keep_their_tokens() {
    let (http, cache) = endpoint();
    let before = file("scope = 'mail'", "scope = 'read'");
    assert_eq!(sent(&before, &cache).await, ["Bearer token-1", "Bearer token-2"]);
    let same = file("scope = 'mail'", "scope = 'read'");
    assert_eq!(sent(&same, &cache).await, ["Bearer token-1", "Bearer token-2"]);
    let changed = file("scope = 'mail'", "scope = 'read write'");
    assert_eq!(sent(&changed, &cache).await, ["Bearer token-1", "Bearer token-3"]);
    assert_eq!(http.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn equal_client_tables_share_a_token() {
    let (http, cache) = endpoint();
    let tokens = sent(&file("label = 'one'", "label = 'two'"), &cache).await;
    assert_eq!(tokens, ["Bearer token-1", "Bearer token-1"]);
    assert_eq!(http.count(), 1);
}
