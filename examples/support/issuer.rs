//! A token endpoint that knows the tokens it issued.

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

/// The time for which an expired token is still accepted. APIs that allow for clock skew have one
/// too.
///
/// It keeps the counts of requests the same on a slow machine.
const LEEWAY: Duration = Duration::from_secs(5);

/// Clones share their tokens and counts.
#[derive(Clone)]
pub(crate) struct Issuer {
    terms: Arc<Mutex<Terms>>,
    state: Arc<Mutex<State>>,
}

/// Settings of the next tokens.
#[derive(Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) lifetime: Duration,
    /// The time that issuing a token takes.
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
    /// Creates an issuer whose tokens live for an hour.
    pub(crate) fn new() -> Self {
        let terms = Terms { lifetime: Duration::from_secs(3600), pause: Duration::ZERO };
        Self { terms: Arc::new(Mutex::new(terms)), state: Arc::default() }
    }

    /// Serves a token endpoint, and returns its URL.
    pub(crate) async fn serve(&self) -> io::Result<String> {
        Ok(format!("{}/token", server::serve(self.clone()).await?))
    }

    pub(crate) fn terms(&self) -> MutexGuard<'_, Terms> {
        lock(&self.terms)
    }

    pub(crate) fn revoke_all(&self) {
        lock(&self.state).tokens.values_mut().for_each(|token| token.is_revoked = true);
    }

    /// Returns whether the token was issued here, is not expired and was not revoked. An API calls
    /// it once for each request, because it counts them.
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

    /// Returns the counts of all requests so far.
    pub(crate) fn wire(&self) -> Wire {
        lock(&self.state).wire
    }

    /// Returns a token response or an error response (RFC 6749 sections 5.1 and 5.2).
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

/// Returns true if the form has the grant type `client_credentials`. Ignores other parameters.
fn is_client_credentials(request: &Request<Bytes>) -> bool {
    request.method() == Method::POST
        && form_urlencoded::parse(request.body())
            .any(|(name, value)| name == "grant_type" && value == "client_credentials")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
