//! A token endpoint, and what it remembers of the tokens that it issued.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use tokio::time::Instant;

use crate::server::response;

pub(crate) const CLIENT_ID: &str = "client-id";
pub(crate) const CLIENT_SECRET: &str = "s3cr3t";

/// How long after its end a token is still accepted, as APIs do whose clocks differ a little. It
/// keeps the counts the same on a machine that is stalled between two lines.
const LEEWAY: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(crate) struct Issuer(Arc<Mutex<State>>);

struct State {
    /// Of the tokens that are still to be issued.
    lifetime: Duration,
    /// How long it takes to issue one.
    pause: Duration,
    requests: usize,
    tokens: HashMap<String, Token>,
}

struct Token {
    expires_at: Instant,
    is_revoked: bool,
}

impl Issuer {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            lifetime: Duration::from_secs(3600),
            pause: Duration::ZERO,
            requests: 0,
            tokens: HashMap::new(),
        })))
    }

    pub(crate) fn set_lifetime(&self, lifetime: Duration) {
        self.lock().lifetime = lifetime;
    }

    pub(crate) fn set_pause(&self, pause: Duration) {
        self.lock().pause = pause;
    }

    /// How many token requests there were.
    pub(crate) fn requests(&self) -> usize {
        self.lock().requests
    }

    pub(crate) fn revoke_all(&self) {
        self.lock().tokens.values_mut().for_each(|token| token.is_revoked = true);
    }

    /// Whether a request with these headers may pass: its token was issued here, lives, and was not
    /// revoked.
    pub(crate) fn accepts(&self, authorization: Option<&HeaderValue>) -> bool {
        let token = authorization
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "));
        let state = self.lock();
        token
            .and_then(|token| state.tokens.get(token))
            .is_some_and(|token| !token.is_revoked && Instant::now() < token.expires_at + LEEWAY)
    }

    /// A token response, or an error response (RFC 6749 sections 5.1 and 5.2).
    pub(crate) async fn issue(&self, request: Request<Bytes>) -> Response<Full<Bytes>> {
        let pause = {
            let mut state = self.lock();
            state.requests += 1;
            state.pause
        };
        tokio::time::sleep(pause).await;
        let (status, body) = if !is_authenticated(&request) {
            (StatusCode::UNAUTHORIZED, r#"{"error":"invalid_client"}"#.to_owned())
        } else if !is_client_credentials(&request) {
            (StatusCode::BAD_REQUEST, r#"{"error":"unsupported_grant_type"}"#.to_owned())
        } else {
            (StatusCode::OK, self.lock().issue())
        };
        let mut response = response(status, body);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn issue(&mut self) -> String {
        let text = format!("token-{}", self.tokens.len() + 1);
        let expires_in = self.lifetime.as_secs();
        let body = format!(
            r#"{{"access_token":"{text}","token_type":"Bearer","expires_in":{expires_in}}}"#
        );
        let expires_at = Instant::now() + self.lifetime;
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

fn is_client_credentials(request: &Request<Bytes>) -> bool {
    request.method() == Method::POST && *request.body() == "grant_type=client_credentials"
}
