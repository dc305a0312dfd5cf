//! R7: claims that an API requires of the next token, and their refusal.

mod challenged_every_time;
mod failing;
mod joined;
mod refused;
mod two_apis;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tokio::time::sleep;
use tower::{BoxError, Service, ServiceExt};
use tower_oauth2::replay::{NotReplayed, Replayed};
use tower_oauth2::source::TokenRetry;
use tower_oauth2::{
    Credentials, OAuth2Layer, Origins, TokenCache, TokenEndpoint, TokenError, Tokens,
};

use crate::support::*;

/// Each API requires one claim of its tokens, named like this, or none.
const NBF: &str = "nbf";
const ACRS: &str = "acrs";

/// Accepts every token.
const PLAIN: &str = "plain.test";
/// Requires [`NBF`].
const A: &str = "a.test";
/// Requires [`ACRS`].
const B: &str = "b.test";
/// Rejects `token-1` without a challenge.
const REVOKING: &str = "revoking.test";

/// Ends a token request without a response.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

fn claims(member: &str) -> Value {
    json!({"access_token": {member: {"essential": true, "value": "1"}}})
}

/// Returns a challenge that requires these claims.
fn challenge(required: &Value) -> String {
    let encoded = BASE64_URL_SAFE_NO_PAD.encode(required.to_string());
    format!("Bearer error=\"insufficient_claims\", claims=\"{encoded}\"")
}

/// The behavior of a token endpoint for one request.
#[derive(Clone, Copy, Debug)]
enum Answer {
    /// Answers with this status. A 200 has a token, and a 400 has an error code.
    Status(u16),
    /// Answers with 503 and this `Retry-After`, in seconds.
    RetryAfter(u64),
    /// Answers with 200 and a JSON object that has no token.
    NoToken,
    /// Closes the connection without a response.
    DroppedConnection,
    /// Keeps the connection open without a response.
    Silence,
}

impl From<u16> for Answer {
    fn from(status: u16) -> Self {
        Self::Status(status)
    }
}

impl Answer {
    /// Creates the response to request number n.
    async fn response(self, n: usize) -> Result<Response<Full<Bytes>>, BoxError> {
        let response = Response::builder();
        let (response, body) = match self {
            Self::Status(200) => {
                let body = format!(r#"{{"access_token":"token-{n}","expires_in":3600}}"#);
                (response, body)
            }
            Self::Status(400) => {
                (response.status(400), r#"{"error":"invalid_request"}"#.to_owned())
            }
            Self::Status(status) => (response.status(status), String::new()),
            Self::RetryAfter(pause) => {
                (response.status(503).header(RETRY_AFTER, pause), String::new())
            }
            Self::NoToken => (response, "{}".to_owned()),
            Self::DroppedConnection => return Err("connection closed".into()),
            Self::Silence => std::future::pending().await,
        };
        Ok(response.body(Full::from(body))?)
    }
}

type Behavior = dyn Fn(usize, &[String]) -> Answer + Send + Sync;

/// A token endpoint that issues `token-1`, `token-2`, ... and records the claims of each request.
#[derive(Clone)]
struct Endpoint {
    behavior: Arc<Behavior>,
    delay: Duration,
    requested: Arc<Mutex<Vec<Vec<String>>>>,
}

impl Endpoint {
    /// Responds to request number n, from 1, with the result of `behavior` for its claims.
    fn new<A: Into<Answer>>(
        behavior: impl Fn(usize, &[String]) -> A + Send + Sync + 'static,
    ) -> Self {
        let behavior = move |n, claims: &[String]| behavior(n, claims).into();
        Self { behavior: Arc::new(behavior), delay: Duration::ZERO, requested: Arc::default() }
    }

    /// Answers every request that has claims with 400.
    fn refusing() -> Self {
        Self::refusing_by(Answer::Status(400))
    }

    /// Answers every request that has claims with `refusal`.
    fn refusing_by(refusal: Answer) -> Self {
        Self::new(move |_, claims| if claims.is_empty() { Answer::Status(200) } else { refusal })
    }

    /// Creates a source over this endpoint that sends each token request once.
    fn source(&self) -> TokenEndpoint {
        TokenEndpoint::new(self.clone()).retry(TokenRetry::none())
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
            let answer = (endpoint.behavior)(n, &claims);
            sleep(endpoint.delay).await;
            answer.response(n).await
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
    tokens: Tokens,
    layer: OAuth2Layer,
    api: Api,
}

impl Setup {
    /// Creates the setup with `token-1` in the cache, which was requested without claims.
    async fn new(endpoint: Endpoint) -> Self {
        Self::with_credentials(endpoint, credentials()).await
    }

    async fn with_credentials(endpoint: Endpoint, credentials: Credentials) -> Self {
        let tokens = TokenCache::builder(endpoint.source())
            .fetch_timeout(FETCH_TIMEOUT)
            .build()
            .tokens(&credentials);
        tokens.warm().await.unwrap();
        let origins = [PLAIN, A, B, REVOKING].map(|host| format!("https://{host}"));
        let layer = OAuth2Layer::new(tokens.clone(), Origins::only(origins).unwrap());
        let issued = endpoint.clone();
        let api = Api::new(move |request| answer(&issued, request));
        Self { endpoint, tokens, layer, api }
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
                sleep(ms(delay as u64)).await;
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

fn claims_refused() -> (u16, Option<Replayed>) {
    (401, Some(Replayed::No(NotReplayed::ClaimsRefused)))
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
            response = response.header(WWW_AUTHENTICATE, challenge(&claims(required)));
        }
    }
    response.body(Full::default()).unwrap()
}
