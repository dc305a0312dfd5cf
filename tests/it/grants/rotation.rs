use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, advance, sleep, timeout};
use tower::{ServiceExt, service_fn};
use tower_oauth2::grant::{RefreshToken, RotatedToken};
use tower_oauth2::source::{Backoff, TokenRetry};
use tower_oauth2::{
    AccessToken, TokenCache, TokenEndpoint, TokenError, TokenErrorKind, TokenRequest, Tokens,
};

use super::server::Rotating;
use super::{HttpRequest, answer};
use crate::support::{credentials, secs, settle, single_try};

/// The place where refresh tokens are persisted.
#[derive(Clone, Default)]
struct Disk {
    written: Arc<Mutex<Vec<String>>>,
    is_full: Arc<AtomicBool>,
    pause: Duration,
}

impl Disk {
    fn holding(&self, refresh_token: &str) -> RefreshToken {
        let disk = self.clone();
        RefreshToken::new("alf", refresh_token, move |rotated| disk.clone().write(rotated))
    }

    async fn write(self, rotated: RotatedToken) -> Result<(), &'static str> {
        assert_eq!(rotated.name(), "alf");
        sleep(self.pause).await;
        if self.is_full.load(Ordering::Relaxed) {
            return Err("disk full");
        }
        self.written.lock().unwrap().push(rotated.secret().to_owned());
        Ok(())
    }

    fn fill(&self, is_full: bool) {
        self.is_full.store(is_full, Ordering::Relaxed);
    }

    fn written(&self) -> Vec<String> {
        self.written.lock().unwrap().clone()
    }
}

fn source(server: &Rotating) -> TokenEndpoint {
    single_try(server.clone())
}

async fn ask(server: &Rotating, user: &RefreshToken) -> Result<AccessToken, TokenError> {
    let credentials = credentials().grant(user.clone());
    source(server).oneshot(TokenRequest::new(credentials)).await
}

// G3
#[tokio::test(start_paused = true)]
async fn a_rotated_token_is_persisted_and_then_used() {
    let (server, disk) = (Rotating::new(), Disk::default());
    let user = disk.holding("r-1");
    for n in 1..=3 {
        assert_eq!(ask(&server, &user).await.unwrap().secret(), format!("token-{n}"));
        assert_eq!(disk.written().len(), n);
    }
    assert_eq!(server.used(), ["r-1", "r-2", "r-3"]);
    assert_eq!(disk.written(), ["r-2", "r-3", "r-4"]);
}

// G3
#[tokio::test(start_paused = true)]
async fn the_access_token_waits_until_the_refresh_token_is_persisted() {
    let disk = Disk { pause: Duration::from_secs(5), ..Disk::default() };
    let before = Instant::now();
    ask(&Rotating::new(), &disk.holding("r-1")).await.unwrap();
    assert_eq!(before.elapsed(), Duration::from_secs(5));
    assert_eq!(disk.written(), ["r-2"]);
}

// G3
#[tokio::test(start_paused = true)]
async fn many_caches_use_a_refresh_token_one_at_a_time() {
    let server = Rotating::slow(Duration::from_millis(100));
    let user = Disk::default().holding("r-1");
    let mut caches = JoinSet::new();
    for _ in 0..20 {
        let of_user = credentials().grant(user.clone());
        let tokens = Tokens::new(of_user, source(&server));
        caches.spawn(async move { tokens.get().await.unwrap() });
    }
    assert_eq!(caches.join_all().await.len(), 20);
    assert_eq!(server.most_at_once(), 1);
    let used = server.used();
    assert_eq!(used, (1..=20).map(|n| format!("r-{n}")).collect::<Vec<_>>());
}

// C2, C6
#[tokio::test(start_paused = true)]
async fn a_cache_renews_with_the_latest_refresh_token() {
    let (server, disk) = (Rotating::new(), Disk::default());
    let of_user = credentials().grant(disk.holding("r-1"));
    let tokens = Tokens::new(of_user, source(&server));
    for n in 1..=3 {
        let mut callers = JoinSet::new();
        for _ in 0..100 {
            let tokens = tokens.clone();
            callers.spawn(async move { tokens.get().await.unwrap() });
        }
        assert_eq!(callers.join_all().await.len(), 100);
        assert_eq!(server.used().len(), n);
        advance(Duration::from_secs(3600)).await;
    }
}

// G3
#[tokio::test(start_paused = true)]
async fn a_dropped_caller_does_not_lose_the_rotated_token() {
    let server = Rotating::slow(Duration::from_secs(1));
    let disk = Disk { pause: Duration::from_secs(1), ..Disk::default() };
    let user = disk.holding("r-1");
    // The caller is dropped during the token request, and during the save.
    for (n, patience) in [(1, 500), (2, 1500)] {
        timeout(Duration::from_millis(patience), ask(&server, &user)).await.unwrap_err();
        sleep(Duration::from_secs(3)).await;
        assert_eq!(disk.written().len(), n);
    }
    assert_eq!(ask(&server, &user).await.unwrap().secret(), "token-3");
    assert_eq!(server.used(), ["r-1", "r-2", "r-3"]);
}

// G3
#[tokio::test(start_paused = true)]
async fn a_caller_dropped_while_it_waits_sends_nothing() {
    let server = Rotating::slow(Duration::from_secs(1));
    let user = Disk::default().holding("r-1");
    let mut all = JoinSet::new();
    for n in 0..1000 {
        let (server, user) = (server.clone(), user.clone());
        let patience = if n == 0 { 10_000 } else { 500 };
        all.spawn(async move {
            timeout(Duration::from_millis(patience), ask(&server, &user)).await.is_ok()
        });
        settle().await;
    }
    assert_eq!(all.join_all().await.into_iter().filter(|is_served| *is_served).count(), 1);
    assert_eq!(ask(&server, &user).await.unwrap().secret(), "token-2");
}

// G3
#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_delays_others_for_a_minute() {
    let requests = Arc::new(AtomicUsize::new(0));
    let server = service_fn(move |_: HttpRequest| {
        let n = requests.fetch_add(1, Ordering::Relaxed) + 1;
        async move {
            if n == 1 {
                std::future::pending::<()>().await;
            }
            Ok::<_, Infallible>(answer(200, format!(r#"{{"access_token":"token-{n}"}}"#)))
        }
    });
    let source = single_try(server).timeout(secs(3600));
    let of_user = credentials().grant(RefreshToken::in_memory("alf", "r-1"));
    let request = TokenRequest::new(of_user);
    timeout(Duration::from_secs(1), source.clone().oneshot(request.clone())).await.unwrap_err();
    let before = Instant::now();
    assert_eq!(source.oneshot(request).await.unwrap().secret(), "token-2");
    assert_eq!(before.elapsed(), Duration::from_secs(60));
}

// G3
#[tokio::test(start_paused = true)]
async fn a_token_that_could_not_be_persisted_is_not_lost() {
    let (server, disk) = (Rotating::new(), Disk::default());
    let user = disk.holding("r-1");
    disk.fill(true);
    for _ in 0..3 {
        let error = ask(&server, &user).await.unwrap_err();
        assert_eq!(error.kind(), TokenErrorKind::Source);
        assert!(error.is_transient());
        let why = "the new refresh token could not be persisted; check source()";
        assert!(error.to_string().ends_with(why), "{error}");
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "disk full");
        // No refresh token is used before the last one is persisted.
        assert_eq!(server.used(), ["r-1"]);
    }
    disk.fill(false);
    assert_eq!(ask(&server, &user).await.unwrap().secret(), "token-2");
    assert_eq!(disk.written(), ["r-2", "r-3"]);
    assert_eq!(server.used(), ["r-1", "r-2"]);
}

// G3
#[tokio::test(start_paused = true)]
async fn a_save_that_hangs_or_panics_is_an_error() {
    let server = Rotating::new();
    let disk = Disk { pause: Duration::from_secs(3600), ..Disk::default() };
    let user = disk.holding("r-1");
    let before = Instant::now();
    let error = ask(&server, &user).await.unwrap_err();
    assert_eq!((error.kind(), before.elapsed()), (TokenErrorKind::Source, Duration::from_secs(30)));

    let is_broken = Arc::new(AtomicBool::new(true));
    let broken = is_broken.clone();
    let server = Rotating::new();
    let user = RefreshToken::new("alf", "r-1", move |_| {
        assert!(!broken.load(Ordering::Relaxed), "a bug");
        async { Ok::<_, std::io::Error>(()) }
    });
    assert_eq!(ask(&server, &user).await.unwrap_err().kind(), TokenErrorKind::Interrupted);
    is_broken.store(false, Ordering::Relaxed);
    assert_eq!(ask(&server, &user).await.unwrap().secret(), "token-2");
}

// C9
#[tokio::test(start_paused = true)]
async fn a_valid_access_token_is_used_while_saves_fail() {
    let (server, disk) = (Rotating::new(), Disk::default());
    let tokens = Tokens::new(credentials().grant(disk.holding("r-1")), source(&server));
    assert_eq!(tokens.get().await.unwrap().secret(), "token-1");
    disk.fill(true);
    advance(Duration::from_secs(3400)).await;
    for _ in 0..10 {
        assert_eq!(tokens.get().await.unwrap().secret(), "token-1");
        settle().await;
    }
    assert_eq!(server.used(), ["r-1", "r-2"]);
    disk.fill(false);
    sleep(Duration::from_secs(60)).await;
    tokens.get().await.unwrap();
    settle().await;
    assert_eq!(tokens.get().await.unwrap().secret(), "token-3");
}

// G5, C9
#[tokio::test(start_paused = true)]
async fn invalid_grant_advises_authorization_and_ends_with_set() {
    let server = Rotating::new();
    let user = RefreshToken::in_memory("alf", "r-1");
    let of_user = credentials().grant(user.clone());
    let tokens = TokenCache::builder(source(&server))
        .permanent_backoff(Backoff::new(Duration::from_secs(60), Duration::from_secs(60)))
        .build()
        .tokens(&of_user);
    server.revoke();
    for _ in 0..10 {
        let error = tokens.get().await.unwrap_err();
        assert_eq!((error.error_code(), error.is_transient()), (Some("invalid_grant"), false));
        let text = error.to_string();
        assert!(text.ends_with("the user has to authorize again"), "{text}");
    }
    assert_eq!(server.used(), ["r-1"]);

    server.grant("r-new");
    user.set("r-new");
    assert_eq!(tokens.get().await.unwrap().secret(), "token-1");
    assert_eq!(server.used(), ["r-1", "r-new"]);
}

// G5
#[tokio::test(start_paused = true)]
async fn a_token_that_is_set_during_a_refresh_is_used_at_once() {
    let server = Rotating::slow(Duration::from_secs(1));
    let disk = Disk::default();
    let user = disk.holding("r-1");
    for (n, set) in ["first", "second"].into_iter().enumerate() {
        let call = tokio::spawn({
            let (server, user) = (server.clone(), user.clone());
            async move { ask(&server, &user).await }
        });
        sleep(Duration::from_millis(500)).await;
        if n == 1 {
            server.revoke();
        }
        user.set(set);
        sleep(Duration::from_millis(600)).await;
        server.grant(set);
        let token = call.await.unwrap().unwrap();
        // The old one brings a token or `invalid_grant`.
        assert_eq!(token.secret(), if n == 0 { "token-2" } else { "token-3" });
    }
    assert_eq!(server.used(), ["r-1", "first", "r-3", "second"]);
    assert_eq!(disk.written(), ["r-3", "r-4"]);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_set_during_a_save_is_persisted_last() {
    let disk = Disk { pause: Duration::from_secs(2), ..Disk::default() };
    let user = disk.holding("r-1");
    let call = tokio::spawn({
        let user = user.clone();
        async move { ask(&Rotating::new(), &user).await }
    });
    sleep(Duration::from_secs(1)).await;
    user.set("by-hand");
    call.await.unwrap().unwrap();
    assert_eq!(disk.written(), ["r-2", "by-hand"]);
}

// G3
#[tokio::test(start_paused = true)]
async fn a_retry_uses_the_current_refresh_token() {
    let (server, disk) = (Rotating::new(), Disk::default());
    let user = disk.holding("r-1");
    disk.fill(true);
    let source = TokenEndpoint::new(server.clone()).retry(TokenRetry::new(5));
    let call = tokio::spawn(source.oneshot(TokenRequest::new(credentials().grant(user))));
    settle().await;
    disk.fill(false);
    assert_eq!(call.await.unwrap().unwrap().secret(), "token-2");
    assert_eq!(server.used(), ["r-1", "r-2"]);
}
