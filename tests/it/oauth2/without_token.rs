//! Requests that leave without a token, and what says so (R10).

use tower::ServiceExt;
use tower_oauth2::replay::ReplayPolicy;
use tower_oauth2::service::NoTokenSent;
use tower_oauth2::{OAuth2Layer, RequestExt, Tokens};

use super::*;
#[cfg(feature = "metrics")]
use crate::support::Meter;
use crate::support::{Api, ScriptedSource, Trace, credentials, get, hour, tokens};

const WARNING: &str = "a request to this origin got no token";

fn to(uri: &str) -> HttpRequest {
    Request::get(uri).body(Full::default()).unwrap()
}

async fn send(layer: &OAuth2Layer, request: HttpRequest) -> HttpResponse {
    layer.layer(Api::always(200)).oneshot(request).await.unwrap()
}

fn warnings(trace: &Trace) -> Vec<String> {
    trace.lines().into_iter().filter(|line| line.contains(WARNING)).collect()
}

// R10, O
#[tokio::test(start_paused = true)]
async fn an_origin_without_a_token_is_one_warning() {
    let (trace, _guard) = Trace::start();
    let layer = OAuth2Layer::new(tokens(&ScriptedSource::tokens(hour)), origins());
    for _ in 0..5 {
        send(&layer, to("https://foreign.test/a?secret")).await;
        send(&layer.clone(), to("HTTPS://Foreign.test:443/b")).await;
        send(&layer, to("https://other.test/")).await;
    }
    let warnings = warnings(&trace);
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].starts_with("WARN "), "{warnings:?}");
    assert!(warnings[0].contains("origin=https://foreign.test"), "{warnings:?}");
    assert!(warnings[1].contains("origin=https://other.test"), "{warnings:?}");
    assert!(!warnings[0].contains("secret"), "{warnings:?}");
    assert_eq!(trace.lines().len(), 15, "the others are logged at DEBUG");
}

// R10, O: a program may call any number of hosts, and none of them may flood the log.
#[tokio::test(start_paused = true)]
async fn at_most_64_origins_are_warned_about() {
    let (trace, _guard) = Trace::start();
    let layer = OAuth2Layer::new(tokens(&ScriptedSource::tokens(hour)), origins());
    for _ in 0..2 {
        for n in 0..200 {
            send(&layer, to(&format!("https://host-{n}.test/"))).await;
        }
    }
    assert_eq!(warnings(&trace).len(), 64);
}

// R10
#[tokio::test(start_paused = true)]
async fn a_response_says_why_there_was_no_token() {
    let tokens = tokens(&ScriptedSource::tokens(hour));
    let narrowed = tokens.clone().only_for(Origins::only("https://shop.test").unwrap());
    let trace = |uri| Request::builder().method("TRACE").uri(uri).body(Full::default()).unwrap();
    let base = OAuth2Layer::new(tokens.clone(), origins());
    let never = base.clone().replay_policy(ReplayPolicy::never());
    let per_request = OAuth2Layer::per_request(origins());
    for layer in [base, never, per_request] {
        for (request, expected) in [
            (to("https://foreign.test/"), Some(NoTokenSent::NotListed)),
            (foreign().tokens(&tokens), Some(NoTokenSent::NotListed)),
            (get("/").tokens(&narrowed), Some(NoTokenSent::TokensNarrowed)),
            (trace("https://api.test/"), Some(NoTokenSent::TraceMethod)),
            (trace("https://foreign.test/"), Some(NoTokenSent::TraceMethod)),
            (get("/").tokens(&tokens), None),
            // The caller asked for it.
            (get("/").no_token(), None),
            (foreign().no_token(), None),
        ] {
            let uri = request.uri().clone();
            let response = send(&layer, request).await;
            assert_eq!(response.extensions().get::<NoTokenSent>().copied(), expected, "{uri}");
        }
    }
}

// R10, R5: the error of the inner service is returned as it is.
#[tokio::test(start_paused = true)]
async fn an_error_without_a_token_is_returned() {
    let layer = OAuth2Layer::new(tokens(&ScriptedSource::tokens(hour)), origins());
    let down = tower::service_fn(|_: HttpRequest| async {
        Err::<HttpResponse, _>(BoxError::from("no connection"))
    });
    let error = layer.layer(down).oneshot(foreign()).await.unwrap_err();
    assert_eq!(error.to_string(), "no connection");
}

// R10, O
#[cfg(feature = "metrics")]
#[tokio::test(start_paused = true)]
async fn requests_without_a_token_are_counted_by_reason() {
    let (meter, _guard) = Meter::start();
    let tokens = tokens(&ScriptedSource::tokens(hour));
    let layer = OAuth2Layer::new(tokens.clone(), origins());
    tokens.warm().await.unwrap();
    meter.take();
    let narrowed = tokens.only_for(Origins::only("https://shop.test").unwrap());
    let trace = Request::builder().method("TRACE").uri("https://api.test/");
    send(&layer, to("https://foreign.test/")).await;
    send(&layer, get("/").tokens(&narrowed)).await;
    send(&layer, trace.body(Full::default()).unwrap()).await;
    send(&layer, get("/").no_token()).await;
    send(&layer, get("/")).await;
    let lines = meter.take_of("tower_oauth2.requests_without_token");
    let reasons = ["not_listed", "tokens_narrowed", "trace_method"];
    assert_eq!(lines, reasons.map(|reason| format!("{{reason={reason}}} 1")));
}

// R10, O: the label says whose tokens are not sent.
#[tokio::test(start_paused = true)]
async fn the_warning_names_the_label() {
    let (trace, _guard) = Trace::start();
    let tokens = Tokens::new(credentials().label("shop"), ScriptedSource::tokens(hour));
    send(&OAuth2Layer::new(tokens, origins()), foreign()).await;
    assert!(warnings(&trace)[0].contains(" label=shop"), "{:?}", warnings(&trace));
}
