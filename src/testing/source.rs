use std::fmt;
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use tower::{BoxError, Service};

use crate::credentials::request::TokenRequest;
use crate::token::AccessToken;
use crate::util::sync::LockExt;

type ScriptFuture = Pin<Box<dyn Future<Output = Result<AccessToken, BoxError>> + Send>>;

/// Returns scripted tokens and errors, and records the requests.
///
/// Clones share the script and the recorded requests. It is always ready, and answers requests
/// concurrently.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use tower_oauth2::testing::ScriptedSource;
/// use tower_oauth2::{AccessToken, ClientAuth, Credentials, TokenErrorKind, Tokens};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let source = ScriptedSource::new(|n, _| async move {
///     // With paused time, this takes no time.
///     tokio::time::sleep(Duration::from_secs(1)).await;
///     match n {
///         1 => Err("the metadata server is down".into()),
///         _ => Ok(AccessToken::new(format!("token-{n}"))?),
///     }
/// });
/// let credentials = Credentials::new("https://auth.test/token", ClientAuth::none("id"))?;
/// let tokens = Tokens::new(credentials, source.clone());
///
/// let error = tokens.get().await.unwrap_err();
/// assert_eq!(error.kind(), TokenErrorKind::Source);
///
/// // The failure is remembered for a while.
/// tokio::time::sleep(error.retry_in().unwrap()).await;
/// assert_eq!(tokens.get().await?.secret(), "token-2");
/// assert_eq!(source.count(), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ScriptedSource {
    script: Arc<dyn Fn(usize, TokenRequest) -> ScriptFuture + Send + Sync>,
    requests: Arc<Mutex<Vec<TokenRequest>>>,
}

impl ScriptedSource {
    /// Creates a source that answers request number n, from 1, with the result of `script`.
    pub fn new<F>(script: impl Fn(usize, TokenRequest) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<AccessToken, BoxError>> + Send + 'static,
    {
        Self {
            script: Arc::new(move |n, request| Box::pin(script(n, request))),
            requests: Arc::default(),
        }
    }

    /// Creates a source that answers request number n, from 1, with `make(n)`.
    ///
    /// # Example
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_oauth2::AccessToken;
    /// use tower_oauth2::testing::ScriptedSource;
    ///
    /// let source = ScriptedSource::tokens(|n| {
    ///     let token = AccessToken::new(format!("token-{n}")).unwrap();
    ///     token.with_expires_in(Duration::from_secs(3600))
    /// });
    /// # let _ = source;
    /// ```
    pub fn tokens(make: impl Fn(usize) -> AccessToken + Send + Sync + 'static) -> Self {
        Self::new(move |n, _| ready(Ok(make(n))))
    }

    /// Returns the number of requests so far.
    pub fn count(&self) -> usize {
        self.requests.lock_unpoisoned().len()
    }

    /// Returns the requests so far, in order.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_oauth2::source::Cause;
    /// use tower_oauth2::testing::ScriptedSource;
    /// use tower_oauth2::{AccessToken, ClientAuth, Credentials, Tokens};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let source =
    ///     ScriptedSource::tokens(|n| AccessToken::new(format!("token-{n}")).unwrap());
    /// let credentials = Credentials::new("https://auth.test/token", ClientAuth::none("id"))?;
    /// let tokens = Tokens::new(credentials, source.clone());
    ///
    /// tokens.get().await?.reject();
    /// tokens.get().await?;
    /// let causes: Vec<_> = source.requests().iter().map(|request| request.cause()).collect();
    /// assert_eq!(causes, [Cause::Cold, Cause::Rejected]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn requests(&self) -> Vec<TokenRequest> {
        self.requests.lock_unpoisoned().clone()
    }
}

impl Service<TokenRequest> for ScriptedSource {
    type Response = AccessToken;
    type Error = BoxError;
    /// Resolves to the scripted result.
    type Future = Pin<Box<dyn Future<Output = Result<AccessToken, BoxError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: TokenRequest) -> Self::Future {
        // The lock is released before the script runs, because the script may read the recorded
        // requests.
        let n = {
            let mut requests = self.requests.lock_unpoisoned();
            requests.push(request.clone());
            requests.len()
        };
        (self.script)(n, request)
    }
}

impl fmt::Debug for ScriptedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedSource").field("count", &self.count()).finish_non_exhaustive()
    }
}
