//! C3: fetches whose runtime is not polled or has ended, and callers without a timer.

mod lost;
mod no_timer;
mod panics;
mod silent;
mod slow;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, advance, sleep};
use tower_oauth2::{CachedToken, TokenError, Tokens};

use crate::support::*;

type Got = Result<CachedToken, TokenError>;
type Caller = tokio_test::task::Spawn<Pin<Box<dyn Future<Output = Got> + Send>>>;

/// Creates a runtime with its own clock, which tests advance.
fn paused() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

/// Creates a caller that has not been polled yet.
fn caller(tokens: &Tokens) -> Caller {
    let tokens = tokens.clone();
    tokio_test::task::spawn(Box::pin(async move { tokens.get().await }))
}

/// Polls a caller once on a runtime, which must leave it waiting.
#[track_caller]
fn poll_pending(runtime: &Runtime, caller: &mut Caller) {
    runtime.block_on(async { assert!(caller.poll().is_pending(), "waits for a token") });
}

/// Starts a fetch on a runtime, and polls its task until it calls the source.
fn start_fetch(runtime: &Runtime, tokens: &Tokens) -> Caller {
    let mut caller = caller(tokens);
    poll_pending(runtime, &mut caller);
    runtime.block_on(settle());
    caller
}

/// Spawns a caller on a runtime, which does not poll it yet.
fn spawn_on(runtime: &Runtime, tokens: &Tokens) -> JoinHandle<Got> {
    let _context = runtime.enter();
    spawn_get(tokens)
}

fn spawn_get(tokens: &Tokens) -> JoinHandle<Got> {
    let tokens = tokens.clone();
    tokio::spawn(async move { tokens.get().await })
}

fn secret_of(got: Got) -> String {
    got.unwrap().secret().to_owned()
}

/// Creates a source whose first `held` requests wait for a permit. All others are answered at once.
fn holding(held: usize) -> (ScriptedSource, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let permits = gate.clone();
    let source = ScriptedSource::new(move |n, _| {
        let permits = permits.clone();
        async move {
            if n <= held {
                permits.acquire().await?.forget();
            }
            Ok(hour(n))
        }
    });
    (source, gate)
}
