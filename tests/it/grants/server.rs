//! A token endpoint that accepts each refresh token once.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::sleep;
use tower::Service;

use super::{HttpRequest, HttpResponse, answer, form, member};

/// Clones share their state.
#[derive(Clone, Default)]
pub struct Rotating(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// The refresh token that is accepted.
    present: String,
    used: Vec<String>,
    issued: usize,
    /// The number of requests in progress, and its maximum.
    under_way: (usize, usize),
    pause: Duration,
    rotates: bool,
}

impl Rotating {
    /// Creates a server that accepts `r-1`, then `r-2`, and so on.
    pub fn new() -> Self {
        let server = Self::default();
        server.grant("r-1");
        server.0.lock().unwrap().rotates = true;
        server
    }

    /// Creates a server that answers after a pause.
    pub fn slow(pause: Duration) -> Self {
        let server = Self::new();
        server.0.lock().unwrap().pause = pause;
        server
    }

    /// Replaces the grant, as when the user authorizes again.
    pub fn grant(&self, refresh_token: &str) {
        self.0.lock().unwrap().present = refresh_token.to_owned();
    }

    /// Revokes the grant.
    pub fn revoke(&self) {
        self.grant("");
    }

    /// Returns the refresh tokens that were sent, in order.
    pub fn used(&self) -> Vec<String> {
        self.0.lock().unwrap().used.clone()
    }

    /// Returns the maximum number of requests in progress at once.
    pub fn most_at_once(&self) -> usize {
        self.0.lock().unwrap().under_way.1
    }
}

impl Service<HttpRequest> for Rotating {
    type Response = HttpResponse;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequest) -> Self::Future {
        let server = self.clone();
        Box::pin(async move {
            let form = form(&request).await;
            assert_eq!(member(&form, "grant_type"), Some("refresh_token"));
            let sent = member(&form, "refresh_token").unwrap().to_owned();
            let pause = {
                let mut state = server.0.lock().unwrap();
                state.under_way.0 += 1;
                state.under_way.1 = state.under_way.1.max(state.under_way.0);
                state.pause
            };
            sleep(pause).await;
            let mut state = server.0.lock().unwrap();
            state.under_way.0 -= 1;
            state.used.push(sent.clone());
            if state.present != sent {
                // A token that is used twice was stolen, so all are revoked (RFC 9700 section
                // 4.14.2).
                state.present.clear();
                return Ok(answer(400, r#"{"error":"invalid_grant"}"#));
            }
            state.issued += 1;
            let n = state.issued;
            let mut body =
                serde_json::json!({ "access_token": format!("token-{n}"), "expires_in": 3600 });
            if state.rotates {
                state.present = format!("r-{}", n + 1);
                body["refresh_token"] = state.present.as_str().into();
            }
            Ok(answer(200, body.to_string()))
        })
    }
}
