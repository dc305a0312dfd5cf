use reqwest::Client;
use tower_oauth2::replay::{NotReplayed, Replayed};

use crate::support::*;

// R1, R3, R6
#[tokio::test]
async fn a_401_is_replayed_once_with_the_same_request() {
    let http = Client::new();
    for (client, source) in clients(&http) {
        let server = Server::accepting_from(2).await;
        let request = http.put(server.url("/things/1?a=b")).header("x-id", "7").body("thing");
        let response = client.send(request).await.unwrap();
        assert_eq!(response.status(), 200, "{}", client.name());
        assert_eq!(response.extensions().get(), Some(&Replayed::Yes));
        assert_eq!(source.count(), 2);
        assert_eq!(server.authorizations(), ["Bearer token-1", "Bearer token-2"]);
        for request in server.requests() {
            assert_eq!(request.method(), "PUT");
            assert_eq!(request.uri(), "/things/1?a=b");
            assert_eq!(request.headers()["x-id"], "7");
            assert_eq!(request.body(), "thing");
        }
    }
}

// R8
#[tokio::test(start_paused = true)]
async fn an_api_that_rejects_fresh_tokens_opens_the_breaker() {
    let _clock = FrozenClock::new();
    let http = Client::new();
    for (client, source) in clients(&http) {
        let server = Server::accepting_from(100).await;
        let mut outcomes = Vec::new();
        for _ in 0..10 {
            let response = client.send(http.get(server.url("/"))).await.unwrap();
            assert_eq!(response.status(), 401, "{}", client.name());
            outcomes.push(response.extensions().get().copied());
        }
        // The first request is replayed. Its second token is rejected too, and opens the breaker.
        assert_eq!(outcomes[0], Some(Replayed::Yes));
        assert_eq!(outcomes[9], Some(Replayed::No(NotReplayed::BreakerOpen)));
        assert!(source.count() <= 3, "{} token requests", source.count());
    }
}

// C2
#[tokio::test]
async fn concurrent_requests_share_one_token_request() {
    let http = Client::new();
    for (client, source) in clients(&http) {
        let server = Server::accepting_from(1).await;
        let sends = (0..20).map(|_| client.send(http.get(server.url("/"))));
        for response in futures_util::future::join_all(sends).await {
            assert_eq!(response.unwrap().status(), 200, "{}", client.name());
        }
        assert_eq!((source.count(), server.count()), (1, 20));
    }
}
