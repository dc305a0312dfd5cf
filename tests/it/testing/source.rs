use std::sync::OnceLock;

use tokio::time::{Instant, sleep};
use tower::{Service, ServiceExt};
use tower_oauth2::source::Cause;
use tower_oauth2::testing::ScriptedSource;
use tower_oauth2::{AccessToken, TokenRequest, Tokens};

use crate::support::{SECRET, credentials, hour, secret, secs, settle};

#[tokio::test(start_paused = true)]
async fn requests_are_numbered_and_recorded() {
    let source = ScriptedSource::tokens(hour);
    let tokens = Tokens::new(credentials().scope("read"), source.clone());
    assert_eq!(source.count(), 0);
    tokens.get().await.unwrap().reject();
    assert_eq!(secret(&tokens).await, "token-2");
    let requests = source.requests();
    assert_eq!(source.count(), 2);
    assert_eq!([requests[0].cause(), requests[1].cause()], [Cause::Cold, Cause::Rejected]);
    assert_eq!(requests[1].token().unwrap().secret(), "token-1");
}

#[tokio::test(start_paused = true)]
async fn clones_share_the_numbers() {
    let source = ScriptedSource::tokens(hour);
    for n in 1..=3 {
        let request = TokenRequest::new(credentials());
        let token = source.clone().oneshot(request).await.unwrap();
        assert_eq!(token.secret(), format!("token-{n}"));
    }
    assert_eq!(source.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn requests_are_answered_concurrently() {
    let source = ScriptedSource::new(|n, _| async move {
        sleep(secs(3 - n as u64)).await;
        Ok(hour(n))
    });
    let start = Instant::now();
    let ask = || source.clone().oneshot(TokenRequest::new(credentials()));
    let (first, second) = tokio::join!(ask(), ask());
    assert_eq!((first.unwrap().secret(), second.unwrap().secret()), ("token-1", "token-2"));
    assert_eq!(start.elapsed(), secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_script_can_look_at_its_source() {
    static SOURCE: OnceLock<ScriptedSource> = OnceLock::new();
    let source = SOURCE.get_or_init(|| {
        ScriptedSource::tokens(|n| {
            assert_eq!(SOURCE.get().unwrap().count(), n);
            hour(n)
        })
    });
    source.clone().oneshot(TokenRequest::new(credentials())).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_fetch_of_a_dropped_caller_is_completed() {
    let source = ScriptedSource::new(|n, _| async move {
        sleep(secs(1)).await;
        Ok(hour(n))
    });
    let tokens = Tokens::new(credentials(), source.clone());
    let caller = tokio::spawn({
        let tokens = tokens.clone();
        async move { tokens.get().await }
    });
    settle().await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    assert_eq!(secret(&tokens).await, "token-1");
    assert_eq!(source.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_keeps_its_number() {
    let mut source = ScriptedSource::tokens(hour);
    drop(source.call(TokenRequest::new(credentials())));
    assert_eq!(source.count(), 1);
    let token = source.call(TokenRequest::new(credentials())).await.unwrap();
    assert_eq!(token.secret(), "token-2");
}

// X3
#[tokio::test(start_paused = true)]
async fn debug_shows_the_count_and_no_secret() {
    let source = ScriptedSource::tokens(|_| AccessToken::new(SECRET).unwrap());
    source.clone().oneshot(TokenRequest::new(credentials())).await.unwrap();
    assert_eq!(format!("{source:?}"), "ScriptedSource { count: 1, .. }");
    assert!(!format!("{:?}", source.requests()).contains(SECRET));
}
