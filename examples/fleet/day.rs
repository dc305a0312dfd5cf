//! The simulated token endpoint and API, with the events of a day.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use tokio::time::{Instant, sleep};
use tower::Service;

use crate::tally::Tally;

/// Latency from a client to the API.
const ONE_WAY: Duration = Duration::from_millis(25);

/// The parameters of a simulation.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) processes: u32,
    pub(crate) hours: u32,
    /// The lifetime of a token.
    pub(crate) lifetime: Duration,
    /// The mean time between two calls of one process.
    pub(crate) every: Duration,
    /// The round-trip time of a token request.
    pub(crate) latency: Duration,
    /// When the token endpoint is down.
    pub(crate) outage: Range<Duration>,
    /// When all tokens issued before are revoked.
    pub(crate) revoked: Duration,
    pub(crate) seed: u64,
}

impl Plan {
    pub(crate) fn length(&self) -> Duration {
        Duration::from_secs(3600 * u64::from(self.hours))
    }
}

/// The state of a simulation.
pub(crate) struct Day {
    pub(crate) plan: Plan,
    pub(crate) tally: Tally,
    started: Instant,
    issued: AtomicU64,
}

/// A token: the time of its issue and a unique number.
#[derive(Clone, Copy)]
pub(crate) struct Token {
    issued_at: Duration,
    number: u64,
}

impl Token {
    fn to_text(self) -> String {
        format!("{}-{}", self.issued_at.as_millis(), self.number)
    }

    fn from_header(value: &HeaderValue) -> Option<Self> {
        let (issued_at, number) = value.to_str().ok()?.strip_prefix("Bearer ")?.split_once('-')?;
        let issued_at = Duration::from_millis(issued_at.parse().ok()?);
        Some(Self { issued_at, number: number.parse().ok()? })
    }
}

impl Day {
    pub(crate) fn new(plan: &Plan) -> Arc<Self> {
        Arc::new(Self {
            plan: plan.clone(),
            tally: Tally::new(plan),
            started: Instant::now(),
            issued: AtomicU64::new(0),
        })
    }

    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Requests a token, and returns `None` if the token endpoint is down.
    pub(crate) async fn token_request(&self) -> Option<Token> {
        let arrived = self.now() + self.plan.latency / 2;
        let is_down = self.plan.outage.contains(&arrived);
        self.tally.token_request(arrived, is_down);
        sleep(self.plan.latency).await;
        let number = self.issued.fetch_add(1, Ordering::Relaxed);
        (!is_down).then_some(Token { issued_at: arrived, number })
    }

    /// Returns whether the API accepts a token that is sent now. The API allows no leeway for
    /// clocks.
    pub(crate) fn accepts(&self, token: Token) -> bool {
        let arrived = self.now() + ONE_WAY;
        let is_revoked = token.issued_at < self.plan.revoked && self.plan.revoked <= arrived;
        let is_accepted = !is_revoked && arrived < token.issued_at + self.plan.lifetime;
        self.tally.api_request(is_accepted);
        is_accepted
    }
}

/// The token endpoint, as an HTTP client.
#[derive(Clone)]
pub(crate) struct Issuer {
    pub(crate) day: Arc<Day>,
    /// The `refresh_in` of its responses.
    pub(crate) refresh_in: Option<Duration>,
}

impl Service<Request<Full<Bytes>>> for Issuer {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Full<Bytes>>) -> Self::Future {
        let Self { day, refresh_in } = self.clone();
        Box::pin(async move {
            let Some(token) = day.token_request().await else {
                let mut response = Response::default();
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                return Ok(response);
            };
            let refresh_in = match refresh_in {
                Some(refresh_in) => format!(r#","refresh_in":{}"#, refresh_in.as_secs()),
                None => String::new(),
            };
            let body = format!(
                r#"{{"access_token":"{}","token_type":"Bearer","expires_in":{}{refresh_in}}}"#,
                token.to_text(),
                day.plan.lifetime.as_secs(),
            );
            let mut response = Response::new(Full::from(body));
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(CONTENT_TYPE, json);
            Ok(response)
        })
    }
}

/// The API, as an HTTP client. It responds at once, because its latency has no effect on tokens.
#[derive(Clone)]
pub(crate) struct Api(pub(crate) Arc<Day>);

impl Service<Request<Full<Bytes>>> for Api {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let token = request.headers().get(AUTHORIZATION).and_then(Token::from_header);
        let mut response = Response::<Full<Bytes>>::default();
        if !token.is_some_and(|token| self.0.accepts(token)) {
            *response.status_mut() = StatusCode::UNAUTHORIZED;
            let challenge = HeaderValue::from_static(r#"Bearer error="invalid_token""#);
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        ready(Ok(response))
    }
}
