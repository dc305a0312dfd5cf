//! Tokens that are shared through a store, on a paused clock.

pub mod double;
#[cfg(feature = "encryption")]
mod encrypted;
mod lease;
mod not_accepted;
mod records;
mod rejection;
mod shards;
mod sharing;
mod takeover;
mod telling;
mod trouble;

use std::time::Duration;

use tower::{BoxError, Layer, ServiceExt};
use tower_oauth2::source::Cause;
use tower_oauth2::store::{TokenStore, TokenStoreLayer};
use tower_oauth2::{AccessToken, Credentials, TokenCache, TokenRequest};

use self::double::{Double, Op};
use crate::support::*;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Answers with what `make` makes, after a while.
fn slow(wait: Duration, make: impl Fn(usize) -> AccessToken + Send + Sync + 'static) -> Source {
    let make = std::sync::Arc::new(make);
    Source::new(move |n, _| {
        let make = make.clone();
        async move {
            tokio::time::sleep(wait).await;
            Ok(make(n))
        }
    })
}

/// As a process of its own has it. Nothing is renewed ahead.
fn process(store: impl TokenStore, source: &Source) -> TokenCache {
    over(TokenStoreLayer::new(store), source)
}

fn over(layer: TokenStoreLayer, source: &Source) -> TokenCache {
    TokenCache::builder(credentials(), layer.layer(source.clone()))
        .renew_ahead(Duration::ZERO)
        .build()
}

fn fleet<S: TokenStore + Clone>(size: usize, store: &S, source: &Source) -> Vec<TokenCache> {
    (0..size).map(|_| process(store.clone(), source)).collect()
}

async fn secret(cache: &TokenCache) -> String {
    cache.get().await.unwrap().secret().to_owned()
}

/// The tokens that all of them get when they ask at once.
async fn secrets(caches: &[TokenCache]) -> Vec<String> {
    let mut tokens = Vec::new();
    for token in at_once(caches.iter().map(|cache| {
        let cache = cache.clone();
        async move { cache.get().await }
    }))
    .await
    {
        tokens.push(token.unwrap().secret().to_owned());
    }
    tokens
}

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

/// One token request of a process that has nothing.
async fn ask(layer: &TokenStoreLayer, source: &Source) -> Result<AccessToken, BoxError> {
    layer.layer(source.clone()).oneshot(TokenRequest::new(credentials())).await
}

fn in_place_of(token: &AccessToken, cause: Cause) -> TokenRequest {
    TokenRequest::new(credentials()).in_place_of(token.clone(), cause)
}

/// Under which key the token for `credentials` is kept.
async fn key_of(credentials: &Credentials) -> String {
    let store = Double::default();
    let layer = TokenStoreLayer::new(store.clone());
    let request = TokenRequest::new(credentials.clone());
    layer.layer(Source::of(hour)).oneshot(request).await.unwrap();
    store.log()[0].key.clone()
}

/// The operations, in order.
fn ops(store: &Double) -> Vec<Op> {
    store.log().iter().map(|entry| entry.op).collect()
}
