//! Refresh tokens in use on a stalled runtime, or by a superseded request.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tower::{BoxError, ServiceExt, service_fn};
use tower_oauth2::grant::RefreshToken;
use tower_oauth2::{Credentials, TokenCache, TokenEndpoint, TokenErrorKind, TokenRequest, Tokens};

use super::{HttpRequest, answer, form, member};
use crate::support::{credentials, get_for, paused_runtime, settle, single_try};

const PAUSE: Duration = Duration::from_millis(50);

/// Polls the tasks of a runtime for a while.
fn run(runtime: &Runtime, duration: Duration) {
    runtime.block_on(async { sleep(duration).await });
}

/// The behavior of a token endpoint for one request.
#[derive(Clone, Copy, PartialEq)]
enum Answer {
    /// Issues `token-<n>` and the refresh token `r-<n>` for request number n, after a pause.
    Rotate,
    /// The same after ten minutes.
    RotateLate,
    /// Fails after a pause.
    Fail,
}

/// A grant with its token endpoint and the place where its refresh tokens are persisted.
struct Grant {
    user: RefreshToken,
    endpoint: TokenEndpoint,
    used: Arc<Mutex<Vec<String>>>,
    saved: Arc<Mutex<Vec<String>>>,
}

impl Grant {
    /// Creates a grant whose request number n gets the n-th answer. Requests after the last answer
    /// are answered at once.
    fn new(answers: &'static [Answer]) -> Self {
        let saved = Arc::new(Mutex::new(Vec::new()));
        let written = saved.clone();
        let user = RefreshToken::new("alf", "r-0", move |rotated| {
            let written = written.clone();
            async move {
                sleep(PAUSE).await;
                written.lock().unwrap().push(rotated.secret().to_owned());
                Ok::<_, BoxError>(())
            }
        });
        let used = Arc::new(Mutex::new(Vec::new()));
        let received = used.clone();
        let server = service_fn(move |request: HttpRequest| {
            let received = received.clone();
            async move {
                let sent = member(&form(&request).await, "refresh_token").unwrap().to_owned();
                let n = {
                    let mut received = received.lock().unwrap();
                    received.push(sent);
                    received.len()
                };
                match answers.get(n - 1) {
                    Some(Answer::RotateLate) => sleep(Duration::from_secs(600)).await,
                    Some(_) => sleep(PAUSE).await,
                    None => {}
                }
                if answers.get(n - 1) == Some(&Answer::Fail) {
                    return Err(BoxError::from("down"));
                }
                let body = json!({
                    "access_token": format!("token-{n}"),
                    "refresh_token": format!("r-{n}"),
                    "expires_in": 3,
                });
                Ok(answer(200, body.to_string()))
            }
        });
        let endpoint = single_try(server).timeout(Duration::from_secs(3600));
        Self { user, endpoint, used, saved }
    }

    fn ask(&self) -> impl Future<Output = Result<String, TokenErrorKind>> + Send + 'static {
        let source = self.endpoint.clone();
        let request = TokenRequest::new(credentials().grant(self.user.clone()));
        async move {
            let result = source.oneshot(request).await;
            result.map(|token| token.secret().to_owned()).map_err(|error| error.kind())
        }
    }

    /// Starts a request on a runtime, which then stops until its next `block_on`.
    fn start_on(&self, runtime: &Runtime) -> JoinHandle<Result<String, TokenErrorKind>> {
        let request = runtime.spawn(self.ask());
        runtime.block_on(settle());
        assert!(!request.is_finished());
        request
    }

    /// Sends a request on a runtime. It has to take between one and two seconds.
    fn take_over_on(&self, runtime: &Runtime) -> Result<String, TokenErrorKind> {
        runtime.block_on(async {
            let start = Instant::now();
            let result = self.ask().await;
            let waited = start.elapsed();
            assert!(waited >= Duration::from_secs(1), "{waited:?}");
            assert!(waited < Duration::from_secs(2), "{waited:?}");
            result
        })
    }

    /// Returns the refresh tokens that were sent, in order.
    fn used(&self) -> Vec<String> {
        self.used.lock().unwrap().clone()
    }

    fn saved(&self) -> Vec<String> {
        self.saved.lock().unwrap().clone()
    }
}

// C3, G3
#[test]
fn a_late_rotation_does_not_displace_a_newer_one() {
    let grant = Grant::new(&[Answer::Rotate, Answer::Rotate]);
    let (stopped, driven) = (paused_runtime(), paused_runtime());
    let late = grant.start_on(&stopped);
    assert_eq!(grant.take_over_on(&driven).unwrap(), "token-2");

    // The response is valid for its own caller.
    assert_eq!(stopped.block_on(late).unwrap().unwrap(), "token-1");
    assert_eq!(driven.block_on(grant.ask()).unwrap(), "token-3");
    assert_eq!(grant.used(), ["r-0", "r-0", "r-2"]);
    assert_eq!(grant.saved(), ["r-2", "r-3"]);
}

// C3, G3
#[test]
fn a_late_rotation_is_kept_if_the_successor_has_failed() {
    let grant = Grant::new(&[Answer::Rotate, Answer::Fail]);
    let (stopped, driven) = (paused_runtime(), paused_runtime());
    let late = grant.start_on(&stopped);
    assert_eq!(grant.take_over_on(&driven).unwrap_err(), TokenErrorKind::Transport);

    assert_eq!(stopped.block_on(late).unwrap().unwrap(), "token-1");
    assert_eq!(driven.block_on(grant.ask()).unwrap(), "token-3");
    assert_eq!(grant.used(), ["r-0", "r-0", "r-1"]);
    assert_eq!(grant.saved(), ["r-1", "r-3"]);
}

// C3, G3
#[test]
fn a_successor_that_fails_continues_with_a_late_rotation() {
    let grant = Grant::new(&[Answer::Rotate, Answer::Fail]);
    let (stopped, driven) = (paused_runtime(), paused_runtime());
    let late = grant.start_on(&stopped);
    let successor = driven.spawn(grant.ask());
    run(&driven, Duration::from_secs(1) + PAUSE / 2);
    assert_eq!(grant.used(), ["r-0", "r-0"], "the successor waits for its response");

    // The rotated token arrives, but the successor holds the lock, so only it persists a token.
    run(&stopped, 2 * PAUSE);
    assert!(!late.is_finished());
    assert_eq!(driven.block_on(successor).unwrap().unwrap(), "token-3");
    assert_eq!(stopped.block_on(late).unwrap().unwrap(), "token-1");
    assert_eq!(grant.used(), ["r-0", "r-0", "r-1"]);
    assert_eq!(grant.saved(), ["r-1", "r-3"]);
}

// C3, G3
#[test]
fn a_late_rotation_does_not_displace_the_holders_token() {
    let grant = Grant::new(&[Answer::Rotate, Answer::Rotate]);
    let (stopped, driven) = (paused_runtime(), paused_runtime());
    let late = grant.start_on(&stopped);
    let successor = driven.spawn(grant.ask());
    run(&driven, Duration::from_secs(1) + PAUSE / 2);
    run(&stopped, 2 * PAUSE);

    assert_eq!(driven.block_on(successor).unwrap().unwrap(), "token-2");
    assert_eq!(stopped.block_on(late).unwrap().unwrap(), "token-1");
    assert_eq!(driven.block_on(grant.ask()).unwrap(), "token-3");
    assert_eq!(grant.used(), ["r-0", "r-0", "r-2"]);
    assert_eq!(grant.saved(), ["r-2", "r-3"]);
}

// C3, G3
#[test]
fn a_save_on_a_stopped_runtime_is_repeated_and_never_completes() {
    let grant = Grant::new(&[Answer::Rotate, Answer::Rotate]);
    let (stopped, driven) = (paused_runtime(), paused_runtime());
    let late = stopped.spawn(grant.ask());
    run(&stopped, PAUSE + PAUSE / 2);
    assert_eq!(grant.used(), ["r-0"], "the next token is still being persisted");
    assert_eq!(grant.take_over_on(&driven).unwrap(), "token-2");
    assert_eq!(grant.saved(), ["r-1", "r-2"]);

    assert_eq!(stopped.block_on(late).unwrap().unwrap(), "token-1");
    assert_eq!(grant.saved(), ["r-1", "r-2"]);
    assert_eq!(grant.used(), ["r-0", "r-1"]);
}

// C3, G3
#[test]
fn a_displaced_request_that_fails_late_waits_for_the_lock() {
    let grant = Grant::new(&[Answer::Fail, Answer::Rotate]);
    let (stopped, driven) = (paused_runtime(), paused_runtime());
    let late = grant.start_on(&stopped);
    assert_eq!(grant.take_over_on(&driven).unwrap(), "token-2");

    // Its refresh token was replaced, so it tries again with the new one.
    assert_eq!(stopped.block_on(late).unwrap().unwrap(), "token-3");
    assert_eq!(grant.used(), ["r-0", "r-0", "r-2"]);
    assert_eq!(grant.saved(), ["r-2", "r-3"]);
}

// C3, G3
#[test]
fn a_late_return_does_not_release_the_successors_lock() {
    let grant = Grant::new(&[Answer::Fail, Answer::RotateLate]);
    let (stopped, driven) = (paused_runtime(), paused_runtime());
    let late = grant.start_on(&stopped);
    let successor = driven.spawn(grant.ask());
    run(&driven, Duration::from_secs(2));
    assert_eq!(stopped.block_on(late).unwrap().unwrap_err(), TokenErrorKind::Transport);

    let third = driven.spawn(grant.ask());
    run(&driven, Duration::from_secs(590));
    assert_eq!(grant.used(), ["r-0", "r-0"], "two use the refresh token at once");
    assert_eq!(driven.block_on(successor).unwrap().unwrap(), "token-2");
    assert_eq!(driven.block_on(third).unwrap().unwrap(), "token-3");
    assert_eq!(grant.used(), ["r-0", "r-0", "r-2"]);
}

// C3, G3
#[test]
fn a_slow_endpoint_does_not_cause_a_takeover() {
    let grant = Grant::new(&[Answer::RotateLate, Answer::Rotate]);
    let (one, other) = (paused_runtime(), paused_runtime());
    let first = grant.start_on(&one);
    let second = grant.start_on(&other);
    // Both runtimes are driven in turn.
    for _ in 0..100 {
        run(&one, Duration::from_millis(250));
        run(&other, Duration::from_millis(250));
    }
    assert_eq!(grant.used(), ["r-0"]);
    assert_eq!(one.block_on(first).unwrap().unwrap(), "token-1");
    assert_eq!(other.block_on(second).unwrap().unwrap(), "token-2");
    assert_eq!(grant.used(), ["r-0", "r-1"]);
}

/// Returns the tokens of the grant, in a cache of their own.
fn tokens(grant: &Grant) -> Tokens {
    Tokens::new(credentials().grant(grant.user.clone()), grant.endpoint.clone())
}

/// Starts a fetch of `first` on a runtime that stops, and awaits `second` elsewhere.
fn get_beside_a_stopped_fetch(grant: &Grant, first: &Tokens, second: &Tokens) {
    let (stopped, driven) = (paused_runtime(), paused_runtime());
    let first = first.clone();
    let late = stopped.spawn(async move { first.get().await });
    stopped.block_on(settle());
    assert_eq!(grant.used(), ["r-0"]);
    let token = driven.block_on(async {
        let start = Instant::now();
        let token = timeout(Duration::from_secs(3600), second.get()).await.expect("the call hangs");
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        token.unwrap()
    });
    assert_eq!(token.secret(), "token-2");
    stopped.block_on(late).unwrap().unwrap();
    assert_eq!(grant.saved(), ["r-2"]);
    assert_eq!(driven.block_on(second.get()).unwrap().secret(), "token-2");
}

// C3, G3
#[test]
fn a_cache_takes_over_from_one_on_a_stopped_runtime() {
    let grant = Grant::new(&[Answer::Rotate, Answer::Rotate]);
    get_beside_a_stopped_fetch(&grant, &tokens(&grant), &tokens(&grant));
}

// C3, G3
#[test]
fn a_fetch_takes_over_from_one_on_a_stopped_runtime() {
    let grant = Grant::new(&[Answer::Rotate, Answer::Rotate]);
    let tokens = tokens(&grant);
    get_beside_a_stopped_fetch(&grant, &tokens, &tokens);
}

// C10, G3
#[test]
fn removal_during_a_refresh_sends_no_refresh_token_twice() {
    let runtime = paused_runtime();
    for is_held in [true, false] {
        let grant = Grant::new(&[Answer::RotateLate, Answer::Rotate]);
        let user = credentials().grant(grant.user.clone());
        let cache = TokenCache::builder(grant.endpoint.clone())
            .fetch_timeout(Duration::from_secs(3600))
            .build();
        let held = is_held.then(|| cache.tokens(&user));
        runtime.block_on(assert_removal_is_harmless(&grant, &cache, &user));
        drop(held);
    }
}

/// Removes credentials while their refresh token is in use by a fetch with a waiter.
async fn assert_removal_is_harmless(grant: &Grant, cache: &TokenCache, credentials: &Credentials) {
    let get = || {
        let (cache, credentials) = (cache.clone(), credentials.clone());
        tokio::spawn(async move { get_for(&cache, &credentials).await })
    };
    let before = get();
    sleep(Duration::from_secs(5)).await;
    assert_eq!(grant.used(), ["r-0"]);
    cache.remove(credentials);
    let after = get();
    sleep(Duration::from_secs(590)).await;
    assert_eq!(grant.used(), ["r-0"], "its answer is still awaited");
    before.await.unwrap().unwrap();
    assert_eq!(after.await.unwrap().unwrap().secret(), "token-2");
    assert_eq!(grant.used(), ["r-0", "r-1"]);
    assert_eq!(grant.saved(), ["r-1", "r-2"]);
}
