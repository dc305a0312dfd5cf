use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderValue, Request, Response, StatusCode};
use shuttle::future::block_on;
use tower::{BoxError, Service, ServiceExt};
use tower_oauth2_races::{OAuth2, OAuth2Layer, Origins, RequestExt, Tokens};

use super::{BoxFuture, CacheFixture, Journal, PollStart, pause, token};

/// An API that answers 401 to tokens that it does not accept.
#[derive(Clone)]
pub struct Api {
    journal: Journal,
    rules: Arc<Mutex<Rules>>,
}

/// The rules by which an API accepts tokens, and the tokens that it received.
#[derive(Default)]
pub struct Rules {
    /// Tokens of calls of the source up to this one are revoked.
    pub revoked_through: usize,
    /// The API accepts no token at all.
    pub accepts_none: bool,
    /// The JSON member that the claims of a token must have.
    pub required_claim: Option<&'static str>,
    /// The API is not ready for another request.
    is_busy: bool,
    /// Responses wait while this is set.
    is_holding_back: bool,
    /// Wakes those who wait for a change of one of these two.
    waiting: Vec<Waker>,
    /// The calls of the source that brought the tokens that were sent here.
    pub sent: Vec<usize>,
}

/// Carries the start of the current poll of a request to the API.
#[derive(Clone)]
struct CurrentPoll(Arc<Mutex<PollStart>>);

impl Api {
    pub fn new(fixture: &CacheFixture) -> Self {
        Self { journal: fixture.journal.clone(), rules: Arc::default() }
    }

    pub fn rules(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap()
    }

    pub fn sent(&self) -> Vec<usize> {
        self.rules().sent.clone()
    }

    /// Revokes all tokens that were requested so far.
    pub fn revoke_all(&self) {
        self.rules().revoked_through = self.journal.count();
    }

    /// Returns a service that sends requests to this API with the fixture's own tokens.
    pub fn service(&self, fixture: &CacheFixture) -> OAuth2<Self> {
        OAuth2Layer::new(fixture.tokens.clone(), Origins::any()).layer(self.clone())
    }

    /// Makes the API not ready until [`release`](Self::release).
    pub fn make_busy(&self) {
        self.rules().is_busy = true;
    }

    /// Lets responses wait until [`release`](Self::release). They are decided before.
    pub fn hold_back(&self) {
        self.rules().is_holding_back = true;
    }

    pub fn release(&self) {
        let waiting = {
            let mut rules = self.rules();
            (rules.is_busy, rules.is_holding_back) = (false, false);
            std::mem::take(&mut rules.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    fn answer(&self, call: usize) -> Response<()> {
        let mut response = Response::new(());
        let mut rules = self.rules();
        rules.sent.push(call);
        if rules.accepts_none || call <= rules.revoked_through {
            *response.status_mut() = StatusCode::UNAUTHORIZED;
        } else if let Some(claim) = rules.required_claim {
            let calls = self.journal.calls();
            let claims = calls[call - 1].request.claims().unwrap_or_default();
            if !claims.contains(&format!("\"{claim}\"")) {
                *response.status_mut() = StatusCode::UNAUTHORIZED;
                let wanted = BASE64_STANDARD.encode(format!("{{\"{claim}\":{{}}}}"));
                let challenge = format!("Bearer claims=\"{wanted}\"");
                let challenge = HeaderValue::try_from(challenge).unwrap();
                response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            }
        }
        response
    }
}

impl Service<Request<()>> for Api {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        let mut rules = self.rules();
        if rules.is_busy {
            rules.waiting.push(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        let header = request.headers()[AUTHORIZATION].to_str().unwrap();
        let call: usize = header.strip_prefix("Bearer token-").unwrap().parse().unwrap();
        if let Some(CurrentPoll(start)) = request.extensions().get() {
            self.journal.assert_may_be_sent(&token(call), *start.lock().unwrap());
        }
        let response = self.answer(call);
        let api = self.clone();
        Box::pin(async move {
            pause().await;
            poll_fn(|cx| {
                let mut rules = api.rules();
                if rules.is_holding_back {
                    rules.waiting.push(cx.waker().clone());
                    return Poll::Pending;
                }
                Poll::Ready(())
            })
            .await;
            Ok(response)
        })
    }
}

pub fn request() -> Request<()> {
    Request::get("https://api.test/").body(()).unwrap()
}

/// Sends a request, and asserts at each send that no test has rejected the token.
pub fn try_send(service: &OAuth2<Api>) -> Result<Response<()>, BoxError> {
    try_send_to(service, "https://api.test/")
}

/// Sends a request to another URI.
pub fn try_send_to(service: &OAuth2<Api>, uri: &str) -> Result<Response<()>, BoxError> {
    try_send_request(service, Request::get(uri).body(()).unwrap())
}

/// Sends a request that names its tokens.
pub fn send_with(service: &OAuth2<Api>, tokens: &Tokens) -> Response<()> {
    try_send_request(service, request().tokens(tokens)).unwrap()
}

fn try_send_request(
    service: &OAuth2<Api>,
    mut request: Request<()>,
) -> Result<Response<()>, BoxError> {
    let journal = service.get_ref().journal.clone();
    let start = Arc::new(Mutex::new(journal.poll_start()));
    request.extensions_mut().insert(CurrentPoll(start.clone()));
    let mut response = pin!(service.clone().oneshot(request));
    block_on(poll_fn(|cx| {
        *start.lock().unwrap() = journal.poll_start();
        response.as_mut().poll(cx)
    }))
}

pub fn send(service: &OAuth2<Api>) -> Response<()> {
    try_send(service).unwrap()
}

/// Calls a service that is ready, and drops the response.
pub fn call_and_drop(service: &mut OAuth2<Api>) {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    drop(service.call(request()));
}
