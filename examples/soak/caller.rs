//! A caller that sends requests one after another, and cancels some of them.

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

/// The time after which every request must have completed, whatever fails.
const MAX_WAIT: Duration = Duration::from_secs(30);

pub(crate) struct Caller {
    pub(crate) stacks: Arc<Vec<Stack>>,
    pub(crate) uri: Uri,
    pub(crate) ledger: Ledger,
    pub(crate) ids: Arc<AtomicU64>,
    pub(crate) rng: Rng,
}

/// When a caller cancels its request.
#[derive(Clone, Copy)]
enum Cancel {
    Never,
    /// After this time.
    After(Duration),
    /// After the request has been polled this many times.
    AfterPolls(u8),
}

impl Caller {
    pub(crate) async fn run(mut self, until: Instant) {
        while Instant::now() < until {
            let id = self.ids.fetch_add(1, Ordering::Relaxed);
            let cancel = match self.rng.u8(..100) {
                0..75 => Cancel::Never,
                75..90 => Cancel::After(Duration::from_millis(self.rng.u64(..60))),
                _ => Cancel::AfterPolls(self.rng.u8(1..6)),
            };
            let at = self.rng.usize(..self.stacks.len());
            let stack = self.stacks[at].clone();
            let outcome = match self.rng.u8(..10) {
                0..4 => self.get(id, stack, cancel).await,
                4..7 => self.post(id, stack, cancel).await,
                _ => self.upload(id, stack, cancel).await,
            };
            self.ledger.close(id, outcome);
            sleep(Duration::from_millis(self.rng.u64(..20))).await;
        }
    }

    async fn get(&mut self, id: u64, stack: Stack, cancel: Cancel) -> Outcome {
        let request = self.request(id, 0, &stack, Full::default(), Method::GET);
        self.send(id, stack.plain, request, cancel).await
    }

    async fn post(&mut self, id: u64, stack: Stack, cancel: Cancel) -> Outcome {
        let len = self.rng.usize(..20_000);
        let body = Full::new(body::data(id, 0, len));
        let request = self.request(id, len, &stack, body, Method::POST);
        self.send(id, stack.plain, request, cancel).await
    }

    async fn upload(&mut self, id: u64, stack: Stack, cancel: Cancel) -> Outcome {
        // Some bodies are longer than the replay buffer.
        let len = self.rng.usize(..LIMIT * 5 / 4);
        let body = body::stream(id, len, self.rng.fork());
        let request = self.request(id, len, &stack, body, Method::PUT);
        self.send(id, stack.stream, request, cancel).await
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

    async fn send<S, B>(&self, id: u64, service: S, request: Request<B>, cancel: Cancel) -> Outcome
    where
        S: Service<Request<B>, Response = Response<Incoming>, Error = BoxError>,
    {
        let answer = async {
            let response = service.oneshot(request).await?;
            let status = response.status().as_u16();
            let replayed = response.extensions().get::<Replayed>().copied();
            let echo = response.into_body().collect().await?.to_bytes();
            if echo != id.to_string() {
                self.ledger.broken(format!("request {id} got the response to another request"));
            }
            Ok::<_, BoxError>(Outcome::Answered { status, replayed })
        };
        let answer = match cancel {
            Cancel::Never => {
                let answer = timeout(MAX_WAIT, answer).await;
                if answer.is_err() {
                    self.ledger.broken(format!("request {id} did not complete in time"));
                }
                answer.ok()
            }
            Cancel::After(time) => timeout(time, answer).await.ok(),
            Cancel::AfterPolls(polls) => {
                timeout(MAX_WAIT, poll_at_most(answer, polls)).await.ok().flatten()
            }
        };
        match answer {
            None => Outcome::Canceled,
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

/// Polls a future at most this many times, and then drops it.
async fn poll_at_most<T>(future: impl Future<Output = T>, polls: u8) -> Option<T> {
    let mut future = pin!(future);
    let mut left = polls;
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
