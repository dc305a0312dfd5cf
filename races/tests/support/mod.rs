//! The fixture of a scenario. It asserts the invariants that hold in every scenario.
//!
//! The doubles are not those of the testkit, because their waits must be points at which a schedule
//! may switch threads: they use the stand-ins for std and tokio.

mod api;
mod explore;
mod gauges;
mod journal;
mod source;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use shuttle::future::block_on;
use shuttle::thread::{self, JoinHandle};
use tokio::runtime::{Handle, Runtime};
use tower_oauth2_races::cache::TokenCacheBuilder;
use tower_oauth2_races::{
    AccessToken, CachedToken, ClientAuth, Credentials, TokenCache, TokenError, Tokens,
};

pub use self::api::{Api, call_and_drop, request, send, send_with, try_send, try_send_to};
pub use self::explore::{explore, explore_all, explore_from_here, explore_twice};
pub use self::gauges::{BROKEN_APIS, FAILING_CREDENTIALS, gauge};
pub use self::journal::{Journal, PollStart};
pub use self::source::{Answer, Source, pause};

/// The lifetime of the tokens. A token is renewed at an age of 70 to 80 seconds.
pub const LIFETIME: Duration = Duration::from_secs(100);
/// The age from which on a token is not handed out.
pub const USABLE: Duration = Duration::from_secs(90);
/// The age from which on every token is due for renewal.
pub const DUE: Duration = Duration::from_secs(80);
/// The interval at which a fetch shows signs of life, and at which observers look.
pub const BEAT_INTERVAL: Duration = Duration::from_millis(250);
/// The time after which a fetch that shows no sign of life is replaced.
pub const SILENCE: Duration = Duration::from_secs(1);

pub fn credentials(id: &str) -> Credentials {
    let auth = ClientAuth::client_secret_basic(id, "secret");
    Credentials::new("https://auth.test/token", auth).unwrap()
}

/// Returns the token that call `n` of the source brings.
pub fn token(n: usize) -> AccessToken {
    reissued(n, n)
}

/// Returns the token of call `n`, with the text of an earlier token.
pub fn reissued(text_of: usize, n: usize) -> AccessToken {
    let token = AccessToken::new(format!("token-{text_of}")).unwrap();
    token.with_extra("call", n).with_expires_in(LIFETIME)
}

/// Returns the number of the call that brought the token.
pub fn call_of(token: &AccessToken) -> usize {
    token.extra("call").unwrap().as_u64().unwrap().try_into().unwrap()
}

/// A cache over a source that follows a script. The journal records what happens to it.
#[derive(Clone)]
pub struct CacheFixture {
    pub cache: TokenCache,
    /// The tokens of the credentials `own`. Their slot is always held.
    pub tokens: Tokens,
    pub journal: Journal,
    pub handle: Handle,
}

impl CacheFixture {
    /// Creates a fixture with default settings. Its runtime is the current one of this thread.
    pub fn new(script: impl Fn(usize) -> Answer + Send + Sync + 'static) -> (Self, Runtime) {
        Self::with(script, |cache| cache)
    }

    /// Creates a fixture whose cache has other settings.
    pub fn with(
        script: impl Fn(usize) -> Answer + Send + Sync + 'static,
        set: impl FnOnce(TokenCacheBuilder) -> TokenCacheBuilder,
    ) -> (Self, Runtime) {
        let runtime = Runtime::new();
        runtime.handle().enter();
        let journal = Journal::default();
        let source = Source::new(journal.clone(), script);
        let cache = set(TokenCache::builder(source)).build();
        (Self::over(cache, &journal, &runtime), runtime)
    }

    /// Creates a fixture over a cache.
    pub fn over(cache: TokenCache, journal: &Journal, runtime: &Runtime) -> Self {
        let tokens = cache.tokens(&credentials("own"));
        Self { cache, tokens, journal: journal.clone(), handle: runtime.handle().clone() }
    }

    /// Returns the number of slots besides that of the fixture's own credentials.
    pub fn other_slots(&self) -> usize {
        let len = self.cache.len();
        len.checked_sub(1).expect("the own slot is held")
    }

    /// Creates a fixture in which each call brings its own token.
    pub fn simple() -> (Self, Runtime) {
        Self::new(|n| Answer::Token(token(n)))
    }

    /// Returns the same fixture for threads on another runtime.
    #[must_use]
    pub fn on(&self, runtime: &Runtime) -> Self {
        Self { handle: runtime.handle().clone(), ..self.clone() }
    }

    /// Runs `work` on a new thread, on the runtime of this fixture.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let fixture = self.clone();
        thread::spawn(move || {
            fixture.handle.enter();
            work(&fixture)
        })
    }

    /// Calls `get` on each of `count` new threads.
    pub fn callers(&self, count: usize) -> Vec<JoinHandle<Result<CachedToken, TokenError>>> {
        (0..count).map(|_| self.spawn(Self::get)).collect()
    }

    pub fn get(&self) -> Result<CachedToken, TokenError> {
        block_on(self.watch(self.tokens.get()))
    }

    pub fn get_for(&self, id: &str) -> Result<CachedToken, TokenError> {
        self.get_with(&self.cache.tokens(&credentials(id)))
    }

    /// Gets a token from a handle.
    pub fn get_with(&self, tokens: &Tokens) -> Result<CachedToken, TokenError> {
        block_on(self.watch(tokens.get()))
    }

    /// Polls `get` a few times and drops it.
    pub fn give_up(&self, polls: usize) {
        let mut get = pin!(self.watch(self.tokens.get()));
        for _ in 0..polls {
            if get.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                return;
            }
            thread::yield_now();
        }
    }

    /// Returns the token of a caller that must not wait.
    pub fn get_at_once(&self) -> CachedToken {
        let get = pin!(self.watch(self.tokens.get()));
        match get.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => result.unwrap(),
            Poll::Pending => panic!("a caller waits although there is a valid token"),
        }
    }

    /// Polls a future once, while no fetch runs on the runtime of this fixture.
    pub fn poll_once<F: Future>(&self, future: Pin<&mut F>) -> Poll<F::Output> {
        self.handle.stall();
        let polled = future.poll(&mut Context::from_waker(Waker::noop()));
        self.handle.resume();
        polled
    }

    /// Rejects a token. The rejection of an expired token has no effect.
    pub fn reject(&self, token: &CachedToken) {
        let is_over = self.journal.is_over(token);
        token.reject();
        if !is_over {
            self.journal.record_rejection(token);
        }
    }

    /// Removes the slot of other credentials than the fixture's own.
    pub fn remove(&self, id: &str) {
        self.journal.record_removal(id);
        self.cache.remove(&credentials(id));
    }

    /// Clears the slot of the fixture's own credentials.
    pub fn clear(&self) {
        self.journal.record_removal("own");
        self.cache.remove(&credentials("own"));
    }

    /// Suspends the host: the wall clock advances and the monotonic clock does not.
    pub fn suspend(&self, duration: Duration) {
        manual_wall_clock::advance(duration);
        let to = manual_wall_clock::now();
        self.journal.record_wall_clock_step(to - duration, to);
    }

    pub fn set_wall_clock_back(&self, duration: Duration) {
        manual_wall_clock::set_back(duration);
        let to = manual_wall_clock::now();
        self.journal.record_wall_clock_step(to + duration, to);
    }

    /// Waits until all tasks of the runtime have ended.
    pub fn settle(&self) {
        block_on(self.handle.idle());
    }

    /// Asserts at each poll that it may return the token that it returns.
    async fn watch(
        &self,
        get: impl Future<Output = Result<CachedToken, TokenError>>,
    ) -> Result<CachedToken, TokenError> {
        let mut get = pin!(get);
        poll_fn(|cx| {
            let start = self.journal.poll_start();
            let polled = get.as_mut().poll(cx);
            if let Poll::Ready(Ok(token)) = &polled {
                self.journal.assert_may_be_handed_out(token, start);
            }
            polled
        })
        .await
    }
}

/// Lets other threads run until `is_so` returns true. The clock stands still.
pub fn wait_until(is_so: impl Fn() -> bool) {
    while !is_so() {
        thread::yield_now();
    }
}

/// Waits for a time of the simulated clock.
pub fn sleep(duration: Duration) {
    block_on(tokio::time::sleep(duration));
}

/// Asserts that no caller had to wait for a timer.
pub fn assert_no_timer_was_needed() {
    assert_eq!(tokio::time::elapsed(), Duration::ZERO, "a caller had to wait for a timer");
}

pub fn join<T>(threads: impl IntoIterator<Item = JoinHandle<T>>) -> Vec<T> {
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
