//! Refresh tokens: each has one user at a time, and is persisted first (G3, G5).

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use shuttle::future::block_on;
use shuttle::rand::{Rng, thread_rng};
use shuttle::thread::{self, JoinHandle};
use tokio::runtime::{Handle, Runtime};
use tokio::time::elapsed;
use tower::{BoxError, Service, ServiceExt};
use tower_oauth2_races::grant::{RefreshToken, RotatedToken};
use tower_oauth2_races::source::Refresh;
use tower_oauth2_races::{AccessToken, TokenError, TokenRequest};

use crate::support::*;

/// A server that rotates refresh tokens. A token is `<grant>-<number>`.
///
/// The newest token is valid. The one before it is too, as long as the newest one has not been
/// used: its response may have been lost. A second use of the older token revokes the newest one.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<Books>>);

#[derive(Default)]
struct Books {
    used: Vec<String>,
    /// The token that was issued last.
    newest: Option<String>,
    /// The tokens that were persisted, in order.
    saved: Vec<String>,
    /// The requests in progress, except for those of the runtime that stalls.
    requests_in_progress: usize,
    /// The runtime that stalls, and that is resumed later.
    stalling: Option<Handle>,
    /// The next step in which that runtime stalls.
    stalls_in: Option<Step>,
    has_stalled: bool,
    /// Another token is being set, so tokens of the first grant need not be persisted.
    is_set: bool,
    /// Another token has been set, so responses for the first grant are outdated.
    is_replaced: bool,
    outdated: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Request,
    Save,
}

impl Server {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap()
    }

    fn refresh_token(&self) -> RefreshToken {
        let server = self.clone();
        RefreshToken::new("user", "a-0", move |rotated: RotatedToken| {
            let server = server.clone();
            async move {
                server.stall_in(Step::Save);
                pause().await;
                server.save(rotated.secret());
                Ok::<_, BoxError>(())
            }
        })
    }

    fn save(&self, token: &str) {
        let mut books = self.books();
        let (grant, _) = token.split_once('-').unwrap();
        let mut of_grant = books.saved.iter().filter(|saved| saved.starts_with(grant));
        let is_newest = of_grant.all(|saved| saved.as_str() <= token);
        assert!(is_newest, "{token} is persisted after a newer one");
        books.saved.push(token.to_owned());
    }

    /// Stalls the runtime of the calling task if it is to stall in this step.
    fn stall_in(&self, step: Step) {
        let mut books = self.books();
        if self.is_on_stalling_runtime(&books) && books.stalls_in == Some(step) {
            books.stalls_in = None;
            books.has_stalled = true;
            Handle::try_current().unwrap().stall();
        }
    }

    fn is_on_stalling_runtime(&self, books: &Books) -> bool {
        books.stalling.is_some() && Handle::try_current().ok() == books.stalling
    }

    /// Asserts that the token may be used, and returns its successor.
    fn rotate(&self, used: &str) -> String {
        let mut books = self.books();
        if !self.is_on_stalling_runtime(&books) {
            books.requests_in_progress += 1;
            assert_eq!(books.requests_in_progress, 1, "a refresh token is used twice at once");
        }
        let is_first = used.ends_with("-0");
        let is_reused = books.used.iter().any(|known| known == used);
        assert!(!is_reused || books.has_stalled, "{used} is used twice");
        let is_newest = books.newest.as_deref() == Some(used);
        let is_predecessor = books.used.last().is_some_and(|last| last == used);
        assert!(is_first && !is_reused || is_newest || is_predecessor, "{used} is not valid");
        let is_saved = is_first || books.saved.iter().any(|saved| saved == used);
        assert!(is_saved, "{used} is used before it is persisted");
        books.used.push(used.to_owned());
        let (grant, _) = used.split_once('-').unwrap();
        let of_grant = books.used.iter().filter(|used| used.starts_with(grant)).count();
        let next = format!("{grant}-{of_grant}");
        books.newest = Some(next.clone());
        next
    }
}

impl Service<TokenRequest> for Server {
    type Response = AccessToken;
    type Error = BoxError;
    type Future = BoxFuture<Result<AccessToken, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: TokenRequest) -> Self::Future {
        let parameters = request.credentials().parameters();
        let used = &parameters.iter().find(|(name, _)| name == "refresh_token").unwrap().1;
        let next = self.rotate(used);
        let server = self.clone();
        Box::pin(async move {
            server.stall_in(Step::Request);
            pause().await;
            {
                let mut books = server.books();
                if !server.is_on_stalling_runtime(&books) {
                    books.requests_in_progress -= 1;
                }
                if books.is_replaced && next.starts_with("a-") {
                    books.outdated.push(next.clone());
                }
            }
            Ok(AccessToken::new(format!("with-{next}"))?.with_refresh_token(next))
        })
    }
}

/// A server, a refresh token and a service that uses it.
#[derive(Clone)]
struct Setting {
    server: Server,
    refresh_token: RefreshToken,
    refresh: Refresh<Server>,
    request: TokenRequest,
}

impl Setting {
    fn new() -> Self {
        let server = Server::default();
        let refresh_token = server.refresh_token();
        let refresh = Refresh::new(server.clone());
        let request = TokenRequest::new(credentials("own").grant(refresh_token.clone()));
        Self { server, refresh_token, refresh, request }
    }

    /// Requests a token on a new thread. Returns the refresh token that came with it.
    fn caller(&self, runtime: &Runtime) -> JoinHandle<String> {
        let (handle, setting) = (runtime.handle().clone(), self.clone());
        thread::spawn(move || {
            handle.enter();
            let got: Result<AccessToken, TokenError> =
                block_on(setting.refresh.oneshot(setting.request));
            let got = got.unwrap();
            let rotated = got.secret().strip_prefix("with-").unwrap();
            let books = setting.server.books();
            // A newer one may have been persisted instead.
            let is_saved = books.saved.iter().any(|saved| saved.as_str() >= rotated);
            assert!(is_saved || books.is_set, "{rotated} is not persisted");
            let is_outdated = books.outdated.iter().any(|outdated| outdated == rotated);
            assert!(!is_outdated, "the request with the earlier token is not repeated");
            rotated.to_owned()
        })
    }
}

// G3
#[test]
fn a_refresh_token_is_used_by_one_task_at_a_time() {
    explore(|| {
        let (runtime, setting) = (Runtime::new(), Setting::new());
        let callers = [(); 2].map(|()| setting.caller(&runtime));
        let dropped = {
            let (handle, setting) = (runtime.handle().clone(), setting.clone());
            thread::spawn(move || {
                handle.enter();
                let mut call = pin!(setting.refresh.oneshot(setting.request));
                for _ in 0..thread_rng().gen_range(1..4) {
                    let mut cx = Context::from_waker(Waker::noop());
                    if call.as_mut().poll(&mut cx).is_ready() {
                        return;
                    }
                    thread::yield_now();
                }
            })
        };
        join(callers);
        dropped.join().unwrap();
        block_on(runtime.handle().idle());
        let books = setting.server.books();
        assert!((2..=3).contains(&books.used.len()));
        assert_eq!(books.saved.len(), books.used.len(), "a refresh token is lost");
        assert_no_timer_was_needed();
    });
}

// G5
#[test]
fn a_refresh_token_that_is_set_is_not_displaced() {
    explore(|| {
        let (runtime, setting) = (Runtime::new(), Setting::new());
        let callers = [(); 2].map(|()| setting.caller(&runtime));
        let set = {
            let Setting { server, refresh_token, .. } = setting.clone();
            thread::spawn(move || {
                server.books().is_set = true;
                refresh_token.set("b-0");
                let mut books = server.books();
                books.saved.push("b-0".to_owned());
                books.is_replaced = true;
            })
        };
        join(callers);
        set.join().unwrap();
        let last = setting.caller(&runtime).join().unwrap();
        assert!(last.starts_with("b-"), "{last} came from the earlier grant");
        assert_eq!(setting.server.books().saved.last(), Some(&last), "another one is persisted");
        assert_no_timer_was_needed();
    });
}

// C3, G3
#[test]
fn a_refresh_token_is_taken_over_and_none_is_lost() {
    explore(|| {
        let (runtime, stalling) = (Runtime::new(), Runtime::new());
        let setting = Setting::new();
        let step = [Some(Step::Request), Some(Step::Save), None][thread_rng().gen_range(0..3)];
        {
            let mut books = setting.server.books();
            books.stalling = Some(stalling.handle().clone());
            books.stalls_in = step;
        }
        let first = setting.caller(&stalling);
        match step {
            Some(_) => wait_until(|| setting.server.books().has_stalled),
            // The runtime stalls at any time, perhaps after the first task has ended.
            None => {
                setting.server.books().has_stalled = true;
                stalling.handle().stall();
            }
        }
        let callers = [(); 3].map(|()| setting.caller(&runtime));
        let handle = stalling.handle().clone();
        // The first task comes back when the others are about to take over, or when they are done.
        let later = [SILENCE, 2 * SILENCE][thread_rng().gen_range(0..2)];
        let resume = thread::spawn(move || {
            sleep(later);
            handle.resume();
        });
        join(callers);
        let took = elapsed();
        assert!(took <= SILENCE + BEAT_INTERVAL, "the callers took {took:?}");
        resume.join().unwrap();
        first.join().unwrap();
        for runtime in [&stalling, &runtime] {
            block_on(runtime.handle().idle());
        }
        {
            let books = setting.server.books();
            assert_eq!(books.saved.last(), books.newest.as_ref(), "the newest one is lost");
        }
        setting.caller(&runtime).join().unwrap();
    });
}
