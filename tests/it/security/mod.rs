//! Tests which origins get a token, and which texts never contain secrets.

mod narrowed;
mod origins;
mod redaction;
mod redirects;
mod tenants;
mod transport;
mod tunnels;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tower::{BoxError, ServiceExt};
use tower_oauth2::{OAuth2Layer, Origins, TokenError, TokenErrorKind, Tokens};

use crate::support::{Api, ScriptedSource, credentials, hour};

type HttpRequest = Request<Full<Bytes>>;
type HttpResponse = Response<Full<Bytes>>;

/// Returns a layer for these origins, over a source of `token-<n>`.
fn layer_for(origins: Origins) -> (OAuth2Layer, ScriptedSource) {
    let source = ScriptedSource::tokens(hour);
    let tokens = Tokens::new(credentials(), source.clone());
    (OAuth2Layer::new(tokens, origins), source)
}

fn only(origins: &[&str]) -> Origins {
    Origins::only(origins).unwrap()
}

fn request(uri: &str) -> HttpRequest {
    Request::get(uri).body(Full::default()).unwrap()
}

async fn send(
    layer: &OAuth2Layer,
    api: &Api,
    request: HttpRequest,
) -> Result<HttpResponse, BoxError> {
    layer.layer(api.clone()).oneshot(request).await
}

fn kind(result: Result<HttpResponse, BoxError>) -> TokenErrorKind {
    TokenError::find_in(&*result.unwrap_err()).expect("a token error").kind()
}

fn status(result: Result<HttpResponse, BoxError>) -> StatusCode {
    result.unwrap().status()
}

/// Returns the response of a token endpoint.
fn token_response(token: &str) -> HttpResponse {
    Response::new(Full::from(format!(r#"{{"access_token":"{token}","expires_in":3600}}"#)))
}

// X5
#[test]
fn there_is_no_unsafe_code() {
    let root = include_str!("../../../src/lib.rs");
    assert!(root.lines().any(|line| line == "#![forbid(unsafe_code)]"));
}
