use http::Method;
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, USER_AGENT};
use http_body::Body as _;
use tower_oauth2::TokenErrorKind::{ErrorResponse, MalformedResponse};
use tower_oauth2::metadata::WellKnown;

use super::*;

/// An issuer, and the places of its two documents.
const PLACES: [(&str, &str, &str); 7] = [
    (
        "https://auth.test",
        "https://auth.test/.well-known/oauth-authorization-server",
        "https://auth.test/.well-known/openid-configuration",
    ),
    (
        "https://auth.test/",
        "https://auth.test/.well-known/oauth-authorization-server",
        "https://auth.test/.well-known/openid-configuration",
    ),
    (
        "https://auth.test/realms/one",
        "https://auth.test/.well-known/oauth-authorization-server/realms/one",
        "https://auth.test/realms/one/.well-known/openid-configuration",
    ),
    (
        "https://auth.test/realms/one/",
        "https://auth.test/.well-known/oauth-authorization-server/realms/one",
        "https://auth.test/realms/one/.well-known/openid-configuration",
    ),
    (
        "https://auth.test:8443/v2.0",
        "https://auth.test:8443/.well-known/oauth-authorization-server/v2.0",
        "https://auth.test:8443/v2.0/.well-known/openid-configuration",
    ),
    (
        "https://auth.test/a%2Fb",
        "https://auth.test/.well-known/oauth-authorization-server/a%2Fb",
        "https://auth.test/a%2Fb/.well-known/openid-configuration",
    ),
    (
        "http://[::1]:8080/x",
        "http://[::1]:8080/.well-known/oauth-authorization-server/x",
        "http://[::1]:8080/x/.well-known/openid-configuration",
    ),
];

/// Creates a server with the document at this place, and 404 at all others.
fn only_at(place: &'static str, issuer: &'static str) -> Api {
    let body = json!({ "issuer": issuer, "token_endpoint": ENDPOINT }).to_string();
    Api::new(
        move |request| {
            if *request.uri() == *place { answer(200, body.clone()) } else { answer(404, TEXT) }
        },
    )
}

// RFC 8414 sections 3.1 and 5, OpenID Connect Discovery 1.0 section 4
#[tokio::test]
async fn both_documents_are_found_at_their_places() {
    for (issuer, first, second) in PLACES {
        let http = only_at(first, issuer);
        let metadata = Metadata::fetch(issuer, http.clone()).await.unwrap();
        assert_eq!((metadata.issuer(), uris(&http)), (issuer, vec![first.to_owned()]));

        let http = only_at(second, issuer);
        Metadata::fetch(issuer, http.clone()).await.unwrap();
        assert_eq!(uris(&http), [first, second]);
    }
}

#[tokio::test]
async fn only_the_chosen_document_is_requested() {
    for (issuer, first, second) in PLACES {
        for (well_known, place, other) in [
            (WellKnown::OauthAuthorizationServer, first, second),
            (WellKnown::OpenidConfiguration, second, first),
        ] {
            let fetch = |http: &Api| {
                Metadata::builder(issuer).unwrap().well_known(well_known).fetch(http.clone())
            };
            let http = only_at(place, issuer);
            fetch(&http).await.unwrap();
            assert_eq!(uris(&http), [place]);

            let http = only_at(other, issuer);
            let error = fetch(&http).await.unwrap_err();
            assert_eq!((error.kind(), uris(&http)), (ErrorResponse, vec![place.to_owned()]));
            assert!(error.to_string().contains("answered with an error (status 404); "));
        }
    }
}

#[tokio::test]
async fn a_metadata_request_contains_no_secret() {
    let http = only_at(PLACES[0].2, ISSUER);
    Metadata::fetch(ISSUER, http.clone()).await.unwrap();
    for request in http.requests() {
        assert_eq!(request.method(), Method::GET);
        assert_eq!(request.headers()[ACCEPT], "application/json");
        assert!(!request.headers().contains_key(AUTHORIZATION));
        assert_eq!(request.headers()[ACCEPT_ENCODING], "identity");
        let user_agent = concat!("tower-oauth2/", env!("CARGO_PKG_VERSION"));
        assert_eq!(request.headers()[USER_AGENT], user_agent);
        assert_eq!((request.headers().len(), request.body().is_end_stream()), (3, true));
    }
}

// W7
#[tokio::test]
async fn a_first_response_without_a_document_leads_to_the_other_one() {
    for (status, body) in [
        (200, "<!doctype html>"),
        (200, "{}"),
        (200, r#"{"error":"not_found"}"#),
        (204, ""),
        (302, ""),
        (400, "{}"),
        (401, ""),
        (403, ""),
        (405, ""),
        (408, ""),
        (429, ""),
        (500, "<html>"),
        (502, ""),
        (503, ""),
    ] {
        let http = Api::new(move |request| match request.uri().path() {
            "/.well-known/openid-configuration" => answer(200, document().to_string()),
            _ => answer(status, body),
        });
        Metadata::fetch(ISSUER, http.clone()).await.unwrap();
        assert_eq!(http.count(), 2, "{status} {body}");
    }
}

#[tokio::test]
async fn without_a_document_the_error_is_the_first_that_is_no_404() {
    let page = |request: &http::Request<Full<Bytes>>, has_page: &str| {
        let is_there = request.uri().path().contains(has_page);
        if is_there { answer(200, "<html>") } else { answer(404, "") }
    };
    for place in ["oauth-authorization-server", "openid-configuration"] {
        let http = Api::new(move |request| page(request, place));
        let error = Metadata::fetch(ISSUER, http).await.unwrap_err();
        assert_eq!(error.kind(), MalformedResponse, "{place}");
    }
    let http = Api::new(|request| match request.uri().path() {
        "/.well-known/openid-configuration" => answer(500, ""),
        _ => answer(200, "<html>"),
    });
    let error = Metadata::fetch(ISSUER, http).await.unwrap_err();
    assert_eq!(error.kind(), MalformedResponse);
    let error = Metadata::fetch(ISSUER, always(404, "")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no metadata from https://auth.test: the endpoint answered with an error (status 404): \
         the issuer has neither oauth-authorization-server nor openid-configuration; check the issuer's URL"
    );
}

#[tokio::test]
async fn metadata_is_fetched_from_a_real_server() {
    // The document contains the address of the server.
    let (address, seen) = server(|request| async move {
        let issuer = format!("http://{}/realm", request.headers()["host"].to_str().unwrap());
        let body = json!({ "issuer": issuer, "token_endpoint": format!("{issuer}/token") });
        match request.uri().path() {
            "/realm/.well-known/openid-configuration" => answer(200, body.to_string()),
            _ => answer(404, "not here"),
        }
    })
    .await;
    let issuer = format!("http://{address}/realm");
    let metadata = Metadata::fetch(&issuer, client()).await.unwrap();
    assert_eq!(*metadata.token_endpoint(), *format!("{issuer}/token"));
    assert_eq!(seen.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn malformed_data_of_a_real_server_is_a_typed_error() {
    use tower_oauth2::TokenErrorKind::{IncompleteResponse, Transport};

    let body = document().to_string();
    let whole = response(200, &[], &body);
    for (sent, kind) in [
        (Vec::new(), Transport),
        (b"SSH-2.0-OpenSSH\r\n".to_vec(), Transport),
        (head(200, &["Content-Length: 0"]), MalformedResponse),
        (whole[..whole.len() - 1].to_vec(), IncompleteResponse),
    ] {
        let endpoint = RawEndpoint::closing_after(sent).await;
        let error = Metadata::fetch(endpoint.url(""), client()).await.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert_shows_no_secret(&error, "malformed");
    }
}
