//! A token endpoint whose tokens live for two seconds, and which is often down.

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

/// Clones are the same one.
#[derive(Clone)]
pub(crate) struct Authority {
    state: Arc<Mutex<State>>,
    ledger: Ledger,
}

struct State {
    rng: Rng,
    weather: Weather,
    /// The number of the next token.
    next: u64,
    /// Those below are revoked.
    revoked: u64,
    /// When the last ones were issued, the newest at the end.
    issued: VecDeque<Instant>,
}

/// What it does at present.
#[derive(Clone, Copy, Debug)]
enum Weather {
    Fine,
    /// It answers, late.
    Slow,
    /// 503, now and then with `Retry-After`.
    Busy,
    /// `invalid_client`, which is no transient failure.
    Refuses,
    /// No answer ever.
    Hangs,
    /// The connection ends in the place of an answer.
    Resets,
    /// 200, and no token.
    Rubbish,
}

/// What the API thinks of a token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    Good(u64),
    /// Expired or revoked.
    Over(u64),
    /// It was never issued.
    Forged,
}

impl Authority {
    pub(crate) fn new(seed: u64, ledger: &Ledger) -> Self {
        let state = State {
            rng: Rng::with_seed(seed),
            weather: Weather::Fine,
            next: 0,
            revoked: 0,
            issued: VecDeque::new(),
        };
        Self { state: Arc::new(Mutex::new(state)), ledger: ledger.clone() }
    }

    /// Other weather, fine every other time. For how long it lasts.
    pub(crate) fn change(&self) -> Duration {
        use Weather::*;

        let mut state = self.lock();
        let bad = [Slow, Busy, Refuses, Hangs, Resets, Rubbish];
        state.weather = match state.weather {
            Fine => {
                let at = state.rng.usize(..bad.len());
                bad[at]
            }
            _ => Fine,
        };
        let is_fine = matches!(state.weather, Fine);
        if !is_fine {
            self.ledger.count("outages of the token endpoint");
        }
        Duration::from_millis(state.rng.u64(if is_fine { 500..3000 } else { 100..1200 }))
    }

    pub(crate) fn revoke_all(&self) {
        let mut state = self.lock();
        state.revoked = state.next;
        self.ledger.count("revocations");
    }

    /// What `Authorization` is worth.
    pub(crate) fn judge(&self, field: Option<&[u8]>) -> Token {
        let text = field.and_then(|field| std::str::from_utf8(field).ok());
        let number = text.and_then(|text| text.strip_prefix("Bearer token-")?.parse().ok());
        let state = self.lock();
        let Some(number) = number.filter(|number| *number < state.next) else {
            return Token::Forged;
        };
        let behind = usize::try_from(state.next - 1 - number).unwrap_or(usize::MAX);
        let issued = state.issued.len().checked_sub(behind.saturating_add(1));
        let is_alive = issued.is_some_and(|at| state.issued[at].elapsed() < LIFETIME);
        if is_alive && number >= state.revoked { Token::Good(number) } else { Token::Over(number) }
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
            self.ledger.broken("a token request without the client's secret");
        }
        body.collect().await?;
        let (weather, retry_after, pause) = {
            let mut state = self.lock();
            (state.weather, state.rng.u8(..4) == 0, state.rng.u64(..4))
        };
        sleep(Duration::from_millis(pause)).await;
        match weather {
            Weather::Fine => Ok(self.issue()),
            Weather::Slow => {
                sleep(Duration::from_millis(50 + 100 * pause)).await;
                Ok(self.issue())
            }
            Weather::Busy => {
                let mut response = respond(503, "<html>busy</html>");
                if retry_after {
                    response.headers_mut().insert(RETRY_AFTER, 1.into());
                }
                Ok(response)
            }
            Weather::Refuses => Ok(respond(401, r#"{"error":"invalid_client"}"#)),
            Weather::Hangs => pending().await,
            Weather::Resets => Err("broken off".into()),
            Weather::Rubbish => Ok(respond(200, "<html>welcome</html>")),
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
    *response.status_mut() = StatusCode::from_u16(status).expect("it is one");
    response
}
