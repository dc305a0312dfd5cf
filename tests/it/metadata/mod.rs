//! Tests the discovery of an issuer's metadata.

mod credentials;
mod documents;
mod from_issuer;
mod members;
mod places;
mod properties;
mod time;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use serde_json::{Value, json};
use tower_oauth2::TokenError;
use tower_oauth2::metadata::Metadata;

use crate::support::*;

const ISSUER: &str = "https://auth.test";
const ENDPOINT: &str = "https://auth.test/token";

/// Texts of a document that no error may contain.
const TEXT: &str = "t3xt-of-the-server";

fn document() -> Value {
    json!({ "issuer": ISSUER, "token_endpoint": ENDPOINT })
}

/// Returns a document with these members added or replaced.
fn with(members: Value) -> String {
    let mut all = document();
    all.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    all.to_string()
}

fn answer(status: u16, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::new(body.into())).unwrap()
}

/// Creates an HTTP client that gets this response to each request.
fn always(status: u16, body: impl Into<Bytes>) -> Api {
    let body = body.into();
    Api::new(move |_| answer(status, body.clone()))
}

fn uris(http: &Api) -> Vec<String> {
    http.requests().iter().map(|request| request.uri().to_string()).collect()
}

async fn metadata(members: Value) -> Metadata {
    Metadata::fetch(ISSUER, always(200, with(members))).await.unwrap()
}

/// Checks that an error is short and printable, and contains no text of the document.
fn assert_shows_no_secret(error: &TokenError, name: &str) {
    for text in [error.to_string(), format!("{error:?}")] {
        assert!(text.len() < 320, "{name}: {text}");
        assert!(text.chars().all(|c| c == ' ' || c.is_ascii_graphic()), "{name}: {text:?}");
        assert!(!text.contains(TEXT) && !text.contains("evil"), "{name}: {text}");
    }
}
