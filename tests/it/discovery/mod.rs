//! What an issuer says of itself, and what is made of it.

mod credentials;
mod documents;
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

/// What may not be told of a document.
const TEXT: &str = "t3xt-of-the-server";

fn document() -> Value {
    json!({ "issuer": ISSUER, "token_endpoint": ENDPOINT })
}

/// The document with more in it, or other things.
fn with(members: Value) -> String {
    let mut all = document();
    all.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    all.to_string()
}

fn answer(status: u16, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::new(body.into())).unwrap()
}

/// An HTTP client that gets this answer to everything.
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

/// Short, printable, without anything of the document's.
fn assert_tells_nothing(error: &TokenError, name: &str) {
    for text in [error.to_string(), format!("{error:?}")] {
        assert!(text.len() < 300, "{name}: {text}");
        assert!(text.chars().all(|c| c == ' ' || c.is_ascii_graphic()), "{name}: {text:?}");
        assert!(!text.contains(TEXT) && !text.contains("evil"), "{name}: {text}");
    }
}
