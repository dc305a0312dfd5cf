use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use metrics::Unit;
use tokio::time::advance;
use tower::retry::RetryLayer;
use tower::timeout::TimeoutLayer;
use tower::{BoxError, Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_oauth2::client_auth::{ClientAuthentication, TokenRequestParts};
use tower_oauth2::source::{Backoff, TokenRetry};
use tower_oauth2::store::{MemoryStore, TokenStoreLayer};
use tower_oauth2::{
    ClientAuth, Credentials, NoToken, OAuth2Layer, Origins, TokenCache, TokenEndpoint,
};

use super::{layer, send};
use crate::store::double::{Act, Double, Op};
use crate::support::{Api, Http, Meter, Source, credentials, get, hour, lasting, settle};

const FETCH: &str = "tower_oauth2.token.fetch.duration";
const REQUEST: &str = "tower_oauth2.token.request.duration";
const REMAINING: &str = "tower_oauth2.token.remaining_life";
const BACKOFF: &str = "tower_oauth2.backoff.duration";
const FAILING: &str = "tower_oauth2.failing_credentials";
const REPLAYS: &str = "tower_oauth2.replays";
const BROKEN: &str = "tower_oauth2.broken_apis";
const STORE: &str = "tower_oauth2.store.operation.duration";

/// Takes a second for each token.
fn slow() -> Source {
    Source::new(|n, _| async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(hour(n))
    })
}

fn answering(status: u16, body: &'static str) -> Api {
    Api::new(move |_| {
        let mut response = Response::new(Full::from(body));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response
    })
}

/// What a gauge has come to.
fn sum(lines: &[String]) -> f64 {
    lines.iter().map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
}

// O
#[tokio::test(start_paused = true)]
async fn a_fetch_is_measured_by_why_it_was_made() {
    let (meter, _guard) = Meter::start();
    let tokens = TokenCache::builder(credentials(), slow()).renew_ahead(Duration::ZERO).build();
    let token = tokens.get().await.unwrap();
    assert_eq!(meter.take(), [format!("{FETCH}{{cause=cold,outcome=success}} 1")]);

    tokens.reject(&token);
    tokens.get().await.unwrap();
    assert_eq!(meter.take(), [format!("{FETCH}{{cause=rejected,outcome=success}} 1")]);

    // Not handed out any more, it still has 5 s, of which the fetch takes one.
    advance(Duration::from_secs(3595)).await;
    tokens.get().await.unwrap();
    assert_eq!(
        meter.take(),
        [
            format!("{FETCH}{{cause=expired,outcome=success}} 1"),
            format!("{REMAINING}{{cause=expired,outcome=success}} 4"),
        ]
    );

    advance(Duration::from_secs(4000)).await;
    tokens.get().await.unwrap();
    assert_eq!(meter.take()[1], format!("{REMAINING}{{cause=expired,outcome=success}} 0"));
}

// O, C6
#[tokio::test(start_paused = true)]
async fn a_renewal_tells_how_much_life_was_left() {
    let (meter, _guard) = Meter::start();
    let source = Source::new(|n, _| async move {
        match n {
            2 => Err("the source is down".into()),
            3 => Ok(lasting(n, Duration::from_secs(60))),
            _ => Ok(hour(n)),
        }
    });
    let tokens = TokenCache::new(credentials(), source);
    tokens.get().await.unwrap();
    meter.take();
    advance(Duration::from_secs(3400)).await;
    for (outcome, left) in [("error", 200), ("success", 140), ("success", 80)] {
        tokens.get().await.unwrap();
        settle().await;
        let lines = meter.take();
        let of_source = if outcome == "error" { ",error.type=source" } else { "" };
        assert_eq!(lines[0], format!("{FETCH}{{cause=renewal,outcome={outcome}{of_source}}} 0"));
        assert_eq!(lines[1], format!("{REMAINING}{{cause=renewal,outcome={outcome}}} {left}"));
        match left {
            200 => {
                assert_eq!(lines[2], format!("{FAILING}{{}} 1"));
                assert!(lines[3].starts_with(&format!("{BACKOFF}{{class=transient}} ")));
            }
            // The endpoint answers again, but the token brings no longer lifetime.
            140 => {
                assert_eq!(lines[2], format!("{FAILING}{{}} -1"));
                assert!(lines[3].starts_with(&format!("{BACKOFF}{{class=no_gain}} ")));
            }
            _ => assert_eq!(lines.len(), 2),
        }
        advance(Duration::from_secs(60)).await;
    }
}

// O, W7: what the endpoint sees is measured apart from what callers wait for.
#[tokio::test(start_paused = true)]
async fn every_try_at_the_token_endpoint_is_measured_and_all_of_them_are_one_fetch() {
    let (meter, _guard) = Meter::start();
    let http = Http::new(|n| {
        let mut response = Response::new(Full::from(r#"{"access_token":"t"}"#));
        if n < 3 {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        Ok(response)
    });
    let retry = RetryLayer::new(TokenRetry::new(2).backoff(Duration::ZERO));
    let tokens = TokenCache::new(credentials(), retry.layer(TokenEndpoint::new(http)));
    tokens.get().await.unwrap();
    assert_eq!(
        meter.take(),
        [
            format!("{REQUEST}{{cause=cold,outcome=error,error.type=503}} 0"),
            format!("{REQUEST}{{cause=cold,outcome=error,error.type=503}} 0"),
            format!("{REQUEST}{{cause=cold,outcome=success}} 0"),
            format!("{FETCH}{{cause=cold,outcome=success}} 0"),
        ]
    );
}

// O: one that a layer outside gives up is told of too.
#[tokio::test(start_paused = true)]
async fn a_token_request_that_is_given_up_was_interrupted() {
    let (meter, _guard) = Meter::start();
    let http = service_fn(|_: Request<Full<Bytes>>| {
        std::future::pending::<Result<Response<Full<Bytes>>, BoxError>>()
    });
    let timeout = TimeoutLayer::new(Duration::from_secs(3));
    let tokens = TokenCache::new(credentials(), timeout.layer(TokenEndpoint::new(http)));
    assert!(tokens.get().await.is_err());
    let lines = meter.take();
    assert_eq!(
        lines[..2],
        [
            format!("{REQUEST}{{cause=cold,outcome=error,error.type=interrupted}} 3"),
            format!("{FETCH}{{cause=cold,outcome=error,error.type=timeout}} 3"),
        ]
    );
}

// O, C3
#[tokio::test(start_paused = true)]
async fn a_fetch_that_panics_is_counted() {
    let (meter, _guard) = Meter::start();
    let source = Source::new(|_, _| async { panic!("on purpose") });
    let tokens = TokenCache::new(credentials(), source);
    assert!(tokens.get().await.is_err());
    // One of those who wait tries once more.
    let of_fetch = meter.take_of(FETCH);
    assert_eq!(of_fetch, ["{cause=cold,outcome=error,error.type=interrupted} 0"; 2]);
}

// O: whatever a server makes up, what is told comes from a list.
#[tokio::test(start_paused = true)]
async fn an_error_is_told_by_its_registered_code_or_status_or_kind() {
    for (status, body, told) in [
        (401, r#"{"error":"invalid_client"}"#, "invalid_client"),
        (200, r#"{"error":"temporarily_unavailable"}"#, "temporarily_unavailable"),
        (400, r#"{"error":"t0k3n"}"#, "400"),
        (429, "", "429"),
        (503, "{}", "503"),
        (499, "", "error_response"),
        (302, "", "redirect"),
        (200, "<html>", "malformed_response"),
        (200, "{}", "invalid_access_token"),
        (200, r#"{"access_token":"t","token_type":"mac"}"#, "unsupported_token_type"),
    ] {
        let (meter, _guard) = Meter::start();
        let source = TokenEndpoint::new(answering(status, body));
        assert!(TokenCache::new(credentials(), source).get().await.is_err());
        let labels = format!("{{cause=cold,outcome=error,error.type={told}}} 0");
        assert_eq!(meter.take_of(FETCH), [labels], "{status} {body}");
    }
}

// O, C9
#[tokio::test(start_paused = true)]
async fn credentials_whose_last_fetch_failed_are_counted_while_it_is_so() {
    struct Versioned(Arc<AtomicU64>);
    impl ClientAuthentication for Versioned {
        fn method(&self) -> &str {
            "versioned"
        }
        fn client_id(&self) -> Option<&str> {
            None
        }
        fn identity(&self) -> Vec<u8> {
            b"id".into()
        }
        fn version(&self) -> u64 {
            self.0.load(Ordering::SeqCst)
        }
        async fn authenticate(&self, _: &mut TokenRequestParts) -> Result<(), BoxError> {
            Ok(())
        }
    }

    let (meter, _guard) = Meter::start();
    let version = Arc::new(AtomicU64::new(0));
    let auth = ClientAuth::custom(Versioned(version.clone()));
    let rotated = Credentials::new("https://auth.test", auth).unwrap();
    let is_up = Arc::new(AtomicU64::new(0));
    let up = is_up.clone();
    let endpoint = TokenEndpoint::new(Api::new(move |_| {
        let is_up = up.load(Ordering::SeqCst) == 1;
        let mut response = Response::new(Full::from(r#"{"access_token":"t","expires_in":60}"#));
        if !is_up {
            *response.status_mut() = StatusCode::UNAUTHORIZED;
        }
        response
    }));
    let tokens = TokenCache::builder(credentials(), endpoint)
        .permanent_backoff(Backoff::new(Duration::from_secs(1), Duration::from_secs(1)))
        .capacity(2)
        .build();
    let tenant = |n: usize| credentials().audience(n.to_string());
    let failing = |expected: f64, total: &mut f64, why: &str| {
        *total += sum(&meter.take_of(FAILING));
        assert_eq!(*total, expected, "{why}");
    };
    let mut total = 0.0;

    for _ in 0..3 {
        assert!(tokens.get().await.is_err());
        advance(Duration::from_secs(2)).await;
    }
    failing(1.0, &mut total, "three failures in a row are one that fails");
    assert!(tokens.get_for(&tenant(1)).await.is_err());
    failing(2.0, &mut total, "another one");
    is_up.store(1, Ordering::SeqCst);
    tokens.get().await.unwrap();
    failing(1.0, &mut total, "a token arrived");
    tokens.remove(&tenant(1));
    failing(0.0, &mut total, "it was removed");

    is_up.store(0, Ordering::SeqCst);
    assert!(tokens.get_for(&rotated).await.is_err());
    failing(1.0, &mut total, "its secret is wrong");
    version.store(1, Ordering::SeqCst);
    is_up.store(1, Ordering::SeqCst);
    tokens.get_for(&rotated).await.unwrap();
    failing(0.0, &mut total, "and was changed");

    is_up.store(0, Ordering::SeqCst);
    for n in 1..10 {
        assert!(tokens.get_for(&tenant(n)).await.is_err());
        advance(Duration::from_millis(10)).await;
    }
    failing(2.0, &mut total, "those beyond its capacity are forgotten");
    advance(Duration::from_secs(60)).await;
    assert!(tokens.get().await.is_err());
    failing(3.0, &mut total, "its own");
    tokens.remove(tokens.credentials());
    failing(2.0, &mut total, "its own was forgotten");
    drop(tokens);
    settle().await;
    failing(0.0, &mut total, "all was dropped");
}

// O, C8: a renewal that failed is no longer held against credentials whose token is rejected.
#[tokio::test(start_paused = true)]
async fn a_rejection_ends_the_failures_of_a_renewal() {
    let (meter, _guard) = Meter::start();
    let source = Source::new(|n, _| async move {
        if n == 1 { Ok(hour(n)) } else { Err("the source is down".into()) }
    });
    let tokens = TokenCache::new(credentials(), source);
    let token = tokens.get().await.unwrap();
    advance(Duration::from_secs(3400)).await;
    tokens.get().await.unwrap();
    settle().await;
    assert_eq!(meter.take_of(FAILING), ["{} 1"]);
    tokens.reject(&token);
    assert_eq!(meter.take_of(FAILING), ["{} -1"]);
}

/// An outcome for each rejected request, however it goes on.
async fn replays(
    source: Source,
    answer: impl Fn(usize) -> Result<u16, BoxError> + Clone + Send + Sync + 'static,
) -> Vec<String> {
    let (meter, _guard) = Meter::start();
    let http = Http::new(move |n| {
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::from_u16(answer(n)?).unwrap();
        Ok(response)
    });
    let layer = layer(&TokenCache::new(credentials(), source));
    let _ = layer.layer(http).oneshot(get("/")).await;
    meter.take_of(REPLAYS)
}

// O, R1, R2
#[tokio::test(start_paused = true)]
async fn a_request_whose_token_was_rejected_is_counted_once_by_what_became_of_it() {
    let first_only =
        |n, _| async move { if n == 1 { Ok(hour(n)) } else { Err("the source is down".into()) } };
    let is_first = |n: usize| Ok(if n == 1 { 401 } else { 200 });
    let source = || Source::of(hour);
    assert!(replays(source(), |_| Ok(200)).await.is_empty());
    assert!(replays(source(), |_| Err("no connection".into())).await.is_empty());
    assert_eq!(replays(source(), is_first).await, ["{outcome=accepted} 1"]);
    assert_eq!(replays(source(), |_| Ok(401)).await, ["{outcome=rejected} 1"]);
    assert_eq!(replays(Source::new(first_only), is_first).await, ["{outcome=no_token} 1"]);
    let breaks = |n: usize| if n == 1 { Ok(401) } else { Err("no connection".into()) };
    assert_eq!(replays(source(), breaks).await, ["{outcome=unanswered} 1"]);
}

// O, R8: a token out of a store is not fresh, and the request is sent a third time.
#[tokio::test(start_paused = true)]
async fn a_request_that_is_sent_three_times_is_counted_once() {
    let (meter, _guard) = Meter::start();
    let store = MemoryStore::new();
    let cache = |source: &Source| {
        TokenCache::new(credentials(), TokenStoreLayer::new(store.clone()).layer(source.clone()))
    };
    let source = Source::of(hour);
    let (one, other) = (cache(&source), cache(&source));
    let token = one.get().await.unwrap();
    other.get().await.unwrap();
    one.reject(&token);
    one.get().await.unwrap();
    meter.take();
    let api = Api::accepting(|token| token == "token-3");
    assert_eq!(send(&layer(&other), &api).await, 200);
    assert_eq!(api.tokens(), ["token-1", "token-2", "token-3"]);
    let lines = meter.take();
    let of = |name: &str| lines.iter().filter(|line| line.starts_with(name)).collect::<Vec<_>>();
    assert_eq!(of(REPLAYS), [&format!("{REPLAYS}{{outcome=accepted}} 1")]);
    assert_eq!(
        of(FETCH),
        [
            &format!("{FETCH}{{cause=rejected,outcome=store}} 0"),
            &format!("{FETCH}{{cause=rejected,outcome=success}} 0"),
        ]
    );
}

// O, R2: nor is a caller that goes away lost.
#[tokio::test(start_paused = true)]
async fn a_replay_that_nobody_waits_for_was_not_answered() {
    let (meter, _guard) = Meter::start();
    let tokens = TokenCache::new(credentials(), slow());
    tokens.warm().await.unwrap();
    let sent = layer(&tokens).layer(Api::always(401)).oneshot(get("/"));
    assert!(tokio::time::timeout(Duration::from_millis(500), sent).await.is_err());
    assert_eq!(meter.take_of(REPLAYS), ["{outcome=unanswered} 1"]);
}

// O, R8
#[tokio::test(start_paused = true)]
async fn open_breakers_are_counted_until_they_close() {
    let (meter, _guard) = Meter::start();
    let tokens = TokenCache::new(credentials(), Source::of(hour));
    let layer = OAuth2Layer::new(tokens.clone(), Origins::any());
    let broken = Api::always(401);
    assert_eq!(send(&layer, &broken).await, 401);
    assert_eq!(meter.take_of(BROKEN), ["{} 1"]);
    assert_eq!(send(&layer, &broken).await, 401);
    assert_eq!(meter.take_of(REPLAYS), ["{outcome=breaker_open} 1"]);
    for _ in 0..3 {
        advance(Duration::from_secs(5)).await;
        assert_eq!(send(&layer, &broken).await, 401);
    }
    settle().await;
    advance(Duration::from_secs(29)).await;
    settle().await;
    assert!(meter.take_of(BROKEN).is_empty(), "the breaker is still the same one");
    advance(Duration::from_secs(1)).await;
    settle().await;
    assert_eq!(meter.take_of(BROKEN), ["{} -1"], "30 s after the last rejection, without traffic");

    assert_eq!(send(&layer, &broken).await, 401);
    assert_eq!(meter.take_of(BROKEN), ["{} 1"]);
    drop((layer, tokens));
    assert_eq!(meter.take_of(BROKEN), ["{} -1"], "the cache is gone");
}

// O, S6
#[tokio::test(start_paused = true)]
async fn operations_of_a_store_are_measured() {
    let (meter, _guard) = Meter::start();
    let slow = Duration::from_millis(200);
    let store = Double::new(move |_| Act::WorkAfter(slow));
    let cache = || {
        let source = TokenStoreLayer::new(store.clone()).layer(Source::of(hour));
        TokenCache::new(credentials(), source)
    };
    cache().get().await.unwrap();
    assert_eq!(
        meter.take_of(STORE),
        ["get", "lock", "get", "replace", "unlock"]
            .map(|operation| format!("{{operation={operation},outcome=success}} 0.2"))
    );
    cache().get().await.unwrap();
    assert_eq!(
        meter.take(),
        [
            format!("{STORE}{{operation=get,outcome=success}} 0.2"),
            format!("{FETCH}{{cause=cold,outcome=store}} 0.2"),
        ]
    );
    for (act, told) in [(Act::Fail, "error.type=store} 0"), (Act::Hang, "error.type=timeout} 0.25")]
    {
        store.becomes(move |op| if op == Op::Get { act } else { Act::Work });
        cache().get().await.unwrap();
        assert_eq!(meter.take_of(STORE), [format!("{{operation=get,outcome=error,{told}")]);
    }
}

// O, C1
#[tokio::test(start_paused = true)]
async fn a_hit_counts_and_measures_nothing_at_all() {
    let (meter, _guard) = Meter::start();
    let tokens = TokenCache::new(credentials(), Source::of(hour));
    let other = credentials().audience("other");
    let (layer, api) = (layer(&tokens), Api::always(200));
    let never = layer.clone().replay_policy(tower_oauth2::replay::ReplayPolicy::never());
    tokens.warm().await.unwrap();
    tokens.get_for(&other).await.unwrap();
    let before = meter.calls();
    assert!(before > 0);

    let mut service = layer.layer(api.clone());
    for _ in 0..100 {
        assert_eq!(send(&layer, &api).await, 200);
        assert_eq!(send(&never, &api).await, 200);
        let mut named = get("/");
        named.extensions_mut().insert(other.clone());
        let mut without = get("/");
        without.extensions_mut().insert(NoToken);
        let foreign = Request::get("https://foreign.test/").body(Full::default()).unwrap();
        for request in [get("/"), named, without, foreign] {
            service.ready().await.unwrap();
            tower::Service::call(&mut service, request).await.unwrap();
        }
        tokens.get().await.unwrap();
        tokens.get_for(&other).await.unwrap();
    }
    settle().await;
    assert_eq!(meter.calls(), before);
}

/// One of everything, as far as it is told of.
async fn all_that_is_told() -> Vec<String> {
    let (meter, _guard) = Meter::start();
    let auth_server = Http::new(|n| {
        let body = format!(r#"{{"access_token":"t{n}","expires_in":60}}"#);
        let mut response = Response::new(Full::from(body));
        if n % 3 == 0 {
            *response.status_mut() = StatusCode::BAD_GATEWAY;
        }
        Ok(response)
    });
    let source = ServiceBuilder::new()
        .layer(TokenStoreLayer::new(Double::new(|op| match op {
            Op::Unlock => Act::Fail,
            _ => Act::Work,
        })))
        .service(TokenEndpoint::new(auth_server));
    let tokens = TokenCache::builder(credentials(), source)
        .transient_backoff(Backoff::new(Duration::from_secs(1), Duration::from_secs(1)))
        .build();
    let (layer, api) = (layer(&tokens), Api::accepting(|token| token.ends_with('2')));
    for _ in 0..60 {
        send(&layer, &api).await;
        settle().await;
        advance(Duration::from_secs(7)).await;
    }
    meter.take()
}

// O: a table that is complete, and a label that is not in it is in none.
#[tokio::test(start_paused = true)]
async fn the_guide_has_every_name_unit_and_label() {
    let (meter, _guard) = Meter::start();
    drop(TokenCache::new(credentials(), Source::of(hour)));
    let described = meter.described();
    let guide = include_str!("../../../src/guide/observing.md");
    let rows: Vec<_> = guide.lines().filter(|line| line.starts_with("| `tower_oauth2.")).collect();
    assert_eq!(rows.len(), described.len());
    let row = |name: &str| {
        let found = rows.iter().find(|row| row.starts_with(&format!("| `{name}` |")));
        *found.unwrap_or_else(|| panic!("{name} is not in the guide"))
    };
    for (name, unit) in &described {
        let is_in_seconds = *unit == Some(Unit::Seconds);
        assert_eq!(row(name).contains("| histogram, s |"), is_in_seconds, "{name}");
    }
    let told = all_that_is_told().await;
    let names: BTreeSet<_> = told.iter().map(|line| line.split('{').next().unwrap()).collect();
    assert_eq!(names.len(), described.len(), "all of them are told of: {names:?}");
    for line in told {
        let (name, rest) = line.split_once('{').unwrap();
        let (labels, _) = rest.split_once('}').unwrap();
        for label in labels.split(',').filter(|label| !label.is_empty()) {
            let (label, value) = label.split_once('=').unwrap();
            assert!(row(name).contains(&format!("`{label}`")), "{name} {label}");
            let is_listed = guide.contains(&format!("`{value}`")) || label == "error.type";
            assert!(is_listed, "{name} {label}={value}");
        }
    }
}
