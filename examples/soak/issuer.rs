//! A token endpoint that often fails. Its tokens live for two seconds.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use fastrand::Rng;
use http::header::{AUTHORIZATION, RETRY_AFTER};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::time::{Instant, sleep};
use tower::BoxError;

use crate::ledger::Ledger;

pub(crate) const CLIENT_ID: &str = "client-id";
pub(crate) const CLIENT_SECRET: &str = "s3cr3t";

const LIFETIME: Duration = Duration::from_secs(2);

/// Clones share their state.
#[derive(Clone)]
pub(crate) struct Issuer {
    state: Arc<Mutex<State>>,
    ledger: Ledger,
}

struct State {
    rng: Rng,
    fault: Option<Fault>,
    /// The number of the next token.
    next: u64,
    /// Tokens with a smaller number are revoked.
    revoked: u64,
    /// When the last tokens were issued, with the newest at the end.
    issued: VecDeque<Instant>,
}

/// A fault of the token endpoint.
#[derive(Clone, Copy)]
enum Fault {
    /// Responds late.
    Slow,
    /// Responds with 503, sometimes with `Retry-After`.
    Unavailable,
    /// Responds with `invalid_client`, which is a permanent error.
    InvalidClient,
    /// Never responds.
    Hang,
    /// Closes the connection instead of responding.
    Reset,
    /// Responds with 200 and a body that is not JSON.
    Malformed,
}

/// The state of a token that the API has received.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    Valid(u64),
    /// Expired or revoked.
    Ended(u64),
    /// Never issued.
    Unknown,
}

impl Issuer {
    pub(crate) fn new(seed: u64, ledger: &Ledger) -> Self {
        let state = State {
            rng: Rng::with_seed(seed),
            fault: None,
            next: 0,
            revoked: 0,
            issued: VecDeque::new(),
        };
        Self { state: Arc::new(Mutex::new(state)), ledger: ledger.clone() }
    }

    /// Starts a fault, or ends the current one. Returns the time until the next change.
    pub(crate) fn change(&self) -> Duration {
        use Fault::*;

        let mut state = self.lock();
        let faults = [Slow, Unavailable, InvalidClient, Hang, Reset, Malformed];
        state.fault = match state.fault {
            None => Some(faults[state.rng.usize(..faults.len())]),
            Some(_) => None,
        };
        if state.fault.is_some() {
            self.ledger.count("faults of the token endpoint");
        }
        let is_working = state.fault.is_none();
        Duration::from_millis(state.rng.u64(if is_working { 500..3000 } else { 100..1200 }))
    }

    pub(crate) fn revoke_all(&self) {
        let mut state = self.lock();
        state.revoked = state.next;
        self.ledger.count("revocations");
    }

    /// Returns the state of the token in an `Authorization` header.
    pub(crate) fn check(&self, field: Option<&[u8]>) -> Token {
        let text = field.and_then(|field| std::str::from_utf8(field).ok());
        let number = text.and_then(|text| text.strip_prefix("Bearer token-")?.parse().ok());
        let state = self.lock();
        let Some(number) = number.filter(|number| *number < state.next) else {
            return Token::Unknown;
        };
        let behind = usize::try_from(state.next - 1 - number).unwrap_or(usize::MAX);
        let issued = state.issued.len().checked_sub(behind.saturating_add(1));
        let is_alive = issued.is_some_and(|at| state.issued[at].elapsed() < LIFETIME);
        if is_alive && number >= state.revoked {
            Token::Valid(number)
        } else {
            Token::Ended(number)
        }
    }

    pub(crate) async fn answer(
        self,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, BoxError> {
        self.ledger.count("token requests");
        let user_pass = BASE64_STANDARD.encode(format!("{CLIENT_ID}:{CLIENT_SECRET}"));
        let (head, body) = request.into_parts();
        let authorization = head.headers.get(AUTHORIZATION);
        if authorization.is_none_or(|value| *value != *format!("Basic {user_pass}")) {
            self.ledger.broken("a token request without the client secret");
        }
        body.collect().await?;
        let (fault, retry_after, pause) = {
            let mut state = self.lock();
            (state.fault, state.rng.u8(..4) == 0, state.rng.u64(..4))
        };
        sleep(Duration::from_millis(pause)).await;
        match fault {
            None => Ok(self.issue()),
            Some(Fault::Slow) => {
                sleep(Duration::from_millis(50 + 100 * pause)).await;
                Ok(self.issue())
            }
            Some(Fault::Unavailable) => {
                let mut response = respond(503, "<html>busy</html>");
                if retry_after {
                    response.headers_mut().insert(RETRY_AFTER, 1.into());
                }
                Ok(response)
            }
            Some(Fault::InvalidClient) => Ok(respond(401, r#"{"error":"invalid_client"}"#)),
            Some(Fault::Hang) => pending().await,
            Some(Fault::Reset) => Err("connection closed".into()),
            Some(Fault::Malformed) => Ok(respond(200, "<html>welcome</html>")),
        }
    }

    fn issue(&self) -> Response<Full<Bytes>> {
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        state.issued.push_back(Instant::now());
        if state.issued.len() > 10_000 {
            state.issued.pop_front();
        }
        drop(state);
        let expires_in = LIFETIME.as_secs();
        respond(
            200,
            format!(
                r#"{{"access_token":"token-{number}","token_type":"Bearer","expires_in":{expires_in}}}"#
            ),
        )
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn respond(status: u16, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = StatusCode::from_u16(status).expect("the status codes here are valid");
    response
}
