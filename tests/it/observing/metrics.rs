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
use tower_oauth2::client_auth::{ClientAuthentication, Identity, TokenRequestParts};
use tower_oauth2::source::{Backoff, TokenRetry};
use tower_oauth2::store::{MemoryStore, TokenStoreLayer};
use tower_oauth2::{ClientAuth, Credentials, OAuth2Layer, Origins, RequestExt, TokenCache, Tokens};

use super::{layer, send};
use crate::store::double::{Act, Double, Op};
use crate::support::{
    Api, Meter, ScriptedSource, credentials, get, hour, lasting, scripted, settle, single_try,
};

const FETCH: &str = "tower_oauth2.token.fetch.duration";
const REQUEST: &str = "tower_oauth2.token.request.duration";
const REMAINING: &str = "tower_oauth2.token.remaining_life";
const BACKOFF: &str = "tower_oauth2.backoff.duration";
const FAILING: &str = "tower_oauth2.failing_credentials";
const REPLAYS: &str = "tower_oauth2.replays";
const FAILED_REQUESTS: &str = "tower_oauth2.failed_requests";
const BROKEN: &str = "tower_oauth2.broken_apis";
const STORE: &str = "tower_oauth2.store.operation.duration";

/// Creates a source that takes a second for each token.
fn slow() -> ScriptedSource {
    ScriptedSource::new(|n, _| async move {
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

/// Returns the value of a gauge.
fn sum(lines: &[String]) -> f64 {
    lines.iter().map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
}

// O
#[tokio::test(start_paused = true)]
async fn a_fetch_is_measured_by_its_cause() {
    let (meter, _guard) = Meter::start();
    let tokens =
        TokenCache::builder(slow()).renew_ahead(Duration::ZERO).build().tokens(&credentials());
    let token = tokens.get().await.unwrap();
    assert_eq!(meter.take(), [format!("{FETCH}{{cause=cold,outcome=success}} 1")]);

    token.reject();
    tokens.get().await.unwrap();
    assert_eq!(meter.take(), [format!("{FETCH}{{cause=rejected,outcome=success}} 1")]);

    // The cache no longer returns the token, which lives for 5 s. The fetch takes 1 s.
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
async fn a_renewal_measures_the_remaining_lifetime() {
    let (meter, _guard) = Meter::start();
    let source = ScriptedSource::new(|n, _| async move {
        match n {
            2 => Err("the source is down".into()),
            3 => Ok(lasting(n, Duration::from_secs(60))),
            _ => Ok(hour(n)),
        }
    });
    let tokens = Tokens::new(credentials(), source);
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

// O, W7: token requests are measured, and fetches too.
#[tokio::test(start_paused = true)]
async fn each_attempt_is_measured_and_all_attempts_are_one_fetch() {
    let (meter, _guard) = Meter::start();
    let http = scripted(|n| {
        let mut response = Response::new(Full::from(r#"{"access_token":"t"}"#));
        if n < 3 {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        Ok(response)
    });
    let retry = RetryLayer::new(TokenRetry::new(2).backoff(Duration::ZERO));
    let tokens = Tokens::new(credentials(), retry.layer(single_try(http)));
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

// O: a layer outside can cancel a token request.
#[tokio::test(start_paused = true)]
async fn a_cancelled_token_request_is_measured_as_interrupted() {
    let (meter, _guard) = Meter::start();
    let http = service_fn(|_: Request<Full<Bytes>>| {
        std::future::pending::<Result<Response<Full<Bytes>>, BoxError>>()
    });
    let timeout = TimeoutLayer::new(Duration::from_secs(3));
    let tokens = Tokens::new(credentials(), timeout.layer(single_try(http)));
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
    let source = ScriptedSource::new(|_, _| async { panic!("on purpose") });
    let tokens = Tokens::new(credentials(), source);
    assert!(tokens.get().await.is_err());
    // The waiting caller fetches once more.
    let of_fetch = meter.take_of(FETCH);
    assert_eq!(of_fetch, ["{cause=cold,outcome=error,error.type=interrupted} 0"; 2]);
}

// O: the values of a label come from a list, for any response.
#[tokio::test(start_paused = true)]
async fn an_error_has_its_registered_code_status_or_kind_as_label() {
    for (status, body, error_type) in [
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
        let source = single_try(answering(status, body));
        assert!(Tokens::new(credentials(), source).get().await.is_err());
        let labels = format!("{{cause=cold,outcome=error,error.type={error_type}}} 0");
        assert_eq!(meter.take_of(FETCH), [labels], "{status} {body}");
    }
}

// O, C9
#[tokio::test(start_paused = true)]
async fn credentials_count_as_failing_until_a_fetch_succeeds() {
    struct Versioned(Arc<AtomicU64>);
    impl ClientAuthentication for Versioned {
        fn method(&self) -> &str {
            "versioned"
        }
        fn client_id(&self) -> Option<&str> {
            None
        }
        fn identify(&self, identity: &mut Identity) {
            identity.part("id");
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
    let endpoint = single_try(Api::new(move |_| {
        let is_up = up.load(Ordering::SeqCst) == 1;
        let mut response = Response::new(Full::from(r#"{"access_token":"t","expires_in":60}"#));
        if !is_up {
            *response.status_mut() = StatusCode::UNAUTHORIZED;
        }
        response
    }));
    let cache = TokenCache::builder(endpoint)
        .permanent_backoff(Backoff::new(Duration::from_secs(1), Duration::from_secs(1)))
        .capacity(3)
        .build();
    let tokens = cache.tokens(&credentials());
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
    failing(1.0, &mut total, "three failures of one slot count once");
    assert!(cache.tokens(&tenant(1)).get().await.is_err());
    failing(2.0, &mut total, "another slot fails");
    is_up.store(1, Ordering::SeqCst);
    tokens.get().await.unwrap();
    failing(1.0, &mut total, "a token arrived");
    cache.remove(&tenant(1));
    failing(0.0, &mut total, "the failing slot was removed");

    is_up.store(0, Ordering::SeqCst);
    assert!(cache.tokens(&rotated).get().await.is_err());
    failing(1.0, &mut total, "its secret is wrong");
    version.store(1, Ordering::SeqCst);
    is_up.store(1, Ordering::SeqCst);
    cache.tokens(&rotated).get().await.unwrap();
    failing(0.0, &mut total, "and was changed");

    is_up.store(0, Ordering::SeqCst);
    for n in 1..10 {
        assert!(cache.tokens(&tenant(n)).get().await.is_err());
        advance(Duration::from_millis(10)).await;
    }
    failing(2.0, &mut total, "evicted slots do not count");
    advance(Duration::from_secs(60)).await;
    assert!(tokens.get().await.is_err());
    failing(3.0, &mut total, "and the held slot");
    cache.remove(tokens.credentials());
    failing(2.0, &mut total, "the held slot was cleared");
    drop((tokens, cache));
    settle().await;
    failing(0.0, &mut total, "the cache was dropped");
}

// O, C8: a rejection clears the failure of an earlier renewal.
#[tokio::test(start_paused = true)]
async fn a_rejection_ends_the_failures_of_a_renewal() {
    let (meter, _guard) = Meter::start();
    let source = ScriptedSource::new(|n, _| async move {
        if n == 1 { Ok(hour(n)) } else { Err("the source is down".into()) }
    });
    let tokens = Tokens::new(credentials(), source);
    let token = tokens.get().await.unwrap();
    advance(Duration::from_secs(3400)).await;
    tokens.get().await.unwrap();
    settle().await;
    assert_eq!(meter.take_of(FAILING), ["{} 1"]);
    token.reject();
    assert_eq!(meter.take_of(FAILING), ["{} -1"]);
}

/// Sends a request, and returns the outcomes of replays that were counted.
async fn replays(
    source: ScriptedSource,
    answer: impl Fn(usize) -> Result<u16, BoxError> + Clone + Send + Sync + 'static,
) -> Vec<String> {
    let (meter, _guard) = Meter::start();
    let http = scripted(move |n| {
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::from_u16(answer(n)?).unwrap();
        Ok(response)
    });
    let layer = layer(&Tokens::new(credentials(), source));
    let _ = layer.layer(http).oneshot(get("/")).await;
    meter.take_of(REPLAYS)
}

// O, R1, R2
#[tokio::test(start_paused = true)]
async fn a_rejected_request_is_counted_once_by_its_outcome() {
    let first_only =
        |n, _| async move { if n == 1 { Ok(hour(n)) } else { Err("the source is down".into()) } };
    let is_first = |n: usize| Ok(if n == 1 { 401 } else { 200 });
    let source = || ScriptedSource::tokens(hour);
    assert!(replays(source(), |_| Ok(200)).await.is_empty());
    assert!(replays(source(), |_| Err("no connection".into())).await.is_empty());
    assert_eq!(replays(source(), is_first).await, ["{outcome=accepted} 1"]);
    assert_eq!(replays(source(), |_| Ok(401)).await, ["{outcome=rejected} 1"]);
    assert_eq!(replays(ScriptedSource::new(first_only), is_first).await, ["{outcome=no_token} 1"]);
    let breaks = |n: usize| if n == 1 { Ok(401) } else { Err("no connection".into()) };
    assert_eq!(replays(source(), breaks).await, ["{outcome=unanswered} 1"]);
}

// O, C9, R2, X1: one that waits, one during a back-off, a replay, and a refused request.
#[tokio::test(start_paused = true)]
async fn a_request_that_fails_without_a_token_is_counted() {
    let (meter, _guard) = Meter::start();
    let source = ScriptedSource::new(|n, _| async move {
        if n == 2 { Ok(hour(n)) } else { Err("the source is down".into()) }
    });
    let layer = layer(&Tokens::new(credentials(), source));
    let failed_of_source = ["{error.type=source} 1"];
    for _ in 0..2 {
        assert_eq!(send(&layer, &Api::always(200)).await, 0);
        assert_eq!(meter.take_of(FAILED_REQUESTS), failed_of_source);
    }
    advance(Duration::from_secs(10)).await;
    assert_eq!(send(&layer, &Api::always(401)).await, 0);
    let lines = meter.take();
    let of = |name: &str| lines.iter().filter(|line| line.starts_with(name)).collect::<Vec<_>>();
    assert_eq!(of(REPLAYS), [&format!("{REPLAYS}{{outcome=no_token}} 1")]);
    assert_eq!(of(FAILED_REQUESTS), [&format!("{FAILED_REQUESTS}{{error.type=source}} 1")]);

    let tokens = Tokens::new(credentials(), ScriptedSource::tokens(hour));
    let layer = OAuth2Layer::new(tokens, Origins::any());
    let insecure = Request::get("http://api.test/").body(Full::<Bytes>::default()).unwrap();
    layer.layer(Api::always(200)).oneshot(insecure).await.unwrap_err();
    assert_eq!(meter.take_of(FAILED_REQUESTS), ["{error.type=insecure_uri} 1"]);

    // The request has a token, and fails for another reason.
    let unreachable = scripted(|_| Err("no connection".into()));
    layer.layer(unreachable).oneshot(get("/")).await.unwrap_err();
    assert!(meter.take_of(FAILED_REQUESTS).is_empty());
}

// O, R5: an outer timeout is the usual reason.
#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_while_it_waits_is_counted() {
    let (meter, _guard) = Meter::start();
    let tokens = Tokens::new(credentials(), slow());
    let client = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_millis(500)))
        .layer(layer(&tokens))
        .service(Api::always(200));
    client.clone().oneshot(get("/")).await.unwrap_err();
    assert_eq!(meter.take_of(FAILED_REQUESTS), ["{error.type=dropped} 1"]);
    advance(Duration::from_secs(1)).await;
    settle().await;
    client.oneshot(get("/")).await.unwrap();

    // The request has waited, and has a token when it is dropped.
    let hanging = service_fn(|_: Request<Full<Bytes>>| {
        std::future::pending::<Result<Response<Full<Bytes>>, BoxError>>()
    });
    let fresh = Tokens::new(credentials(), slow());
    let sent = layer(&fresh).layer(hanging).oneshot(get("/"));
    assert!(tokio::time::timeout(Duration::from_secs(2), sent).await.is_err());
    assert!(meter.take_of(FAILED_REQUESTS).is_empty());

    // A timeout of the request itself is an error.
    let mut call = get("/");
    call.headers_mut().insert("grpc-timeout", "500m".parse().unwrap());
    let fresh = Tokens::new(credentials(), slow());
    layer(&fresh).layer(Api::always(200)).oneshot(call).await.unwrap_err();
    assert_eq!(meter.take_of(FAILED_REQUESTS), ["{error.type=timeout} 1"]);
}

// O, C10
#[tokio::test(start_paused = true)]
async fn a_failed_request_has_the_label_of_its_credentials() {
    let (meter, _guard) = Meter::start();
    let source = ScriptedSource::new(|_, _| async { Err("the source is down".into()) });
    let cache = TokenCache::builder(source).metric_labels(10).build();
    let tokens = cache.tokens(&credentials().label("shop"));
    assert_eq!(send(&layer(&tokens), &Api::always(200)).await, 0);
    let expected = ["{error.type=source,credentials=shop} 1"];
    assert_eq!(meter.take_of(FAILED_REQUESTS), expected);

    let insecure = Request::get("http://api.test/").body(Full::<Bytes>::default()).unwrap();
    let layer = OAuth2Layer::new(tokens, Origins::any());
    layer.layer(Api::always(200)).oneshot(insecure).await.unwrap_err();
    let expected = ["{error.type=insecure_uri,credentials=shop} 1"];
    assert_eq!(meter.take_of(FAILED_REQUESTS), expected);

    let without_tokens = OAuth2Layer::per_request(Origins::any());
    without_tokens.layer(Api::always(200)).oneshot(get("/")).await.unwrap_err();
    assert_eq!(meter.take_of(FAILED_REQUESTS), ["{error.type=no_tokens} 1"]);
}

// O, W10
#[cfg(feature = "jwt")]
#[tokio::test(start_paused = true)]
async fn a_request_without_a_proof_is_counted() {
    let (meter, _guard) = Meter::start();
    let credentials = credentials().dpop(tower_oauth2::jwt::DpopKey::generate().unwrap());
    let source =
        ScriptedSource::tokens(|n| tower_oauth2::AccessToken::dpop(format!("token-{n}")).unwrap());
    let origins = Origins::only(["https://api.test", "https://other.test"]).unwrap();
    let layer = OAuth2Layer::new(Tokens::new(credentials, source), origins);
    // A proof names the origin, which is unknown.
    let relative = Request::get("/relative").body(Full::<Bytes>::default()).unwrap();
    layer.layer(Api::always(200)).oneshot(relative).await.unwrap_err();
    assert_eq!(meter.take_of(FAILED_REQUESTS), ["{error.type=proof} 1"]);
}

// O, R8: a token from a store is not fresh, so the request is sent a third time.
#[tokio::test(start_paused = true)]
async fn a_request_that_is_sent_three_times_is_counted_once() {
    let (meter, _guard) = Meter::start();
    let store = MemoryStore::new();
    let cache = |source: &ScriptedSource| {
        Tokens::new(credentials(), TokenStoreLayer::new(store.clone()).layer(source.clone()))
    };
    let source = ScriptedSource::tokens(hour);
    let (one, other) = (cache(&source), cache(&source));
    let token = one.get().await.unwrap();
    other.get().await.unwrap();
    token.reject();
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

// O, R2: a caller may drop its request.
#[tokio::test(start_paused = true)]
async fn a_dropped_replay_is_counted_as_unanswered() {
    let (meter, _guard) = Meter::start();
    let tokens = Tokens::new(credentials(), slow());
    tokens.warm().await.unwrap();
    let sent = layer(&tokens).layer(Api::always(401)).oneshot(get("/"));
    assert!(tokio::time::timeout(Duration::from_millis(500), sent).await.is_err());
    let lines = meter.take();
    let of = |name: &str| lines.iter().filter(|line| line.starts_with(name)).collect::<Vec<_>>();
    assert_eq!(of(REPLAYS), [&format!("{REPLAYS}{{outcome=unanswered}} 1")]);
    assert_eq!(of(FAILED_REQUESTS), [&format!("{FAILED_REQUESTS}{{error.type=dropped}} 1")]);
}

// O, R8
#[tokio::test(start_paused = true)]
async fn broken_apis_are_counted_until_the_breaker_resets() {
    let (meter, _guard) = Meter::start();
    let tokens = Tokens::new(credentials(), ScriptedSource::tokens(hour));
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
    assert_eq!(meter.take_of(BROKEN), ["{} -1"], "the slot was dropped");
}

// O, S6
#[tokio::test(start_paused = true)]
async fn operations_of_a_store_are_measured() {
    let (meter, _guard) = Meter::start();
    let slow = Duration::from_millis(200);
    let store = Double::new(move |_| Act::WorkAfter(slow));
    let cache = || {
        let source = TokenStoreLayer::new(store.clone()).layer(ScriptedSource::tokens(hour));
        Tokens::new(credentials(), source)
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
    for (act, labels) in
        [(Act::Fail, "error.type=store} 0"), (Act::Hang, "error.type=timeout} 0.25")]
    {
        store.becomes(move |op| if op == Op::Get { act } else { Act::Work });
        cache().get().await.unwrap();
        assert_eq!(meter.take_of(STORE), [format!("{{operation=get,outcome=error,{labels}")]);
    }
}

// O, C1
#[tokio::test(start_paused = true)]
async fn a_hit_counts_and_measures_nothing() {
    let (meter, _guard) = Meter::start();
    let cache = TokenCache::new(ScriptedSource::tokens(hour));
    let tokens = cache.tokens(&credentials());
    let other = cache.tokens(&credentials().audience("other"));
    let (layer, api) = (layer(&tokens), Api::always(200));
    let never = layer.clone().replay_policy(tower_oauth2::replay::ReplayPolicy::never());
    tokens.warm().await.unwrap();
    other.warm().await.unwrap();
    let before = meter.calls();
    assert!(before > 0);

    let mut service = layer.layer(api.clone());
    for _ in 0..100 {
        assert_eq!(send(&layer, &api).await, 200);
        assert_eq!(send(&never, &api).await, 200);
        let (named, without) = (get("/").tokens(&other), get("/").no_token());
        for request in [get("/"), named, without] {
            service.ready().await.unwrap();
            tower::Service::call(&mut service, request).await.unwrap();
        }
        tokens.get().await.unwrap();
        other.get().await.unwrap();
    }
    settle().await;
    assert_eq!(meter.calls(), before);
}

// O: each label is a time series, so a cache shows only as many as it may.
#[tokio::test(start_paused = true)]
async fn labels_of_credentials_are_opt_in_and_bounded() {
    let (meter, _guard) = Meter::start();
    let down = || ScriptedSource::new(|_, _| async { Err("down".into()) });
    let labeled = |n: usize| credentials().audience(n.to_string()).label(format!("shop-{n}"));
    let ask = async |cache: &TokenCache| {
        for n in [0, 1, 2, 3, 0] {
            let credentials = if n == 3 { credentials() } else { labeled(n) };
            cache.tokens(&credentials).get().await.unwrap_err();
            advance(Duration::from_millis(1)).await;
        }
    };
    ask(&TokenCache::new(down())).await;
    assert!(!meter.take().concat().contains("credentials="), "the default is no label");

    let cache = TokenCache::builder(down()).metric_labels(2).build();
    ask(&cache).await;
    drop(cache);
    settle().await;
    let lines = meter.take();
    let of = |name: &str| -> Vec<_> {
        let lines = lines.iter().filter_map(|line| line.strip_prefix(name));
        lines.map(|line| line.split_once("credentials=").unwrap().1.to_owned()).collect()
    };
    let (shops, others) = (["shop-0", "shop-1"], ["other", "none"]);
    let each = [&shops[..], &others[..]].concat();
    assert_eq!(of(FETCH), each.iter().map(|label| format!("{label}}} 0")).collect::<Vec<_>>());
    let mut gauge = of(FAILING);
    let down = gauge.split_off(4);
    assert_eq!(gauge, each.iter().map(|label| format!("{label}}} 1")).collect::<Vec<_>>());
    let mut down: Vec<_> = down.iter().map(|line| line.split('}').next().unwrap()).collect();
    down.sort_unstable();
    assert_eq!(down, ["none", "other", "shop-0", "shop-1"], "each label's gauge returns to zero");
    assert_eq!(of(BACKOFF).len(), 4);
}

/// Returns measurements of all metrics.
async fn all_metrics() -> Vec<String> {
    let (meter, _guard) = Meter::start();
    let auth_server = scripted(|n| {
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
        .service(single_try(auth_server));
    let tokens = TokenCache::builder(source)
        .transient_backoff(Backoff::new(Duration::from_secs(1), Duration::from_secs(1)))
        .build()
        .tokens(&credentials());
    let (layer, api) = (layer(&tokens), Api::accepting(|token| token.ends_with('2')));
    for _ in 0..60 {
        send(&layer, &api).await;
        settle().await;
        advance(Duration::from_secs(7)).await;
    }
    for (method, uri) in [("GET", "https://foreign.test/"), ("TRACE", "https://api.test/")] {
        let request = Request::builder().method(method).uri(uri).body(Full::default()).unwrap();
        layer.layer(api.clone()).oneshot(request).await.unwrap();
    }
    #[cfg(feature = "jwt")]
    send_with_a_refused_proof().await;
    meter.take()
}

/// Sends a request to an API that requires a nonce in each DPoP proof.
#[cfg(feature = "jwt")]
async fn send_with_a_refused_proof() {
    let credentials = credentials().dpop(tower_oauth2::jwt::DpopKey::generate().unwrap());
    let source =
        ScriptedSource::tokens(|n| tower_oauth2::AccessToken::dpop(format!("token-{n}")).unwrap());
    let api = Api::new(|_| {
        Response::builder()
            .status(StatusCode::UNAUTHORIZED)
            .header("www-authenticate", r#"DPoP error="use_dpop_nonce""#)
            .header("dpop-nonce", "nonce-1")
            .body(Full::default())
            .unwrap()
    });
    send(&layer(&Tokens::new(credentials, source)), &api).await;
}

// O: the table of the guide is complete.
#[tokio::test(start_paused = true)]
async fn the_guide_has_every_name_unit_and_label() {
    let (meter, _guard) = Meter::start();
    drop(Tokens::new(credentials(), ScriptedSource::tokens(hour)));
    let described = meter.described();
    let guide = include_str!("../../../src/guide/metrics.md");
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
    let recorded = all_metrics().await;
    let names: BTreeSet<_> = recorded.iter().map(|line| line.split('{').next().unwrap()).collect();
    assert_eq!(names.len(), described.len(), "each metric was measured: {names:?}");
    for line in recorded {
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
