//! A caller: it sends one request after the other, and has more or less patience.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use fastrand::Rng;
use http::{Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::time::{Instant, sleep, timeout};
use tower::{BoxError, Service, ServiceExt};
use tower_oauth2::replay::Replayed;
use tower_oauth2::{RequestExt, TokenError};

use crate::api::ID;
use crate::body;
use crate::ledger::{Ledger, Outcome};
use crate::stacks::{LIMIT, Stack, Tenants};

/// Nobody waits for longer than this, whatever is down.
const LONGEST: Duration = Duration::from_secs(30);

pub(crate) struct Caller {
    pub(crate) stacks: Arc<Vec<Stack>>,
    pub(crate) uri: Uri,
    pub(crate) ledger: Ledger,
    pub(crate) ids: Arc<AtomicU64>,
    pub(crate) rng: Rng,
}

/// How long a caller waits.
#[derive(Clone, Copy)]
enum Patience {
    Endless,
    /// Until the time is up.
    Time(Duration),
    /// Until it was looked at so often.
    Looks(u8),
}

impl Caller {
    pub(crate) async fn run(mut self, until: Instant) {
        while Instant::now() < until {
            let id = self.ids.fetch_add(1, Ordering::Relaxed);
            let patience = match self.rng.u8(..100) {
                0..75 => Patience::Endless,
                75..90 => Patience::Time(Duration::from_millis(self.rng.u64(..60))),
                _ => Patience::Looks(self.rng.u8(1..6)),
            };
            let at = self.rng.usize(..self.stacks.len());
            let stack = self.stacks[at].clone();
            let outcome = match self.rng.u8(..10) {
                0..4 => self.get(id, stack, patience).await,
                4..7 => self.post(id, stack, patience).await,
                _ => self.upload(id, stack, patience).await,
            };
            self.ledger.close(id, outcome);
            sleep(Duration::from_millis(self.rng.u64(..20))).await;
        }
    }

    async fn get(&mut self, id: u64, stack: Stack, patience: Patience) -> Outcome {
        let request = self.request(id, 0, &stack, Full::default(), Method::GET);
        self.send(id, stack.plain, request, patience).await
    }

    async fn post(&mut self, id: u64, stack: Stack, patience: Patience) -> Outcome {
        let len = self.rng.usize(..20_000);
        let body = Full::new(body::data(id, 0, len));
        let request = self.request(id, len, &stack, body, Method::POST);
        self.send(id, stack.plain, request, patience).await
    }

    async fn upload(&mut self, id: u64, stack: Stack, patience: Patience) -> Outcome {
        // Some are longer than what is kept of them.
        let len = self.rng.usize(..LIMIT * 5 / 4);
        let body = body::stream(id, len, self.rng.fork());
        let request = self.request(id, len, &stack, body, Method::PUT);
        self.send(id, stack.stream, request, patience).await
    }

    fn request<B>(
        &mut self,
        id: u64,
        len: usize,
        stack: &Stack,
        body: B,
        method: Method,
    ) -> Request<B> {
        self.ledger.open(id, len, stack.has_store);
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = self.uri.clone();
        request.headers_mut().insert(ID, id.into());
        let Some(Tenants { cache, credentials }) = &stack.tenants else {
            return request;
        };
        let tenant = &credentials[self.rng.usize(..credentials.len())];
        request.tokens(&cache.tokens(tenant))
    }

    async fn send<S, B>(
        &self,
        id: u64,
        service: S,
        request: Request<B>,
        patience: Patience,
    ) -> Outcome
    where
        S: Service<Request<B>, Response = Response<Incoming>, Error = BoxError>,
    {
        let answer = async {
            let response = service.oneshot(request).await?;
            let status = response.status().as_u16();
            let replayed = response.extensions().get::<Replayed>().copied();
            let echo = response.into_body().collect().await?.to_bytes();
            if echo != id.to_string() {
                self.ledger.broken(format!("request {id} has the answer to another one"));
            }
            Ok::<_, BoxError>(Outcome::Answered { status, replayed })
        };
        let answer = match patience {
            Patience::Endless => {
                let answer = timeout(LONGEST, answer).await;
                if answer.is_err() {
                    self.ledger.broken(format!("the caller of request {id} waits for ever"));
                }
                answer.ok()
            }
            Patience::Time(time) => timeout(time, answer).await.ok(),
            Patience::Looks(looks) => timeout(LONGEST, look(answer, looks)).await.ok().flatten(),
        };
        match answer {
            None => Outcome::GaveUp,
            Some(Ok(outcome)) => outcome,
            Some(Err(error)) => match TokenError::find_in(&*error) {
                Some(error) => Outcome::NoToken {
                    kind: error.kind().to_string(),
                    has_rejected: error.rejected_response().is_some(),
                },
                None => Outcome::Failed,
            },
        }
    }
}

/// Looks at a future so many times at the most, and drops it then.
async fn look<T>(future: impl Future<Output = T>, looks: u8) -> Option<T> {
    let mut future = pin!(future);
    let mut left = looks;
    poll_fn(|cx| {
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(ready) => Poll::Ready(Some(ready)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
