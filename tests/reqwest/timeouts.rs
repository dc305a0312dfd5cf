use std::future::pending;
use std::time::Duration;

use reqwest::Client;
use reqwest_middleware::ClientBuilder;
use tokio::time::Instant;
use tower_oauth2::http_client::{AuthorizedClient, OAuth2Middleware};
use tower_oauth2::testing::ScriptedSource;
use tower_oauth2::{BoxError, TokenError, TokenErrorKind};

use crate::support::*;

const SECOND: Duration = Duration::from_secs(1);

/// Creates a client of each kind over sources that never issue the `last` token.
fn without_token(http: &Client, last: usize) -> [Http; 2] {
    let source = || {
        ScriptedSource::new(move |n, _| async move {
            if n == last {
                if n > 1 {
                    // No connection is waited for any more.
                    tokio::time::pause();
                }
                pending::<()>().await;
            }
            Ok(hour(n))
        })
    };
    let client = AuthorizedClient::new(http.clone(), layer(&source()));
    let middleware = OAuth2Middleware::new(layer(&source()));
    let middleware = ClientBuilder::new(http.clone()).with(middleware).build();
    [Http::Client(client), Http::Middleware(middleware)]
}

/// Starts a server that accepts connections and never answers.
async fn silent_server() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut connections = Vec::new();
        loop {
            connections.push(listener.accept().await.unwrap());
        }
    });
    url
}

fn find_reqwest(error: &BoxError) -> &reqwest::Error {
    let direct = error.downcast_ref::<reqwest::Error>();
    direct
        .or_else(|| match error.downcast_ref() {
            Some(reqwest_middleware::Error::Reqwest(error)) => Some(error),
            _ => None,
        })
        .unwrap_or_else(|| panic!("{error:?}"))
}

// R5
#[tokio::test(start_paused = true)]
async fn the_timeout_of_a_request_bounds_the_wait_for_a_token() {
    let http = Client::new();
    for client in without_token(&http, 1) {
        let start = Instant::now();
        let request = http.get("https://api.test/").timeout(5 * SECOND);
        let error = client.send(request).await.unwrap_err();
        let error = TokenError::find_in(&*error).unwrap();
        assert_eq!(error.kind(), TokenErrorKind::Timeout, "{}", client.name());
        assert!(error.to_string().contains("the timeout of the request has passed"), "{error}");
        assert_eq!(start.elapsed().as_secs(), 5);
    }
}

// R2, R5
#[test]
fn the_timeout_of_a_request_bounds_its_replay_too() {
    for n in [0, 1] {
        // Each client has a runtime of its own, because its source pauses the clock.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let http = Client::new();
            let server = Server::accepting_from(2).await;
            let client = &without_token(&http, 2)[n];
            let request = http.get(server.url("/")).timeout(60 * SECOND);
            let error = client.send(request).await.unwrap_err();
            let error = TokenError::find_in(&*error).unwrap();
            assert_eq!(error.kind(), TokenErrorKind::Timeout, "{}", client.name());
            assert!(error.to_string().contains("the timeout of the request has passed"), "{error}");
            assert_eq!(error.rejected_response().unwrap().status(), 401);
        });
    }
}

#[tokio::test(start_paused = true)]
async fn the_timeout_of_a_request_bounds_its_response() {
    let http = Client::new();
    let url = silent_server().await;
    for (client, _) in clients(&http) {
        let start = Instant::now();
        let error = client.send(http.get(&url).timeout(5 * SECOND)).await.unwrap_err();
        assert!(find_reqwest(&error).is_timeout(), "{}: {error:?}", client.name());
        assert_eq!(start.elapsed().as_secs(), 5);
    }
}

// R5
#[tokio::test(start_paused = true)]
async fn the_wait_for_a_token_counts_towards_the_timeout() {
    let http = Client::new();
    let url = silent_server().await;
    let slow = || {
        ScriptedSource::new(|n, _| async move {
            tokio::time::sleep(3 * SECOND).await;
            Ok(hour(n))
        })
    };
    let client = Http::Client(AuthorizedClient::new(http.clone(), layer(&slow())));
    let middleware = OAuth2Middleware::new(layer(&slow()));
    let middleware = ClientBuilder::new(http.clone()).with(middleware).build();
    for client in [client, Http::Middleware(middleware)] {
        let start = Instant::now();
        let error = client.send(http.get(&url).timeout(5 * SECOND)).await.unwrap_err();
        assert!(find_reqwest(&error).is_timeout(), "{}: {error:?}", client.name());
        assert_eq!(start.elapsed().as_secs(), 5);
    }
}

#[tokio::test(start_paused = true)]
async fn the_timeout_of_a_client_bounds_each_send() {
    let http = Client::builder().timeout(5 * SECOND).build().unwrap();
    let url = silent_server().await;
    for (client, _) in clients(&http) {
        let start = Instant::now();
        let error = client.send(http.get(&url)).await.unwrap_err();
        assert!(find_reqwest(&error).is_timeout(), "{}: {error:?}", client.name());
        assert_eq!(start.elapsed().as_secs(), 5);
    }
}

#[tokio::test]
async fn a_timeout_beyond_the_clock_is_ignored() {
    let http = Client::new();
    for (client, _) in clients(&http) {
        let server = Server::accepting_from(2).await;
        let request = http.get(server.url("/")).timeout(Duration::MAX);
        let response = client.send(request).await.unwrap();
        assert_eq!(response.status(), 200, "{}", client.name());
    }
}
