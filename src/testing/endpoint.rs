use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::{BoxError, Service};

use super::recorded_request::RecordedRequest;
use super::reply::Reply;
use crate::util::sync::LockExt;

/// Answers requests to a token endpoint with scripted replies, and records them.
///
/// It takes the place of the HTTP client of a [`TokenEndpoint`](crate::TokenEndpoint). Requests,
/// retries, timeouts and errors are then the real ones, without a network.
///
/// Clones share the script and the recorded requests. It is always ready, and answers requests
/// concurrently. Every HTTP request counts: retries, and the requests for metadata of
/// [`Credentials::from_issuer`](crate::Credentials::from_issuer).
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use tower_oauth2::testing::{Reply, ScriptedEndpoint};
/// use tower_oauth2::{ClientAuth, Credentials, TokenEndpoint, Tokens};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let http = ScriptedEndpoint::new(|n| match n {
///     1 => Reply::error(503, "temporarily_unavailable"),
///     _ => Reply::token(format!("token-{n}")).expires_in(Duration::from_secs(3600)),
/// });
/// let auth = ClientAuth::client_secret_post("client-id", "s3cr3t");
/// let credentials = Credentials::new("https://auth.test/token", auth)?.scope("read");
/// let tokens = Tokens::new(credentials, TokenEndpoint::new(http.clone()));
///
/// assert_eq!(tokens.get().await?.secret(), "token-2");
/// assert_eq!(http.count(), 2);
/// assert_eq!(http.requests()[1].parameter("scope").as_deref(), Some("read"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ScriptedEndpoint {
    script: Arc<dyn Fn(usize) -> Reply + Send + Sync>,
    requests: Arc<Mutex<Vec<RecordedRequest>>>,
}

impl ScriptedEndpoint {
    /// Creates an endpoint that answers request number n, from 1, with `script(n)`.
    pub fn new(script: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Self {
        Self { script: Arc::new(script), requests: Arc::default() }
    }

    /// Creates an endpoint that sends these replies in order, and repeats the last one.
    ///
    /// Without any reply, all requests fail with a connection error.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_oauth2::testing::{Reply, ScriptedEndpoint};
    ///
    /// let goes_down =
    ///     ScriptedEndpoint::in_order([Reply::token("token-1"), Reply::no_response()]);
    /// # let _ = goes_down;
    /// ```
    pub fn in_order(replies: impl IntoIterator<Item = Reply>) -> Self {
        let replies: Vec<_> = replies.into_iter().collect();
        Self::new(move |n| match replies.get(n - 1).or(replies.last()) {
            Some(reply) => reply.clone(),
            None => Reply::connection_error("the scripted endpoint has no replies"),
        })
    }

    /// Returns the number of HTTP requests so far.
    pub fn count(&self) -> usize {
        self.requests.lock_unpoisoned().len()
    }

    /// Returns the HTTP requests so far, in order.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.requests.lock_unpoisoned().clone()
    }
}

impl Service<Request<Full<Bytes>>> for ScriptedEndpoint {
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    /// Resolves to the scripted reply.
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        // The lock is released before the script runs, because the script may read the recorded
        // requests.
        let n = {
            let mut requests = self.requests.lock_unpoisoned();
            requests.push(RecordedRequest::new(request));
            requests.len()
        };
        Box::pin((self.script)(n).send())
    }
}

impl fmt::Debug for ScriptedEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedEndpoint").field("count", &self.count()).finish_non_exhaustive()
    }
}
