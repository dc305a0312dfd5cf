use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, advance, sleep, timeout};
use tower::retry::RetryLayer;
use tower::{Layer, ServiceBuilder, ServiceExt};
use tower_oauth2::grant::{RefreshToken, RotatedToken};
use tower_oauth2::source::{Backoff, Refresh, RefreshTokenLayer, TokenRetry};
use tower_oauth2::{
    AccessToken, TokenCache, TokenEndpoint, TokenError, TokenErrorKind, TokenRequest,
};

use super::server::Rotating;
use crate::support::{Source, credentials, hour, settle};

/// Where refresh tokens are persisted.
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

fn source(server: &Rotating) -> Refresh<TokenEndpoint<Rotating>> {
    RefreshTokenLayer::new().layer(TokenEndpoint::new(server.clone()))
}

async fn ask(server: &Rotating, user: &RefreshToken) -> Result<AccessToken, TokenError> {
    let credentials = credentials().refresh_token(user.clone());
    source(server).oneshot(TokenRequest::new(credentials)).await
}

// G3
#[tokio::test(start_paused = true)]
async fn the_rotated_token_is_used_and_has_been_persisted_before() {
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
async fn it_is_used_once_at_a_time_by_however_many_caches() {
    let server = Rotating::slow(Duration::from_millis(100));
    let user = Disk::default().holding("r-1");
    let mut caches = JoinSet::new();
    for _ in 0..20 {
        let of_user = credentials().refresh_token(user.clone());
        let tokens = TokenCache::new(of_user, source(&server));
        caches.spawn(async move { tokens.get().await.unwrap() });
    }
    assert_eq!(caches.join_all().await.len(), 20);
    assert_eq!(server.most_at_once(), 1);
    let used = server.used();
    assert_eq!(used, (1..=20).map(|n| format!("r-{n}")).collect::<Vec<_>>());
}

// C2, C6
#[tokio::test(start_paused = true)]
async fn a_cache_renews_with_what_came_last() {
    let (server, disk) = (Rotating::new(), Disk::default());
    let of_user = credentials().refresh_token(disk.holding("r-1"));
    let tokens = TokenCache::new(credentials(), source(&server));
    for n in 1..=3 {
        let mut callers = JoinSet::new();
        for _ in 0..100 {
            let (tokens, of_user) = (tokens.clone(), of_user.clone());
            callers.spawn(async move { tokens.get_for(&of_user).await.unwrap() });
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
    // While the server has it, and while it is being persisted.
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
async fn a_caller_that_is_dropped_before_its_turn_asks_for_nothing() {
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
async fn a_server_that_never_answers_holds_up_others_for_a_minute_at_most() {
    let stuck = Source::new(|n, _| async move {
        if n == 1 {
            std::future::pending::<()>().await;
        }
        Ok(hour(n))
    });
    let source = RefreshTokenLayer::new().layer(stuck.clone());
    let of_user = credentials().refresh_token(RefreshToken::in_memory("alf", "r-1"));
    let request = TokenRequest::new(of_user);
    timeout(Duration::from_secs(1), source.clone().oneshot(request.clone())).await.unwrap_err();
    let before = Instant::now();
    assert_eq!(source.oneshot(request).await.unwrap().secret(), "token-2");
    assert_eq!(before.elapsed(), Duration::from_secs(60));
}

// G3
#[tokio::test(start_paused = true)]
async fn one_that_can_not_be_persisted_is_offered_again_and_not_lost() {
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
        // Nothing more is spent before it is safe.
        assert_eq!(server.used(), ["r-1"]);
    }
    disk.fill(false);
    assert_eq!(ask(&server, &user).await.unwrap().secret(), "token-2");
    assert_eq!(disk.written(), ["r-2", "r-3"]);
    assert_eq!(server.used(), ["r-1", "r-2"]);
}

// G3
#[tokio::test(start_paused = true)]
async fn a_disk_that_hangs_or_panics_is_an_error() {
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
async fn a_cache_goes_on_with_a_valid_token_while_nothing_can_be_persisted() {
    let (server, disk) = (Rotating::new(), Disk::default());
    let tokens = TokenCache::new(credentials().refresh_token(disk.holding("r-1")), source(&server));
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
async fn invalid_grant_says_what_to_do_and_is_over_when_that_is_done() {
    let server = Rotating::new();
    let user = RefreshToken::in_memory("alf", "r-1");
    let of_user = credentials().refresh_token(user.clone());
    let tokens = TokenCache::builder(of_user, source(&server))
        .permanent_backoff(Backoff::new(Duration::from_secs(60), Duration::from_secs(60)))
        .build();
    server.revoke();
    for _ in 0..10 {
        let error = tokens.get().await.unwrap_err();
        assert_eq!((error.error_code(), error.is_transient()), (Some("invalid_grant"), false));
        let text = error.to_string();
        assert!(text.ends_with("the user has to authorize again"), "{text}");
    }
    assert_eq!(server.used(), ["r-1"]);

    server.grant("anew");
    user.set("anew");
    assert_eq!(tokens.get().await.unwrap().secret(), "token-1");
    assert_eq!(server.used(), ["r-1", "anew"]);
}

// G5
#[tokio::test(start_paused = true)]
async fn one_that_is_set_under_way_is_used_at_once_and_not_displaced() {
    let server = Rotating::slow(Duration::from_secs(1));
    let disk = Disk::default();
    let user = disk.holding("r-1");
    for (n, set) in ["first", "second"].into_iter().enumerate() {
        let asked = tokio::spawn({
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
        let token = asked.await.unwrap().unwrap();
        // Whatever the old one still brought, a token or `invalid_grant`.
        assert_eq!(token.secret(), if n == 0 { "token-2" } else { "token-3" });
    }
    assert_eq!(server.used(), ["r-1", "first", "r-3", "second"]);
    assert_eq!(disk.written(), ["r-3", "r-4"]);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_set_while_another_is_persisted_is_persisted_last() {
    let disk = Disk { pause: Duration::from_secs(2), ..Disk::default() };
    let user = disk.holding("r-1");
    let asked = tokio::spawn({
        let user = user.clone();
        async move { ask(&Rotating::new(), &user).await }
    });
    sleep(Duration::from_secs(1)).await;
    user.set("by-hand");
    asked.await.unwrap().unwrap();
    assert_eq!(disk.written(), ["r-2", "by-hand"]);
}

// G3
#[tokio::test(start_paused = true)]
async fn a_retry_begins_with_the_refresh_token_of_then() {
    let (server, disk) = (Rotating::new(), Disk::default());
    let user = disk.holding("r-1");
    disk.fill(true);
    let source = ServiceBuilder::new()
        .layer(RetryLayer::new(TokenRetry::new(5)))
        .layer(RefreshTokenLayer::new())
        .service(TokenEndpoint::new(server.clone()));
    let asked = tokio::spawn(source.oneshot(TokenRequest::new(credentials().refresh_token(user))));
    settle().await;
    disk.fill(false);
    assert_eq!(asked.await.unwrap().unwrap().secret(), "token-2");
    assert_eq!(server.used(), ["r-1", "r-2"]);
}
