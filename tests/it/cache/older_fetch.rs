//! C8: a token of an earlier fetch may be as old as the rejected one.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use http::{Request, Response};
use tokio::sync::Semaphore;
use tokio::time::{advance, sleep};
use tower::{BoxError, ServiceExt};
use tower_oauth2::replay::Replayed;
use tower_oauth2::source::Cause;
use tower_oauth2::{OAuth2, OAuth2Layer, Origins, TokenError, Tokens};

use crate::support::*;

/// Tokens with `token-1`, whose renewal runs and waits for a permit of the gate.
struct Renewing {
    tokens: Tokens,
    source: ScriptedSource,
    gate: Arc<Semaphore>,
}

async fn renewing() -> Renewing {
    let gate = Arc::new(Semaphore::new(0));
    let permits = gate.clone();
    let source = ScriptedSource::new(move |n, _| {
        let permits = permits.clone();
        async move {
            if n == 2 {
                permits.acquire().await?.forget();
            }
            Ok(lasting(n, secs(1000)))
        }
    });
    let tokens = tokens(&source);
    tokens.get().await.unwrap();
    advance(secs(801)).await;
    assert_eq!(tokens.get().await.unwrap().secret(), "token-1");
    settle().await;
    assert_eq!(source.requests()[1].cause(), Cause::Renewal);
    Renewing { tokens, source, gate }
}

/// Creates an API that rejects the tokens with these numbers.
fn rejecting(numbers: impl IntoIterator<Item = usize>) -> Api {
    let rejected: BTreeSet<_> = numbers.into_iter().map(|n| format!("token-{n}")).collect();
    Api::accepting(move |token| !rejected.contains(token))
}

fn service(tokens: &Tokens, api: &Api) -> OAuth2<Api> {
    OAuth2Layer::new(tokens.clone(), Origins::any()).layer(api.clone())
}

fn is_replayed<B>(response: &Response<B>) -> bool {
    response.extensions().get() == Some(&Replayed::Yes)
}

// C8, R1
#[tokio::test(start_paused = true)]
async fn a_third_token_follows_when_a_renewal_brings_a_revoked_one() {
    let Renewing { tokens, source, gate } = renewing().await;
    // Everything that was issued so far is revoked, which includes the token of the renewal.
    let api = rejecting([1, 2]);
    let request = tokio::spawn(service(&tokens, &api).oneshot(get("/")));
    settle().await;
    gate.add_permits(1);
    let response = request.await.unwrap().unwrap();
    assert_eq!((response.status().as_u16(), is_replayed(&response)), (200, true));
    assert_eq!(api.tokens(), ["token-1", "token-2", "token-3"]);
    assert_eq!(source.requests()[2].cause(), Cause::Rejected);
    let response = service(&tokens, &api).oneshot(get("/")).await.unwrap();
    assert_eq!((response.status().as_u16(), is_replayed(&response)), (200, false));
    assert_eq!(source.count(), 3);
}

// C8, C2
#[tokio::test(start_paused = true)]
async fn many_requests_with_a_revoked_renewal_cost_one_more_fetch() {
    let Renewing { tokens, source, gate } = renewing().await;
    let api = rejecting([1, 2]);
    // The API takes a moment to answer, so that all requests have the same token.
    let answering = api.clone();
    let slow = tower::service_fn(move |request: Request<_>| {
        let api = answering.clone();
        async move {
            let response = api.oneshot(request).await;
            sleep(ms(1)).await;
            response
        }
    });
    let layer = OAuth2Layer::new(tokens, Origins::any());
    let requests: Vec<_> =
        (0..100).map(|_| tokio::spawn(layer.layer(slow.clone()).oneshot(get("/")))).collect();
    sleep(secs(1)).await;
    assert_eq!((source.count(), api.count()), (2, 100), "all wait for the renewal");
    gate.add_permits(1);
    for request in requests {
        let response = request.await.unwrap().unwrap();
        assert_eq!((response.status().as_u16(), is_replayed(&response)), (200, true));
    }
    assert_eq!((source.count(), api.count()), (3, 300));
}

// C8, R8
#[tokio::test(start_paused = true)]
async fn the_third_send_is_the_last() {
    let Renewing { tokens, source, gate } = renewing().await;
    let api = Api::always(401);
    let request = tokio::spawn(service(&tokens, &api).oneshot(get("/")));
    settle().await;
    gate.add_permits(1);
    let response = request.await.unwrap().unwrap();
    assert_eq!((response.status().as_u16(), is_replayed(&response)), (401, true));
    assert_eq!(api.tokens(), ["token-1", "token-2", "token-3"]);
    settle().await;
    assert_eq!(source.count(), 3);
}

// C8, R8
#[tokio::test(start_paused = true)]
async fn a_fresh_second_token_that_is_rejected_is_the_last() {
    let source = ScriptedSource::tokens(hour);
    let tokens = tokens(&source);
    tokens.get().await.unwrap();
    advance(secs(100)).await;
    let api = Api::always(401);
    let response = service(&tokens, &api).oneshot(get("/")).await.unwrap();
    assert_eq!((response.status().as_u16(), is_replayed(&response)), (401, true));
    assert_eq!(api.tokens(), ["token-1", "token-2"]);
    settle().await;
    assert_eq!(source.count(), 2);
}

// C8
#[tokio::test(start_paused = true)]
async fn a_good_token_of_an_older_fetch_needs_no_further_one() {
    let Renewing { tokens, source, gate } = renewing().await;
    let api = rejecting([1]);
    let request = tokio::spawn(service(&tokens, &api).oneshot(get("/")));
    settle().await;
    gate.add_permits(1);
    let response = request.await.unwrap().unwrap();
    assert_eq!((response.status().as_u16(), is_replayed(&response)), (200, true));
    assert_eq!((source.count(), api.count()), (2, 2));
}

// C8, C9
#[tokio::test(start_paused = true)]
async fn a_failure_after_a_revoked_second_token_reaches_the_caller() {
    let source = ScriptedSource::new(|n, _| async move {
        match n {
            1 => Ok(lasting(n, secs(1000))),
            2 => {
                sleep(secs(1)).await;
                Ok(lasting(n, secs(1000)))
            }
            _ => Err(BoxError::from("down")),
        }
    });
    let tokens = tokens(&source);
    tokens.get().await.unwrap();
    advance(secs(801)).await;
    tokens.get().await.unwrap();
    settle().await;
    let api = rejecting([1, 2]);
    let error = service(&tokens, &api).oneshot(get("/")).await.unwrap_err();
    let error = TokenError::find_in(&*error).unwrap();
    assert_eq!(error.rejected_response().unwrap().status(), 401);
    assert_eq!(api.tokens(), ["token-1", "token-2"]);
}

// C8
#[tokio::test(start_paused = true)]
async fn the_successor_of_a_token_rejected_late_may_be_revoked_too() {
    let Renewing { tokens, source, gate } = renewing().await;
    let revoked = Arc::new(Mutex::new(BTreeSet::new()));
    let known = revoked.clone();
    let api = Api::accepting(move |token| !known.lock().unwrap().contains(token));
    // This request goes out with `token-1`, and the API takes a second to reject it.
    let slow = {
        let api = api.clone();
        tower::service_fn(move |request: Request<_>| {
            let api = api.clone();
            async move {
                let is_first = request.headers()["authorization"] == "Bearer token-1";
                let response = api.oneshot(request).await;
                if is_first {
                    sleep(secs(1)).await;
                }
                response
            }
        })
    };
    revoked.lock().unwrap().extend(["token-1".to_owned(), "token-2".to_owned()]);
    let layer = OAuth2Layer::new(tokens.clone(), Origins::any());
    let request = tokio::spawn(layer.layer(slow).oneshot(get("/")));
    settle().await;
    // The renewal succeeds before any API has rejected a token.
    gate.add_permits(1);
    settle().await;
    assert_eq!(tokens.get().await.unwrap().secret(), "token-2");
    let response = request.await.unwrap().unwrap();
    assert_eq!((response.status().as_u16(), is_replayed(&response)), (200, true));
    assert_eq!(api.tokens(), ["token-1", "token-2", "token-3"]);
    assert_eq!(source.count(), 3);
}
