//! A token endpoint, and what it remembers of the tokens that it issued.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tokio::time::Instant;
use tower::Service;

use super::report::Wire;
use super::server;

pub(crate) const CLIENT_ID: &str = "client-id";
pub(crate) const CLIENT_SECRET: &str = "s3cr3t";

/// How long after its end a token is still accepted, as APIs do whose clocks differ a little. It
/// keeps the counts the same on a machine that is stalled between two lines.
const LEEWAY: Duration = Duration::from_secs(5);

/// Clones are the same one.
#[derive(Clone)]
pub(crate) struct Issuer {
    terms: Arc<Mutex<Terms>>,
    state: Arc<Mutex<State>>,
}

/// Of the tokens that are still to be issued.
#[derive(Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) lifetime: Duration,
    /// How long it takes to issue one.
    pub(crate) pause: Duration,
}

#[derive(Default)]
struct State {
    tokens: HashMap<String, Token>,
    wire: Wire,
}

struct Token {
    expires_at: Instant,
    is_revoked: bool,
}

impl Issuer {
    /// With no tokens yet, and those to come live for an hour.
    pub(crate) fn new() -> Self {
        let terms = Terms { lifetime: Duration::from_secs(3600), pause: Duration::ZERO };
        Self { terms: Arc::new(Mutex::new(terms)), state: Arc::default() }
    }

    /// Serves a token endpoint; returns its URL.
    pub(crate) async fn serve(&self) -> io::Result<String> {
        Ok(format!("{}/token", server::serve(self.clone()).await?))
    }

    pub(crate) fn terms(&self) -> MutexGuard<'_, Terms> {
        lock(&self.terms)
    }

    pub(crate) fn revoke_all(&self) {
        lock(&self.state).tokens.values_mut().for_each(|token| token.is_revoked = true);
    }

    /// Whether a request with these headers may pass: its token was issued here, lives, and was not
    /// revoked. Asked once for each request at an API.
    pub(crate) fn accepts(&self, headers: &HeaderMap) -> bool {
        let token = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "));
        let mut state = lock(&self.state);
        let is_accepted = token
            .and_then(|token| state.tokens.get(token))
            .is_some_and(|token| !token.is_revoked && Instant::now() < token.expires_at + LEEWAY);
        state.wire.api += 1;
        state.wire.rejected += usize::from(!is_accepted);
        is_accepted
    }

    /// All requests so far.
    pub(crate) fn wire(&self) -> Wire {
        lock(&self.state).wire
    }

    /// A token response, or an error response (RFC 6749 sections 5.1 and 5.2).
    async fn issue(self, request: Request<Bytes>) -> Response<Full<Bytes>> {
        lock(&self.state).wire.token_endpoint += 1;
        let Terms { lifetime, pause } = *self.terms();
        tokio::time::sleep(pause).await;
        let (status, body) = if !is_authenticated(&request) {
            (StatusCode::UNAUTHORIZED, r#"{"error":"invalid_client"}"#.to_owned())
        } else if !is_client_credentials(&request) {
            (StatusCode::BAD_REQUEST, r#"{"error":"unsupported_grant_type"}"#.to_owned())
        } else {
            (StatusCode::OK, lock(&self.state).issue(lifetime))
        };
        let mut response = Response::new(Full::from(body));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

impl<B> Service<Request<B>> for Issuer
where
    B: Body<Data: Send> + Send + 'static,
{
    type Response = Response<Full<Bytes>>;
    type Error = B::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let issuer = self.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok(issuer.issue(Request::from_parts(head, body)).await)
        })
    }
}

impl State {
    fn issue(&mut self, lifetime: Duration) -> String {
        let text = format!("token-{}", self.tokens.len() + 1);
        let expires_in = lifetime.as_secs();
        let body = format!(
            r#"{{"access_token":"{text}","token_type":"Bearer","expires_in":{expires_in}}}"#
        );
        let expires_at = Instant::now() + lifetime;
        self.tokens.insert(text, Token { expires_at, is_revoked: false });
        body
    }
}

fn is_authenticated(request: &Request<Bytes>) -> bool {
    let user_pass = BASE64_STANDARD.encode(format!("{CLIENT_ID}:{CLIENT_SECRET}"));
    request
        .headers()
        .get(AUTHORIZATION)
        .is_some_and(|value| *value == *format!("Basic {user_pass}"))
}

/// Whether the form asks for what this endpoint has; what else is in it makes no difference here.
fn is_client_credentials(request: &Request<Bytes>) -> bool {
    request.method() == Method::POST
        && form_urlencoded::parse(request.body())
            .any(|(name, value)| name == "grant_type" && value == "client_credentials")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
