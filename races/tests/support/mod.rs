//! A world in which a scenario is played, and what has to be true in it at all times.

mod explore;
mod journal;
mod source;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use shuttle::thread::{self, JoinHandle};
use tokio::runtime::{Handle, Runtime};
use tokio::time::Instant;
use tower_oauth2_races::{
    AccessToken, ClientAuth, ClientCredentials, TokenCache, TokenCacheBuilder, TokenError,
};

pub use self::explore::{explore, explore_all, explore_twice};
pub use self::journal::Journal;
pub use self::source::{Answer, Source, pause};

/// Lifetimes here: at an age of 70 to 80 seconds a token is due, at 90 it is over.
pub const LIFETIME: Duration = Duration::from_secs(100);

pub fn credentials(id: &str) -> ClientCredentials {
    let auth = ClientAuth::client_secret_basic(id, "secret");
    ClientCredentials::new("https://auth.test/token", auth).unwrap()
}

/// `token-<n>`, which says besides that it was issued by token request `n`.
pub fn token(n: usize) -> AccessToken {
    reissued(n, n)
}

/// The text of token request `text` once more.
pub fn reissued(text: usize, n: usize) -> AccessToken {
    let token = AccessToken::new(format!("token-{text}")).unwrap();
    token.with_extra("issue", n).with_expires_in(LIFETIME)
}

/// By which token request it was issued.
pub fn issue(token: &AccessToken) -> usize {
    token.extra("issue").unwrap().as_u64().unwrap().try_into().unwrap()
}

/// From when on it is not handed out.
fn end(token: &AccessToken) -> Instant {
    token.expires_at().unwrap() - LIFETIME / 10
}

/// A cache over a source that follows a script. All that is done to it is written down and looked at.
#[derive(Clone)]
pub struct World {
    pub cache: TokenCache,
    pub journal: Journal,
    pub handle: Handle,
}

impl World {
    /// The runtime is this thread's too.
    pub fn new(
        script: impl Fn(usize) -> Answer + Send + Sync + 'static,
        set: impl FnOnce(TokenCacheBuilder) -> TokenCacheBuilder,
    ) -> (Self, Runtime) {
        let runtime = Runtime::new();
        runtime.handle().enter();
        let journal = Journal::default();
        let source = Source::new(journal.clone(), script);
        let cache = set(TokenCache::builder(credentials("own"), source)).build();
        (Self { cache, journal, handle: runtime.handle().clone() }, runtime)
    }

    /// On a thread of its own.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let world = self.clone();
        thread::spawn(move || {
            world.handle.enter();
            work(&world)
        })
    }

    /// Callers of `get`, each on a thread of its own.
    pub fn callers(&self, count: usize) -> Vec<JoinHandle<Result<AccessToken, TokenError>>> {
        (0..count).map(|_| self.spawn(Self::get)).collect()
    }

    pub fn get(&self) -> Result<AccessToken, TokenError> {
        shuttle::future::block_on(self.watch(self.cache.get()))
    }

    pub fn get_for(&self, id: &str) -> Result<AccessToken, TokenError> {
        let credentials = credentials(id);
        shuttle::future::block_on(self.watch(self.cache.get_for(&credentials)))
    }

    /// Polls it a few times and drops it.
    pub fn give_up(&self, polls: usize) {
        let mut get = pin!(self.watch(self.cache.get()));
        for _ in 0..polls {
            if get.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                return;
            }
            thread::yield_now();
        }
    }

    /// Whether it has a token for whoever asks now.
    pub fn get_at_once(&self) -> AccessToken {
        let get = pin!(self.watch(self.cache.get()));
        match get.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => result.unwrap(),
            Poll::Pending => panic!("a caller waits, although there is a valid token"),
        }
    }

    /// It counts unless the token is over.
    pub fn reject(&self, token: &AccessToken) {
        let is_over = Instant::now() >= end(token);
        self.cache.reject(token);
        if !is_over {
            self.journal.rejected(token);
        }
    }

    pub fn remove(&self, id: &str) {
        self.journal.removing(id);
        self.cache.remove(&credentials(id));
    }

    /// No token is handed out after its rejection, nor after its end.
    async fn watch(
        &self,
        get: impl Future<Output = Result<AccessToken, TokenError>>,
    ) -> Result<AccessToken, TokenError> {
        let mut get = pin!(get);
        let mut has_waited = false;
        let asked = self.journal.moment();
        poll_fn(|context| {
            let (moment, now) = (self.journal.moment(), Instant::now());
            let polled = get.as_mut().poll(context);
            if let Poll::Ready(Ok(token)) = &polled {
                self.journal.may_be_handed_out(token, asked, moment);
                assert!(has_waited || now < end(token), "a token is handed out after its end");
            }
            has_waited |= polled.is_pending();
            polled
        })
        .await
    }

    /// Waits until all tasks have ended.
    pub fn settle(&self) {
        shuttle::future::block_on(self.handle.idle());
    }
}

/// No timer was needed: nobody was woken by one in the place of what they waited for.
pub fn assert_nobody_slept() {
    assert_eq!(tokio::time::elapsed(), Duration::ZERO, "it took a timer to go on");
}

pub fn join<T>(threads: impl IntoIterator<Item = JoinHandle<T>>) -> Vec<T> {
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
