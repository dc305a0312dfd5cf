use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower::{Layer, ServiceExt};
use tower_oauth2::source::Backoff;
use tower_oauth2::store::{RedisStore, TokenStoreLayer};
use tower_oauth2::{AccessToken, CachedToken, OAuth2, OAuth2Layer, Origins, Tokens};
use tower_oauth2_testkit::credentials;
use tower_oauth2_testkit::servers::Redis;

use super::{Api, ScriptedSource, Trace};

/// The number of clients, each of which acts as a process.
pub const CACHES: usize = 4;

/// The number of concurrent requests of each client.
const REQUESTS: usize = 8;

const DAY: Duration = Duration::from_secs(24 * 3600);

pub struct Load {
    source: ScriptedSource,
    clients: Vec<Client>,
}

/// A cache with its own connection and its own set of valid tokens.
#[derive(Clone)]
pub struct Client {
    tokens: Tokens,
    api: OAuth2<Api>,
    seen: Arc<Mutex<SeenTokens>>,
}

/// The tokens that an API has received.
#[derive(Default)]
struct SeenTokens {
    /// The number of the last accepted token.
    current: usize,
    rejected: HashSet<usize>,
    /// The number of requests with a rejected token.
    refused: usize,
}

impl Load {
    /// Creates a load without a token.
    pub fn new(redis: &Redis) -> Self {
        Self::at(&redis.url())
    }

    /// Creates a load without a token for the server at `url`.
    pub fn at(url: &str) -> Self {
        // Tokens that live for a day, requested ten seconds apart.
        let source = ScriptedSource::tokens(|n| {
            let age = Duration::from_secs(10_000 - 10 * n as u64);
            let token = AccessToken::new(format!("token-{n}")).unwrap().with_scope("read write");
            token.with_expires_in(DAY).with_age(age)
        });
        let mut load = Self { source, clients: Vec::new() };
        load.clients = (0..CACHES).map(|_| load.client_at(url)).collect();
        load
    }

    /// Creates another client that shares the tokens.
    pub fn client(&self, redis: &Redis) -> Client {
        self.client_at(&redis.url())
    }

    fn client_at(&self, url: &str) -> Client {
        let layer = TokenStoreLayer::new(RedisStore::open(url).unwrap())
            .backoff(Backoff::new(Duration::from_millis(1), Duration::from_millis(10)));
        let tokens = Tokens::new(credentials(), layer.layer(self.source.clone()));
        let seen = Arc::new(Mutex::new(SeenTokens::default()));
        let (log, issued) = (seen.clone(), self.source.clone());
        let api = Api::accepting(move |token| {
            let number = token.strip_prefix("token-").and_then(|number| number.parse().ok());
            let number = number.filter(|&number| (1..=issued.count()).contains(&number));
            number.is_some_and(|number| log.lock().unwrap().accept(number))
        });
        Client { api: OAuth2Layer::new(tokens.clone(), Origins::any()).layer(api), tokens, seen }
    }

    pub fn token_requests(&self) -> usize {
        self.source.count()
    }

    /// Rejects the current token of each client.
    pub async fn reject(&self) {
        for client in &self.clients {
            client.reject().await;
        }
    }

    /// Sends requests through all caches concurrently, which all return 200. Returns the number of
    /// token requests.
    pub async fn round(&self) -> usize {
        let before = self.token_requests();
        let mut requests = JoinSet::new();
        for client in &self.clients {
            for _ in 0..REQUESTS {
                requests.spawn(client.clone().call());
            }
        }
        while let Some(ended) = requests.join_next().await {
            ended.unwrap();
        }
        self.token_requests() - before
    }

    /// Runs a round in which every cache needs another token.
    pub async fn renewal(&self) -> usize {
        self.reject().await;
        self.round().await
    }

    /// Runs rounds until all caches share one token again and the recovery is reported.
    pub async fn recovers(&self, trace: &Trace) {
        let rounds = async {
            while !self.share_one_token().await {
                self.renewal().await;
                let newest = self.clients.iter().map(Client::current).max();
                for client in &self.clients {
                    if Some(client.current()) != newest {
                        client.reject().await;
                        client.clone().call().await;
                    }
                }
            }
        };
        timeout(Duration::from_secs(60), rounds)
            .await
            .expect("the caches never share a token again");
        let line = "INFO tower_oauth2::store::health";
        assert!(trace.lines().iter().any(|found| {
            found.starts_with(line) && found.contains("the token store works again")
        }));
        for _ in 0..3 {
            assert_eq!(self.renewal().await, 1);
            assert!(self.share_one_token().await);
        }
    }

    /// Returns whether all APIs accepted the same token last, and all caches still hold it.
    ///
    /// A cache holds a later token after a dropped request, whose renewal continues.
    async fn share_one_token(&self) -> bool {
        let first = self.clients[0].current();
        for client in &self.clients {
            if client.current() != first || client.current_token().await.is_none() {
                return false;
            }
        }
        true
    }
}

impl Client {
    fn current(&self) -> usize {
        self.seen.lock().unwrap().current
    }

    /// Returns the number of requests that returned 401.
    pub fn refused(&self) -> usize {
        self.seen.lock().unwrap().refused
    }

    /// Rejects the current token of the client permanently.
    ///
    /// Tokens are rejected by hand, because an API that rejects so many in a short time opens the
    /// breaker (R8). The API does not accept the token either, in case it comes back from the
    /// store.
    pub async fn reject(&self) {
        let current = self.current();
        self.seen.lock().unwrap().rejected.insert(current);
        if let Some(token) = self.current_token().await {
            token.reject();
        }
    }

    /// Returns the cache's token if the API accepted it last.
    async fn current_token(&self) -> Option<CachedToken> {
        let token = self.tokens.get().await.unwrap();
        (token.secret() == format!("token-{}", self.current())).then_some(token)
    }

    /// Sends a request that returns 200. The limit only detects a request that hangs.
    pub async fn call(self) {
        let request = Request::get("https://api.test/").body(Full::<Bytes>::default()).unwrap();
        let response = timeout(Duration::from_secs(30), self.api.oneshot(request)).await;
        assert_eq!(response.expect("the request hangs").unwrap().status(), StatusCode::OK);
    }
}

impl SeenTokens {
    fn accept(&mut self, number: usize) -> bool {
        let is_good = !self.rejected.contains(&number);
        if is_good {
            self.current = number;
        } else {
            self.refused += 1;
        }
        is_good
    }
}
