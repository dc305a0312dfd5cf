use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::{self, Handle};
use tower::{BoxError, Service};
use tower_oauth2_races::{AccessToken, TokenRequest};

use super::{BoxFuture, Journal};

/// The number of points within a call. It gives other threads time to make another call.
const PAUSES: usize = 15;

/// The answer to one token request.
pub enum Answer {
    Token(AccessToken),
    /// Takes this time, during which the fetch is alive.
    SlowToken(Duration, AccessToken),
    /// The runtime of the fetch stalls. The answer follows when a scenario resumes it.
    TokenAfterStall(AccessToken),
    /// A transient error with the number of the call in its text.
    Fail,
    Panic,
}

/// A source that answers call `n`, counted from 1, as a script says.
#[derive(Clone)]
pub struct Source {
    journal: Journal,
    script: Arc<dyn Fn(usize) -> Answer + Send + Sync>,
}

impl Source {
    pub fn new(journal: Journal, script: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Self {
        Self { journal, script: Arc::new(script) }
    }
}

impl Service<TokenRequest> for Source {
    type Response = AccessToken;
    type Error = BoxError;
    type Future = BoxFuture<Result<AccessToken, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: TokenRequest) -> Self::Future {
        let call = self.journal.begin_call(&request);
        let answer = (self.script)(call.number);
        Box::pin(async move {
            // Captured as a whole, so that the call ends when this future is dropped.
            let call = call;
            if let Answer::TokenAfterStall(_) = answer {
                Handle::try_current().unwrap().stall();
            }
            for _ in 0..PAUSES {
                pause().await;
            }
            match answer {
                Answer::Token(token) | Answer::TokenAfterStall(token) => Ok(token),
                Answer::SlowToken(duration, token) => {
                    tokio::time::sleep(duration).await;
                    Ok(token)
                }
                Answer::Fail => Err(format!("down-{}", call.number).into()),
                Answer::Panic => runtime::panic(),
            }
        })
    }
}

/// Lets other threads run. A task can be dropped here.
pub fn pause() -> impl Future<Output = ()> {
    let mut is_over = false;
    poll_fn(move |cx| {
        if std::mem::replace(&mut is_over, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}
