use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::{Context, Poll};

use tower::{BoxError, Service};
use tower_oauth2_races::{AccessToken, TokenRequest};

use super::{BoxFuture, Journal};

/// So many points lie within a token request: whoever could make another one beside it has the time.
const PAUSES: usize = 15;

pub enum Answer {
    Token(AccessToken),
    /// With the number of the token request in its text.
    Fail,
    Panic,
}

/// A source that answers token request n, from 1, as a script says, and not at once.
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
        let in_air = self.journal.begin(&request);
        let number = in_air.number;
        let answer = (self.script)(number);
        Box::pin(async move {
            let _in_air = in_air;
            for _ in 0..PAUSES {
                pause().await;
            }
            match answer {
                Answer::Token(token) => Ok(token),
                Answer::Fail => Err(format!("down-{number}").into()),
                Answer::Panic => match tokio::runtime::panic().await {},
            }
        })
    }
}

/// Lets others go on, and is where a task can be dropped.
pub fn pause() -> impl Future<Output = ()> {
    let mut is_over = false;
    poll_fn(move |context| {
        if std::mem::replace(&mut is_over, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
}
