use std::error::Error;

use reqwest::Client;
use reqwest_middleware::ClientBuilder;
use tower_oauth2::http_client::{AuthorizedClient, OAuth2Middleware};
use tower_oauth2::{OAuth2Layer, Origins, TokenEndpoint, TokenError, TokenErrorKind, Tokens};

use crate::support::*;

/// Returns the `reqwest::Error` in a chain of sources.
fn find_reqwest<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a reqwest::Error> {
    std::iter::successors(Some(error), |&error| error.source()).find_map(|e| e.downcast_ref())
}

#[tokio::test]
async fn a_failed_connection_is_the_error_of_reqwest() {
    let (http, url) = (Client::new(), unreachable_url().await);
    let [(client, _), (middleware, _)] = clients(&http);

    let error = client.send(http.get(&url)).await.unwrap_err();
    assert!(find_reqwest(&*error).unwrap().is_connect());
    assert!(TokenError::find_in(&*error).is_none());

    let error = middleware.send(http.get(&url)).await.unwrap_err();
    let error = error.downcast::<reqwest_middleware::Error>().unwrap();
    assert!(error.is_connect());
    assert_eq!(error.url().unwrap().as_str(), url);
}

#[tokio::test]
async fn a_request_that_cannot_be_built_is_the_error_of_reqwest() {
    let http = Client::new();
    for (client, source) in clients(&http) {
        let error = client.send(http.get("not a URL")).await.unwrap_err();
        assert!(find_reqwest(&*error).unwrap().is_builder(), "{}", client.name());
        // reqwest accepts this URL, and no request can be sent to it.
        let error = client.send(http.get("http://{{host}}/")).await.unwrap_err();
        assert!(TokenError::find_in(&*error).is_none(), "{}", client.name());
        assert_eq!(source.count(), 0, "{}", client.name());
    }
}

// W5, X3
#[tokio::test]
async fn a_missing_token_is_found_in_the_error_with_its_cause() {
    let (http, url) = (Client::new(), unreachable_url().await);
    let layer = || {
        let auth = tower_oauth2::ClientAuth::none("client-id");
        let url = format!("{url}?key=s3cr3t-key");
        let credentials = tower_oauth2::Credentials::new(url, auth).unwrap();
        let endpoint = TokenEndpoint::new(http.clone());
        let endpoint = endpoint.retry(tower_oauth2::source::TokenRetry::none());
        OAuth2Layer::new(Tokens::new(credentials, endpoint), Origins::any())
    };
    let client = Http::Client(AuthorizedClient::new(http.clone(), layer()));
    let middleware = OAuth2Middleware::new(layer());
    let middleware = ClientBuilder::new(http.clone()).with(middleware).build();
    for client in [client, Http::Middleware(middleware)] {
        let error = client.send(http.get("https://api.test/")).await.unwrap_err();
        let found = TokenError::find_in(&*error).unwrap();
        assert_eq!(found.kind(), TokenErrorKind::Transport, "{}", client.name());
        assert!(found.is_transient());
        assert_eq!(error.to_string(), found.to_string());
        assert!(find_reqwest(&*error).unwrap().is_connect());
        assert!(
            std::iter::successors(Some(&*error as &dyn Error), |&error| error.source())
                .all(|error| !format!("{error} {error:?}").contains("s3cr3t"))
        );
    }
}

#[tokio::test]
async fn the_error_of_a_middleware_says_that_no_token_is_available() {
    let layer = OAuth2Layer::per_request(Origins::any());
    let client = ClientBuilder::new(Client::new()).with(OAuth2Middleware::new(layer)).build();
    let error = client.get("https://api.test/").send().await.unwrap_err();
    assert!(error.is_middleware());
    assert_eq!(TokenError::find_in(&error).unwrap().kind(), TokenErrorKind::NoTokens);
}
