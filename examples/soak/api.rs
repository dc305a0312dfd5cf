//! An API that lets nobody in without a token, looks at every byte, and has moods of its own.

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

use crate::authority::{Authority, Token};
use crate::body;
use crate::ledger::Ledger;

/// The number of a request.
pub(crate) const ID: &str = "x-request-id";

/// Clones are the same one.
#[derive(Clone)]
pub(crate) struct Api {
    authority: Authority,
    ledger: Ledger,
    rng: Arc<Mutex<Rng>>,
}

impl Api {
    pub(crate) fn new(seed: u64, authority: &Authority, ledger: &Ledger) -> Self {
        let rng = Arc::new(Mutex::new(Rng::with_seed(seed)));
        Self { authority: authority.clone(), ledger: ledger.clone(), rng }
    }

    pub(crate) async fn answer(
        self,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, BoxError> {
        let (head, mut incoming) = request.into_parts();
        let token =
            self.authority.judge(head.headers.get(AUTHORIZATION).map(HeaderValue::as_bytes));
        let number = match token {
            Token::Good(number) | Token::Over(number) => number,
            Token::Forged => {
                self.ledger.broken("a request with a token that was never issued");
                return Err("forged".into());
            }
        };
        let id = head.headers.get(ID).and_then(|id| id.to_str().ok()?.parse().ok());
        let id: u64 = id.ok_or("no number")?;
        let (place, len) = self.ledger.arrive(id, number).ok_or("not expected")?;

        let mood = self.rng.lock().unwrap_or_else(PoisonError::into_inner).u16(..1000);
        // Now and then it does not take a token that is good.
        let is_rejected = matches!(token, Token::Over(_)) || mood < 8;
        if is_rejected && mood % 2 == 0 {
            // The caller may be sending its body still.
            return Ok(self.respond(id, place, 401, false));
        }
        if (10..20).contains(&mood) {
            return Err("broken off before it was read".into());
        }
        let mut at = 0;
        while let Some(frame) = incoming.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            if !body::is_of(id, at, &data) {
                self.ledger.broken(format!("request {id} has another body at {at}"));
            }
            at += data.len();
        }
        if at != len {
            self.ledger.broken(format!("request {id} ends after {at} bytes of {len}"));
        }
        if is_rejected {
            return Ok(self.respond(id, place, 401, true));
        }
        match mood {
            20..30 => return Err("broken off after it was read".into()),
            30..45 => return Ok(self.respond(id, place, 503, true)),
            45..50 => sleep(Duration::from_millis(300)).await,
            50..200 => sleep(Duration::from_millis(u64::from(mood / 10))).await,
            _ => {}
        }
        Ok(self.respond(id, place, 200, true))
    }

    fn respond(&self, id: u64, place: usize, status: u16, is_whole: bool) -> Response<Full<Bytes>> {
        self.ledger.answer(id, place, status, is_whole);
        let mut response = Response::new(Full::from(id.to_string()));
        *response.status_mut() = StatusCode::from_u16(status).expect("it is one");
        if status == 401 {
            let challenge = HeaderValue::from_static(r#"Bearer error="invalid_token""#);
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
