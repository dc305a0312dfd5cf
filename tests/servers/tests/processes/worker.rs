//! A process that sends a request to the API for each line that it reads.

use std::future::pending;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tower::util::{MapFutureLayer, ServiceExt};
use tower::{BoxError, ServiceBuilder};
use tower_oauth2::store::{RedisStore, StoredValue, TokenStore, TokenStoreLayer};
use tower_oauth2::{ClientAuth, Credentials, OAuth2Layer, Origins, TokenEndpoint, Tokens};

/// The environment variables of a worker. They have the server, the origin, the lease in
/// milliseconds, and the place at which to stop.
pub const VARIABLE: &str = "TOWER_OAUTH2_TEST_WORKER";

/// The places at which a holder is killed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    BeforeLock,
    AfterLock,
    TokenRequest,
    AfterReplace,
}

#[tokio::test]
#[ignore = "is no test: the others start it, as a process"]
async fn worker() {
    let Ok(line) = std::env::var(VARIABLE) else {
        return;
    };
    let [redis, origin, lease, step] = line.split(' ').collect::<Vec<_>>()[..] else {
        panic!("{line}");
    };
    let steps = [Step::BeforeLock, Step::AfterLock, Step::TokenRequest, Step::AfterReplace];
    let parks_at = steps.into_iter().find(|known| format!("{known:?}") == step);
    let store = RedisStore::open(redis).unwrap();
    // A machine that runs many processes may be slow.
    let layer = TokenStoreLayer::new(Parking { store, parks_at })
        .lease(Duration::from_millis(lease.parse().unwrap()))
        .deadline(Duration::from_secs(30));

    let http = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let endpoint = ServiceBuilder::new()
        .layer(MapFutureLayer::new(move |response| async move {
            let response = Box::pin(response).await;
            park(parks_at == Some(Step::TokenRequest)).await;
            response
        }))
        .service(http.clone());
    let auth = ClientAuth::client_secret_basic("client-id", "s3cr3t");
    let credentials = Credentials::new(format!("{origin}/token"), auth).unwrap();
    let source = ServiceBuilder::new().layer(layer).service(TokenEndpoint::new(endpoint));
    let tokens = Tokens::new(credentials, source);
    let api = ServiceBuilder::new().layer(OAuth2Layer::new(tokens, Origins::any())).service(http);

    say("ready");
    while read_line().await.is_some() {
        let request = Request::get(format!("{origin}/")).body(Full::default()).unwrap();
        match api.clone().oneshot(request).await {
            Ok(response) => say(response.status().as_str()),
            Err(error) => say(&format!("{error:?}")),
        }
    }
}

fn say(what: &str) {
    println!("worker: {what}");
}

/// Reads a line, or returns `None` at the end of the input.
async fn read_line() -> Option<String> {
    let line = tokio::task::spawn_blocking(|| io::stdin().lines().next());
    line.await.unwrap()?.ok()
}

/// Waits to be killed if this is the place.
async fn park(is_here: bool) {
    if is_here {
        say("parked");
        pending::<()>().await;
    }
}

struct Parking {
    store: RedisStore,
    parks_at: Option<Step>,
}

impl TokenStore for Parking {
    async fn get(&self, key: &str) -> Result<Option<StoredValue>, BoxError> {
        self.store.get(key).await
    }

    async fn set(&self, key: &str, value: &[u8], time_to_live: Duration) -> Result<(), BoxError> {
        self.store.set(key, value, time_to_live).await
    }

    async fn replace(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        value: &[u8],
        time_to_live: Duration,
    ) -> Result<bool, BoxError> {
        let is_replaced = self.store.replace(key, expected, value, time_to_live).await;
        park(self.parks_at == Some(Step::AfterReplace)).await;
        is_replaced
    }

    async fn lock(&self, key: &str, owner: &str, lease: Duration) -> Result<bool, BoxError> {
        park(self.parks_at == Some(Step::BeforeLock)).await;
        let is_locked = self.store.lock(key, owner, lease).await;
        park(self.parks_at == Some(Step::AfterLock)).await;
        is_locked
    }

    async fn unlock(&self, key: &str, owner: &str) -> Result<(), BoxError> {
        self.store.unlock(key, owner).await
    }
}
