use std::time::Duration;

use http_body_util::Full;
use tower::retry::RetryLayer;
use tower::{Layer, ServiceExt};
use tower_oauth2::source::TokenRetry;
use tower_oauth2::store::{MemoryStore, TokenStoreLayer};
use tower_oauth2::{RequestExt, TokenCache, Tokens};

use super::{layer, said, send};
use crate::sources::sources;
use crate::support::{
    Api, ScriptedSource, Trace, credentials, get, hour, lasting, settle, single_try,
};

const FETCH: [&str; 3] =
    ["DEBUG <token_request>", "DEBUG token is requested", "DEBUG token arrived"];

// O
#[tokio::test(start_paused = true)]
async fn a_fetch_logs_its_endpoint_and_cause() {
    let (trace, _guard) = Trace::start();
    let tokens = Tokens::new(credentials(), ScriptedSource::tokens(hour));
    assert_eq!(send(&layer(&tokens), &Api::always(200)).await, 200);
    assert_eq!(said(&trace, 0), FETCH);
    let span = &trace.lines()[0];
    assert!(span.ends_with("token_request endpoint=https://auth.test cause=Cold"), "{span}");
    let arrived = &trace.lines()[2];
    assert!(arrived.contains("lifetime=Some(3600s)"), "{arrived}");
}

// O
#[tokio::test(start_paused = true)]
async fn the_source_runs_within_the_span_of_the_fetch() {
    let (_trace, _guard) = Trace::start();
    let source = ScriptedSource::new(|n, _| async move {
        tokio::task::yield_now().await;
        let span = tracing::Span::current();
        assert_eq!(span.metadata().unwrap().name(), "token_request");
        Ok(hour(n))
    });
    assert!(Tokens::new(credentials(), source).get().await.is_ok());
}

// O, C1
#[tokio::test(start_paused = true)]
async fn a_hit_logs_nothing() {
    let (trace, _guard) = Trace::start();
    let cache = TokenCache::new(ScriptedSource::tokens(hour));
    let tokens = cache.tokens(&credentials());
    let other = cache.tokens(&credentials().audience("other"));
    let (layer, api) = (layer(&tokens), Api::always(200));
    tokens.warm().await.unwrap();
    other.warm().await.unwrap();
    let before = trace.lines().len();
    assert_eq!(before, 2 * FETCH.len());

    for _ in 0..100 {
        assert_eq!(send(&layer, &api).await, 200);
        for request in [get("/").tokens(&other), get("/").no_token()] {
            layer.layer(api.clone()).oneshot(request).await.unwrap();
        }
        tokens.get().await.unwrap();
        other.get().await.unwrap();
    }
    settle().await;
    assert_eq!(trace.lines().len(), before);
}

// O, X2
#[tokio::test(start_paused = true)]
async fn a_request_to_an_unlisted_origin_is_logged() {
    let (trace, _guard) = Trace::start();
    let source = ScriptedSource::tokens(hour);
    let (layer, api) = (layer(&Tokens::new(credentials(), source)), Api::always(401));
    let foreign = http::Request::get("https://foreign.test/path").body(Full::default()).unwrap();
    layer.layer(api).oneshot(foreign).await.unwrap();
    let lines = trace.lines();
    assert_eq!(lines.len(), 1);
    assert!(lines[0].contains("origin=https://foreign.test"), "{lines:?}");
    assert!(lines[0].contains("got no token") && !lines[0].contains("path"), "{lines:?}");
}

// O, C9
#[tokio::test(start_paused = true)]
async fn a_failure_is_logged_once_with_its_back_off() {
    let (trace, _guard) = Trace::start();
    let auth_server = Api::always(503);
    let tokens = Tokens::new(credentials(), single_try(auth_server.clone()));
    let (layer, api) = (layer(&tokens), Api::always(200));
    for _ in 0..10 {
        assert_eq!(send(&layer, &api).await, 0);
    }
    assert_eq!(auth_server.count(), 1);
    assert_eq!(
        said(&trace, 0),
        ["DEBUG <token_request>", "DEBUG token is requested", "WARN token request failed"]
    );
    let error = tokens.get().await.unwrap_err();
    let line = &trace.lines()[2];
    let expected = format!(
        "error=no token from https://auth.test: the endpoint answered with an error (status 503); \
         check the state of that server retry_in={:?}",
        error.retry_in().unwrap()
    );
    assert!(line.ends_with(&expected), "{line}");
}

// O, C9
#[tokio::test(start_paused = true)]
async fn the_first_token_after_failures_is_logged() {
    let (trace, _guard) = Trace::start();
    let source = ScriptedSource::new(|n, _| async move {
        if n < 3 { Err("the source is down".into()) } else { Ok(hour(n)) }
    });
    let tokens = Tokens::new(credentials().label("shop"), source);
    for _ in 0..2 {
        tokens.get().await.unwrap_err();
        tokio::time::advance(Duration::from_secs(60)).await;
    }
    let before = trace.lines().len();
    tokens.get().await.unwrap().reject();
    let expected = [&FETCH[..], &["INFO tokens arrive again", "INFO token was rejected"]].concat();
    assert_eq!(said(&trace, before), expected);
    let line = &trace.lines()[before + 3];
    assert!(line.ends_with("label=shop"), "{line}");
    tokens.get().await.unwrap();
    assert_eq!(said(&trace, before + 5), FETCH);
}

// O, C8, C9: a rejection clears the failure of a renewal.
#[tokio::test(start_paused = true)]
async fn a_recovery_is_logged_after_the_failure_was_cleared() {
    let (trace, _guard) = Trace::start();
    let source = ScriptedSource::new(|n, _| async move {
        if n == 2 { Err("the source is down".into()) } else { Ok(hour(n)) }
    });
    let tokens = Tokens::new(credentials(), source);
    let token = tokens.get().await.unwrap();
    tokio::time::advance(Duration::from_secs(3400)).await;
    tokens.get().await.unwrap();
    settle().await;
    let before = trace.lines().len();
    token.reject();
    tokens.get().await.unwrap();
    let expected = [&["INFO token was rejected"], &FETCH[..], &["INFO tokens arrive again"]];
    assert_eq!(said(&trace, before), expected.concat());
}

// O, C9, C10: the warning was logged before the removal.
#[tokio::test(start_paused = true)]
async fn a_recovery_is_logged_after_the_credentials_were_removed() {
    let (trace, _guard) = Trace::start();
    let source = ScriptedSource::new(|n, _| async move {
        if n == 1 { Err("the source is down".into()) } else { Ok(hour(n)) }
    });
    let cache = TokenCache::new(source);
    let tokens = cache.tokens(&credentials());
    tokens.get().await.unwrap_err();
    cache.remove(tokens.credentials());
    assert_eq!(trace.lines().len(), 3, "the removal is not a recovery");
    tokens.get().await.unwrap();
    assert_eq!(said(&trace, 3), [&FETCH[..], &["INFO tokens arrive again"]].concat());
}

// O, C3, C9, S6: a panic is a failure only if it happens twice in a row.
#[tokio::test(start_paused = true)]
async fn a_recovery_follows_two_panics_and_a_stored_token_counts() {
    let panicking = |panics: usize| {
        ScriptedSource::new(move |n, _| async move {
            assert!(n > panics, "on purpose");
            Ok(hour(n))
        })
    };
    for (panics, is_recovery) in [(1, false), (2, true)] {
        let (trace, _guard) = Trace::start();
        let tokens = Tokens::new(credentials(), panicking(panics));
        while tokens.get().await.is_err() {
            tokio::time::advance(Duration::from_secs(60)).await;
        }
        let last = said(&trace, 0).pop().unwrap();
        assert_eq!(last == "INFO tokens arrive again", is_recovery, "{panics} panics: {last}");
    }

    // Another process has stored a token.
    let (trace, _guard) = Trace::start();
    let store = MemoryStore::new();
    let sharing =
        |source| Tokens::new(credentials(), TokenStoreLayer::new(store.clone()).layer(source));
    let one = sharing(ScriptedSource::new(|_, _| async { Err("the source is down".into()) }));
    one.get().await.unwrap_err();
    tokio::time::advance(Duration::from_secs(60)).await;
    sharing(ScriptedSource::tokens(hour)).get().await.unwrap();
    one.get().await.unwrap();
    let last = said(&trace, 0).split_off(trace.lines().len() - 3);
    let expected =
        ["DEBUG found a token in the store", "DEBUG token arrived", "INFO tokens arrive again"];
    assert_eq!(last, expected);
}

// O, C6
#[tokio::test(start_paused = true)]
async fn a_renewal_logs_its_outcome() {
    let (trace, _guard) = Trace::start();
    let source = ScriptedSource::new(|n, _| async move {
        match n {
            2 => Err("the source is down".into()),
            3 => Ok(lasting(n, Duration::from_secs(60))),
            _ => Ok(hour(n)),
        }
    });
    let tokens = Tokens::new(credentials(), source.clone());
    let (layer, api) = (layer(&tokens), Api::always(200));
    assert_eq!(send(&layer, &api).await, 200);
    // The renewal is due in the last fifth of the lifetime.
    tokio::time::advance(Duration::from_secs(3400)).await;
    for outcome in [
        &["WARN token renewal failed"][..],
        &["DEBUG renewal did not extend the lifetime", "INFO tokens arrive again"],
        &["DEBUG token arrived"],
    ] {
        let before = trace.lines().len();
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(send(&layer, &api).await, 200);
        settle().await;
        let begin = &["DEBUG <token_request>", "DEBUG token is requested"][..];
        assert_eq!(said(&trace, before), [begin, outcome].concat());
        assert!(trace.lines()[before].ends_with("cause=Renewal"));
    }
    assert_eq!(api.tokens(), ["token-1"; 4]);
    assert_eq!(source.count(), 4);
}

// O, R1
#[tokio::test(start_paused = true)]
async fn a_rejection_and_its_replay_are_logged() {
    let (trace, _guard) = Trace::start();
    let tokens = Tokens::new(credentials(), ScriptedSource::tokens(hour));
    let api = Api::accepting(|token| token != "token-1");
    assert_eq!(send(&layer(&tokens), &api).await, 200);
    assert_eq!(
        said(&trace, 3),
        [
            "INFO token was rejected",
            "DEBUG <token_request>",
            "DEBUG token is requested",
            "DEBUG token arrived",
            "DEBUG replayed",
        ]
    );
    let lines = trace.lines();
    assert!(lines[4].ends_with("endpoint=https://auth.test cause=Rejected"), "{}", lines[4]);
    assert!(lines[7].ends_with("status=200 is_rejection=false"), "{}", lines[7]);
}

// O, C8
#[tokio::test(start_paused = true)]
async fn a_rejection_is_logged_once_however_often_it_is_reported() {
    let (trace, _guard) = Trace::start();
    let tokens = Tokens::new(credentials(), ScriptedSource::tokens(hour));
    let token = tokens.get().await.unwrap();
    for _ in 0..10 {
        token.reject();
    }
    assert_eq!(said(&trace, 3), ["INFO token was rejected"]);
}

// O, R8
#[tokio::test(start_paused = true)]
async fn an_open_breaker_is_logged_with_origin_and_window() {
    let (trace, _guard) = Trace::start();
    let tokens = Tokens::new(credentials(), ScriptedSource::tokens(hour));
    let (layer, api) = (layer(&tokens), Api::always(401));
    tokens.warm().await.unwrap();
    let before = trace.lines().len();
    assert_eq!(send(&layer, &api).await, 401);
    assert_eq!(
        said(&trace, before)[4..],
        [
            "DEBUG replayed",
            "WARN an API rejects fresh tokens; its rejections are ignored for a while"
        ]
    );
    let line = trace.lines().pop().unwrap();
    assert!(line.ends_with("origin=https://api.test window=100ms"), "{line}");

    // While the breaker is open, nothing more is logged.
    let before = trace.lines().len();
    for _ in 0..10 {
        assert_eq!(send(&layer, &api).await, 401);
    }
    assert_eq!(trace.lines().len(), before);
}

// O
#[tokio::test(start_paused = true)]
async fn a_retry_is_logged_with_its_number_and_wait() {
    let (trace, _guard) = Trace::start();
    let auth_server = Api::always(500);
    let retry = RetryLayer::new(TokenRetry::new(2).backoff(Duration::ZERO));
    let source = retry.layer(single_try(auth_server.clone()));
    let tokens = Tokens::new(credentials(), source);
    assert!(tokens.get().await.is_err());
    assert_eq!(auth_server.count(), 3);
    assert_eq!(
        said(&trace, 2),
        [
            "DEBUG token request will be retried",
            "DEBUG token request will be retried",
            "WARN token request failed",
        ]
    );
    let lines = trace.lines();
    assert!(lines[2].ends_with("tried=1 of=2 wait=0ns"), "{}", lines[2]);
    assert!(lines[3].ends_with("tried=2 of=2 wait=0ns"), "{}", lines[3]);
}

// O, C3
#[tokio::test(start_paused = true)]
async fn a_fetch_that_panics_is_logged() {
    let (trace, _guard) = Trace::start();
    let source = ScriptedSource::new(|_, _| async { panic!("on purpose") });
    let tokens = Tokens::new(credentials(), source);
    assert!(tokens.get().await.is_err());
    assert_eq!(said(&trace, 0).last().unwrap(), "WARN token request failed");
    let line = trace.lines().pop().unwrap();
    let error = "error=no token from https://auth.test: the token request ended without a result; ";
    assert!(line.contains(error), "{line}");
}

// O: fails for an event that is not documented.
#[test]
fn the_guide_has_every_event_and_its_level() {
    let guide = include_str!("../../../src/guide/events.md");
    let mut events = 0;
    for source in sources() {
        for event in source.split("tracing::").skip(1) {
            let Some((level, rest)) = event.split_once("!(") else { continue };
            if !matches!(level, "error" | "warn" | "info" | "debug" | "trace") {
                continue;
            }
            let (fields, _) = rest.split_once(");").unwrap();
            let text = fields.rsplit('"').nth(1).unwrap();
            let row = format!("| `{}` | `{text}` |", level.to_uppercase());
            assert!(guide.contains(&row), "{row} is not in the guide");
            events += 1;
        }
    }
    assert_eq!(
        guide.lines().filter(|line| is_event(line)).count(),
        events,
        "each row of the guide is an event"
    );
}

// O: foreign texts are cut and escaped in every event and span.
#[test]
fn every_text_in_an_event_is_made_printable() {
    let mut texts = 0;
    for source in sources() {
        for event in source.split("tracing::").skip(1) {
            let Some((_, rest)) = event.split_once("!(") else { continue };
            let fields = rest.split_once(");").map_or(rest, |(fields, _)| fields);
            for text in fields.split('%').skip(1) {
                assert!(text.starts_with("Printable("), "{fields}");
                texts += 1;
            }
        }
        for (at, _) in source.match_indices("display(") {
            let is_method = source[..at].ends_with('.');
            let text = &source[at..];
            let is_printable = text.starts_with("display(Printable(");
            assert!(is_method || is_printable, "{}", text.lines().next().unwrap());
            texts += usize::from(is_printable);
        }
    }
    assert!(texts > 0, "no event was found");
}

fn is_event(line: &str) -> bool {
    ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"]
        .iter()
        .any(|level| line.starts_with(&format!("| `{level}` | ")))
}
