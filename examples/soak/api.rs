//! An API that requires tokens, verifies every byte of request bodies, and fails at random.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::time::sleep;
use tower::BoxError;

use crate::body;
use crate::issuer::{Issuer, Token};
use crate::ledger::Ledger;

/// The header with the ID of a request.
pub(crate) const ID: &str = "x-request-id";

/// Clones share the random numbers.
#[derive(Clone)]
pub(crate) struct Api {
    issuer: Issuer,
    ledger: Ledger,
    rng: Arc<Mutex<Rng>>,
}

impl Api {
    pub(crate) fn new(seed: u64, issuer: &Issuer, ledger: &Ledger) -> Self {
        let rng = Arc::new(Mutex::new(Rng::with_seed(seed)));
        Self { issuer: issuer.clone(), ledger: ledger.clone(), rng }
    }

    pub(crate) async fn answer(
        self,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, BoxError> {
        let (head, mut incoming) = request.into_parts();
        let token = self.issuer.check(head.headers.get(AUTHORIZATION).map(HeaderValue::as_bytes));
        let number = match token {
            Token::Valid(number) | Token::Ended(number) => number,
            Token::Unknown => {
                self.ledger.broken("a request with a token that was never issued");
                return Err("unknown token".into());
            }
        };
        let id = head.headers.get(ID).and_then(|id| id.to_str().ok()?.parse().ok());
        let id: u64 = id.ok_or("no request ID")?;
        let (index, len) = self.ledger.arrive(id, number).ok_or("unexpected request")?;

        let fault = self.rng.lock().unwrap_or_else(PoisonError::into_inner).u16(..1000);
        // The API rejects some valid tokens.
        let is_rejected = matches!(token, Token::Ended(_)) || fault < 8;
        if is_rejected && fault % 2 == 0 {
            // The caller may still be sending its body.
            return Ok(self.respond(id, index, 401, false));
        }
        if (10..20).contains(&fault) {
            return Err("connection closed before the body was read".into());
        }
        let mut at = 0;
        while let Some(frame) = incoming.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            if !body::matches(id, at, &data) {
                self.ledger.broken(format!("request {id} has a wrong body at byte {at}"));
            }
            at += data.len();
        }
        if at != len {
            self.ledger.broken(format!("the body of request {id} ends after {at} of {len} bytes"));
        }
        if is_rejected {
            return Ok(self.respond(id, index, 401, true));
        }
        match fault {
            20..30 => return Err("connection closed after the body was read".into()),
            30..45 => return Ok(self.respond(id, index, 503, true)),
            45..50 => sleep(Duration::from_millis(300)).await,
            50..200 => sleep(Duration::from_millis(u64::from(fault / 10))).await,
            _ => {}
        }
        Ok(self.respond(id, index, 200, true))
    }

    fn respond(&self, id: u64, index: usize, status: u16, is_whole: bool) -> Response<Full<Bytes>> {
        self.ledger.answer(id, index, status, is_whole);
        let mut response = Response::new(Full::from(id.to_string()));
        *response.status_mut() =
            StatusCode::from_u16(status).expect("the status codes here are valid");
        if status == 401 {
            let challenge = HeaderValue::from_static(r#"Bearer error="invalid_token""#);
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
