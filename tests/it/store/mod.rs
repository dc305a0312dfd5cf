//! Sharing tokens through a store, on a paused clock.

pub mod double;
#[cfg(feature = "encryption")]
mod encrypted;
mod events;
mod health;
mod lease;
mod record;
mod rejection;
mod sharing;
mod value_not_accepted;

use std::time::Duration;

use tower::{BoxError, Layer, ServiceExt};
use tower_oauth2::source::Cause;
use tower_oauth2::store::{TokenStore, TokenStoreLayer};
use tower_oauth2::{AccessToken, Credentials, TokenCache, TokenRequest, Tokens};

use self::double::{Double, Op};
use crate::support::*;

/// Returns a source that answers with the token of `make` after `wait`.
fn slow(
    wait: Duration,
    make: impl Fn(usize) -> AccessToken + Send + Sync + 'static,
) -> ScriptedSource {
    let make = std::sync::Arc::new(make);
    ScriptedSource::new(move |n, _| {
        let make = make.clone();
        async move {
            tokio::time::sleep(wait).await;
            Ok(make(n))
        }
    })
}

/// Returns the tokens of a process whose own cache never renews a token early.
fn process(store: impl TokenStore, source: &ScriptedSource) -> Tokens {
    over(TokenStoreLayer::new(store), source)
}

/// Returns tokens in a cache over a layer.
fn over(layer: TokenStoreLayer, source: &ScriptedSource) -> Tokens {
    TokenCache::builder(layer.layer(source.clone()))
        .renew_ahead(Duration::ZERO)
        .build()
        .tokens(&credentials())
}

/// Returns the tokens of several processes.
fn fleet<S: TokenStore + Clone>(size: usize, store: &S, source: &ScriptedSource) -> Vec<Tokens> {
    (0..size).map(|_| process(store.clone(), source)).collect()
}

/// Returns the secrets of all tokens after concurrent requests.
async fn secrets(handles: &[Tokens]) -> Vec<String> {
    let all = handles.iter().cloned();
    at_once(all.map(|tokens| async move { secret(&tokens).await })).await
}

/// Runs all futures concurrently and returns their results.
async fn at_once<T: Send + 'static>(
    all: impl Iterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let all: Vec<_> = all.map(tokio::spawn).collect();
    let mut results = Vec::new();
    for one in all {
        results.push(one.await.unwrap());
    }
    results
}

/// Sends the token request of a process that has no token.
async fn ask(layer: &TokenStoreLayer, source: &ScriptedSource) -> Result<AccessToken, BoxError> {
    layer.layer(source.clone()).oneshot(TokenRequest::new(credentials())).await
}

fn request_to_replace(token: &AccessToken, cause: Cause) -> TokenRequest {
    TokenRequest::new(credentials()).with_token(token.clone(), cause)
}

/// Returns the store key of the token for `credentials`.
async fn key_of(credentials: &Credentials) -> String {
    let store = Double::default();
    let layer = TokenStoreLayer::new(store.clone());
    let request = TokenRequest::new(credentials.clone());
    layer.layer(ScriptedSource::tokens(hour)).oneshot(request).await.unwrap();
    store.log()[0].key.clone()
}

/// Returns the operations of a store in order.
fn ops(store: &Double) -> Vec<Op> {
    store.log().iter().map(|entry| entry.op).collect()
}
