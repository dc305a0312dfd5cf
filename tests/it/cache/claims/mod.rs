//! R7: claims that an API requires of the next token, and token endpoints that refuse them.

mod joined;
mod refused;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tokio::time::sleep;
use tower::{BoxError, Layer, Service, ServiceExt};
use tower_oauth2::{
    ClientCredentials, OAuth2Layer, Origins, Replayed, TokenCache, TokenEndpoint, TokenError,
};

use super::secs;
use crate::support::*;

/// Each API requires one claim of its tokens, named like this, or none.
const NBF: &str = "nbf";
const ACRS: &str = "acrs";

/// Answers every token with 200.
const PLAIN: &str = "plain.test";
/// Requires [`NBF`].
const A: &str = "a.test";
/// Requires [`ACRS`].
const B: &str = "b.test";
/// Rejects `token-1` without a challenge.
const REVOKING: &str = "revoking.test";

fn claims(member: &str) -> Value {
    json!({"access_token": {member: {"essential": true, "value": "1"}}})
}

type Status = dyn Fn(usize, &[String]) -> u16 + Send + Sync;

/// A token endpoint that issues `token-1`, `token-2`, ... and records the claims of each request.
#[derive(Clone)]
struct Endpoint {
    status: Arc<Status>,
    delay: Duration,
    requested: Arc<Mutex<Vec<Vec<String>>>>,
}

impl Endpoint {
    /// Answers request number n, from 1, with the status that `status` returns for its claims.
    fn new(status: impl Fn(usize, &[String]) -> u16 + Send + Sync + 'static) -> Self {
        Self { status: Arc::new(status), delay: Duration::ZERO, requested: Arc::default() }
    }

    /// Answers every request that has claims with 400.
    fn refusing() -> Self {
        Self::new(|_, claims| if claims.is_empty() { 200 } else { 400 })
    }

    fn delayed(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// Returns the names of the claims of each request, in alphabetical order.
    fn requested(&self) -> Vec<Vec<String>> {
        self.requested.lock().unwrap().clone()
    }

    /// Returns whether `token-<n>` was requested with this claim.
    fn has_granted(&self, n: usize, claim: &str) -> bool {
        self.requested.lock().unwrap()[n - 1].iter().any(|known| known == claim)
    }
}

impl Service<Request<Full<Bytes>>> for Endpoint {
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let endpoint = self.clone();
        Box::pin(async move {
            let claims = claim_names(&request.into_body().collect().await?.to_bytes());
            let n = {
                let mut requested = endpoint.requested.lock().unwrap();
                requested.push(claims.clone());
                requested.len()
            };
            let status = (endpoint.status)(n, &claims);
            sleep(endpoint.delay).await;
            let body = match status {
                200 => format!(r#"{{"access_token":"token-{n}","expires_in":3600}}"#),
                400 => r#"{"error":"invalid_request"}"#.to_owned(),
                _ => String::new(),
            };
            Ok(Response::builder().status(status).body(Full::from(body))?)
        })
    }
}

/// Returns the names of all claims of an access token that a token request has.
fn claim_names(form: &[u8]) -> Vec<String> {
    let parameters = form_urlencoded::parse(form);
    let texts = parameters.filter(|(name, _)| name == "claims").map(|(_, value)| value);
    let mut names: Vec<_> = texts
        .flat_map(|text| {
            let claims = serde_json::from_str::<Value>(&text).unwrap();
            let members = claims["access_token"].as_object().unwrap();
            members.keys().cloned().collect::<Vec<_>>()
        })
        .collect();
    names.sort();
    names
}

/// A cache over an [`Endpoint`], and the APIs at the four hosts.
struct Setup {
    endpoint: Endpoint,
    cache: TokenCache,
    layer: OAuth2Layer,
    api: Api,
}

impl Setup {
    /// Creates the setup with `token-1` in the cache, which was requested without claims.
    async fn new(endpoint: Endpoint) -> Self {
        Self::with_credentials(endpoint, credentials()).await
    }

    async fn with_credentials(endpoint: Endpoint, credentials: ClientCredentials) -> Self {
        let cache = TokenCache::new(credentials, TokenEndpoint::new(endpoint.clone()));
        cache.warm().await.unwrap();
        let origins = [PLAIN, A, B, REVOKING].map(|host| format!("https://{host}"));
        let layer = OAuth2Layer::new(cache.clone(), Origins::only(origins).unwrap());
        let issued = endpoint.clone();
        let api = Api::new(move |request| answer(&issued, request));
        Self { endpoint, cache, layer, api }
    }

    /// Sends a request to an API. The later a host stands in the list, the later it answers.
    fn send(
        &self,
        host: &str,
    ) -> impl Future<Output = Result<Response<Full<Bytes>>, BoxError>> + Send + 'static {
        let hosts = [PLAIN, REVOKING, A, B];
        let delay = hosts.iter().position(|&known| known == host).unwrap();
        let api = self.api.clone();
        let delayed = tower::service_fn(move |request: Request<Full<Bytes>>| {
            let api = api.clone();
            async move {
                let response = api.oneshot(request).await;
                sleep(Duration::from_millis(delay as u64)).await;
                response
            }
        });
        let request = Request::get(format!("https://{host}/")).body(Full::default()).unwrap();
        self.layer.layer(delayed).oneshot(request)
    }

    /// Sends a request and returns the status of its response and its mark.
    async fn status(&self, host: &str) -> (u16, Option<Replayed>) {
        status(self.send(host).await)
    }
}

/// Returns the status of a response, and how the response is marked.
#[track_caller]
fn status(response: Result<Response<Full<Bytes>>, BoxError>) -> (u16, Option<Replayed>) {
    let response = response.unwrap();
    (response.status().as_u16(), response.extensions().get().copied())
}

fn replayed(status: u16) -> (u16, Option<Replayed>) {
    (status, Some(Replayed::Yes))
}

fn answer(endpoint: &Endpoint, request: &Request<Full<Bytes>>) -> Response<Full<Bytes>> {
    let token = request.headers()[AUTHORIZATION].to_str().unwrap();
    let n: usize = token.strip_prefix("Bearer token-").unwrap().parse().unwrap();
    let mut response = Response::builder();
    let is_accepted = match request.uri().host().unwrap() {
        A => endpoint.has_granted(n, NBF),
        B => endpoint.has_granted(n, ACRS),
        REVOKING => n > 1,
        _ => true,
    };
    if !is_accepted {
        response = response.status(401);
        let required = match request.uri().host().unwrap() {
            A => Some(NBF),
            B => Some(ACRS),
            _ => None,
        };
        if let Some(required) = required {
            let encoded = BASE64_URL_SAFE_NO_PAD.encode(claims(required).to_string());
            let challenge = format!("Bearer error=\"insufficient_claims\", claims=\"{encoded}\"");
            response = response.header(WWW_AUTHENTICATE, challenge);
        }
    }
    response.body(Full::default()).unwrap()
}
