//! A refresh token: used once at a time, persisted before it is used again, and not displaced once one was set.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use shuttle::rand::{Rng, thread_rng};
use shuttle::thread::{self, JoinHandle};
use tokio::runtime::Runtime;
use tower::{BoxError, Layer, Service, ServiceExt};
use tower_oauth2_races::{
    AccessToken, Refresh, RefreshToken, RefreshTokenLayer, RotatedToken, TokenRequest,
};

use crate::support::*;

/// A server that rotates: of each grant one refresh token is good, `<grant>-<n>`, and once only.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<Books>>);

#[derive(Default)]
struct Books {
    used: Vec<String>,
    saved: Vec<String>,
    is_asked: bool,
    /// Another one has been set: what still comes of the first need not be kept.
    is_set: bool,
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
                pause().await;
                server.books().saved.push(rotated.secret().to_owned());
                Ok::<_, BoxError>(())
            }
        })
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
        let used = parameters.iter().find(|(name, _)| name == "refresh_token").unwrap().1.clone();
        let (grant, number) = used.split_once('-').unwrap();
        let next = format!("{grant}-{}", number.parse::<usize>().unwrap() + 1);
        let mut books = self.books();
        assert!(!std::mem::replace(&mut books.is_asked, true), "it is used twice at once");
        assert!(books.used.iter().all(|known| *known != used), "{used} is used twice");
        let is_kept = number == "0" || books.saved.iter().any(|saved| *saved == used);
        assert!(is_kept, "{used} is used before it is persisted");
        books.used.push(used.into_owned());
        drop(books);
        let server = self.clone();
        Box::pin(async move {
            pause().await;
            server.books().is_asked = false;
            Ok(AccessToken::new(format!("with-{next}"))?.with_refresh_token(next))
        })
    }
}

fn caller(
    runtime: &Runtime,
    refresh: &Refresh<Server>,
    request: &TokenRequest,
) -> JoinHandle<String> {
    let (handle, refresh, request) = (runtime.handle().clone(), refresh.clone(), request.clone());
    thread::spawn(move || {
        handle.enter();
        let got = shuttle::future::block_on(refresh.clone().oneshot(request)).unwrap();
        let rotated = got.secret().strip_prefix("with-").unwrap();
        let server = refresh.get_ref();
        let books = server.books();
        let is_saved = books.saved.iter().any(|saved| saved == rotated);
        assert!(
            is_saved || books.is_set,
            "an access token is handed out before {rotated} is persisted"
        );
        rotated.to_owned()
    })
}

fn setting() -> (Runtime, Server, RefreshToken, Refresh<Server>, TokenRequest) {
    let runtime = Runtime::new();
    let server = Server::default();
    let refresh_token = server.refresh_token();
    let refresh = RefreshTokenLayer::new().layer(server.clone());
    let request = TokenRequest::new(credentials("own").refresh_token(refresh_token.clone()));
    (runtime, server, refresh_token, refresh, request)
}

// G3
#[test]
fn a_refresh_token_is_used_once_at_a_time_and_persisted_before_it_is_used_again() {
    explore(|| {
        let (runtime, server, _, refresh, request) = setting();
        let callers = [(); 2].map(|()| caller(&runtime, &refresh, &request));
        let gone = {
            let (handle, refresh) = (runtime.handle().clone(), refresh.clone());
            let request = request.clone();
            thread::spawn(move || {
                handle.enter();
                let mut asked = pin!(refresh.oneshot(request));
                for _ in 0..thread_rng().gen_range(1..4) {
                    let mut context = Context::from_waker(Waker::noop());
                    if asked.as_mut().poll(&mut context).is_ready() {
                        return;
                    }
                    thread::yield_now();
                }
            })
        };
        join(callers);
        gone.join().unwrap();
        shuttle::future::block_on(runtime.handle().idle());
        let books = server.books();
        assert!((2..=3).contains(&books.used.len()));
        assert_eq!(books.saved.len(), books.used.len(), "one was lost");
        assert_nobody_slept();
    });
}

// G5
#[test]
fn what_an_exchange_still_brings_does_not_displace_a_refresh_token_that_was_set() {
    explore(|| {
        let (runtime, server, refresh_token, refresh, request) = setting();
        let callers = [(); 2].map(|()| caller(&runtime, &refresh, &request));
        let setting = {
            let server = server.clone();
            thread::spawn(move || {
                server.books().is_set = true;
                refresh_token.set("b-0");
                server.books().saved.push("b-0".to_owned());
            })
        };
        join(callers);
        setting.join().unwrap();
        let last = caller(&runtime, &refresh, &request).join().unwrap();
        assert!(last.starts_with("b-"), "{last} came from the grant before");
        assert_eq!(server.books().saved.last(), Some(&last), "it is not the one that is persisted");
        assert_nobody_slept();
    });
}

/// A server that rotates, and for a while accepts a refresh token that was used already.
#[derive(Clone, Default)]
struct LenientServer(Arc<Mutex<Uses>>);

#[derive(Default)]
struct Uses {
    used: Vec<usize>,
    saved: Vec<usize>,
}

impl LenientServer {
    fn uses(&self) -> MutexGuard<'_, Uses> {
        self.0.lock().unwrap()
    }

    fn refresh_token(&self) -> RefreshToken {
        let server = self.clone();
        RefreshToken::new("user", "0", move |rotated: RotatedToken| {
            let server = server.clone();
            async move {
                pause().await;
                server.uses().saved.push(rotated.secret().parse().unwrap());
                Ok::<_, BoxError>(())
            }
        })
    }
}

impl Service<TokenRequest> for LenientServer {
    type Response = AccessToken;
    type Error = BoxError;
    type Future = BoxFuture<Result<AccessToken, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: TokenRequest) -> Self::Future {
        let parameters = request.credentials().parameters();
        let used = parameters.iter().find(|(name, _)| name == "refresh_token").unwrap().1.clone();
        let used: usize = used.parse().unwrap();
        let mut uses = self.uses();
        assert!(used == 0 || uses.saved.contains(&used), "{used} is used before it is persisted");
        uses.used.push(used);
        let next = uses.used.len().to_string();
        Box::pin(async move {
            pause().await;
            Ok(AccessToken::new(&next)?.with_refresh_token(next))
        })
    }
}

// C3, G3
#[test]
fn a_stopped_runtime_holds_up_others_for_a_second_and_loses_no_refresh_token() {
    explore(|| {
        let server = LenientServer::default();
        let refresh = RefreshTokenLayer::new().layer(server.clone());
        let credentials = credentials("own").refresh_token(server.refresh_token());
        let request = TokenRequest::new(credentials);
        let ask = |runtime: &Runtime| {
            let (handle, refresh) = (runtime.handle().clone(), refresh.clone());
            let request = request.clone();
            thread::spawn(move || {
                handle.enter();
                let got = shuttle::future::block_on(refresh.oneshot(request)).unwrap();
                got.secret().parse::<usize>().unwrap()
            })
        };
        let (stopping, driven) = (Runtime::new(), Runtime::new());
        let late = ask(&stopping);
        let stop = {
            let stopping = stopping.handle().clone();
            thread::spawn(move || stopping.stop())
        };
        let successors = [(); 2].map(|()| ask(&driven));
        let mut stop = Some(stop);
        let mut resume = || {
            if let Some(stop) = stop.take() {
                stop.join().unwrap();
                stopping.handle().resume();
            }
        };
        if thread_rng().gen_range(0..2) == 0 {
            resume();
        }
        let newest = join(successors).into_iter().max().unwrap();
        // A second without a sign of life, for the first of the two only.
        assert!(tokio::time::elapsed() <= Duration::from_millis(1250));
        resume();
        late.join().unwrap();
        shuttle::future::block_on(stopping.handle().idle());

        ask(&driven).join().unwrap();
        let uses = server.uses();
        let last_used = *uses.used.last().unwrap();
        assert!(last_used >= newest, "{last_used} has displaced {newest}");
        let saved = &uses.saved[..uses.saved.len() - 1];
        assert_eq!(saved.last(), Some(&last_used), "it is not the one that is persisted");
    });
}
