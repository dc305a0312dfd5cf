use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::{Body, Frame};
use tower::{BoxError, Service, ServiceExt};
use tower_oauth2::Tokens;
use tower_oauth2::replay::Replayed;

use super::{HttpRequest, layer_over, put};
use crate::support::{ScriptedSource, credentials, hour, settle};

/// An API that logs what is done with it, and counts its live parts.
#[derive(Default)]
struct Tracked {
    ready: Option<Alive>,
    journal: Arc<Journal>,
}

#[derive(Default)]
struct Journal {
    lines: Mutex<Vec<String>>,
    /// The number of further requests that get a 401.
    rejections: AtomicUsize,
    ready: Arc<AtomicUsize>,
    futures: Arc<AtomicUsize>,
    bodies: Arc<AtomicUsize>,
}

/// Counts itself while it exists.
struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Journal {
    fn log(&self, event: &str) {
        let [ready, futures, bodies] =
            [&self.ready, &self.futures, &self.bodies].map(|count| count.load(Ordering::SeqCst));
        let line = format!("{event}: {ready} ready, {futures} futures, {bodies} bodies");
        self.lines.lock().unwrap().push(line);
    }

    fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.lines.lock().unwrap())
    }
}

impl Clone for Tracked {
    fn clone(&self) -> Self {
        Self { ready: None, journal: self.journal.clone() }
    }
}

impl Service<HttpRequest> for Tracked {
    type Response = Response<TrackedBody>;
    type Error = BoxError;
    type Future = TrackedFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if self.ready.is_none() {
            self.ready = Some(Alive::new(&self.journal.ready));
            self.journal.log("made ready");
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: HttpRequest) -> TrackedFuture {
        self.ready.take().expect("service was made ready before the call");
        let future = TrackedFuture {
            yielded: false,
            journal: self.journal.clone(),
            _alive: Alive::new(&self.journal.futures),
        };
        self.journal.log("called");
        future
    }
}

struct TrackedFuture {
    yielded: bool,
    journal: Arc<Journal>,
    _alive: Alive,
}

impl Future for TrackedFuture {
    type Output = Result<Response<TrackedBody>, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if !self.yielded {
            self.yielded = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut response = Response::new(TrackedBody { _alive: Alive::new(&self.journal.bodies) });
        let left = &self.journal.rejections;
        if left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok() {
            *response.status_mut() = StatusCode::UNAUTHORIZED;
        }
        Poll::Ready(Ok(response))
    }
}

struct TrackedBody {
    _alive: Alive,
}

impl Body for TrackedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(None)
    }
}

// R5
#[tokio::test(start_paused = true)]
async fn a_waiting_request_holds_no_service_and_no_response() {
    let api = Tracked::default();
    let journal = api.journal.clone();
    let source_journal = api.journal.clone();
    let source = ScriptedSource::new(move |n, _| {
        source_journal.log("token is requested");
        let source_journal = source_journal.clone();
        async move {
            settle().await;
            source_journal.log("token is here");
            Ok(hour(n))
        }
    });
    let mut stack = layer_over(Tokens::new(credentials(), source)).layer(api);

    // Miss. The test keeps the service, as an application does.
    let response = stack.ready().await.unwrap().call(put()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(
        journal.take_log(),
        [
            "made ready: 1 ready, 0 futures, 0 bodies",
            "token is requested: 0 ready, 0 futures, 0 bodies",
            "token is here: 0 ready, 0 futures, 0 bodies",
            "made ready: 1 ready, 0 futures, 0 bodies",
            "called: 0 ready, 1 futures, 0 bodies",
        ]
    );
    drop(response);

    // Hit: the service that was made ready is called.
    let response = stack.ready().await.unwrap().call(put()).await.unwrap();
    assert_eq!(
        journal.take_log(),
        ["made ready: 1 ready, 0 futures, 0 bodies", "called: 0 ready, 1 futures, 0 bodies"]
    );
    drop(response);

    // Replay.
    journal.rejections.store(1, Ordering::SeqCst);
    let response = stack.ready().await.unwrap().call(put()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.extensions().get(), Some(&Replayed::Yes));
    assert_eq!(
        journal.take_log(),
        [
            "made ready: 1 ready, 0 futures, 0 bodies",
            "called: 0 ready, 1 futures, 0 bodies",
            "token is requested: 0 ready, 0 futures, 0 bodies",
            "token is here: 0 ready, 0 futures, 0 bodies",
            "made ready: 1 ready, 0 futures, 0 bodies",
            "called: 0 ready, 1 futures, 0 bodies",
        ]
    );
    drop(response);
    journal.log("at the end");
    assert_eq!(journal.take_log(), ["at the end: 0 ready, 0 futures, 0 bodies"]);
}
