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
use tower_oauth2::{
    AccessToken, ClientAuth, Credentials, OAuth2, OAuth2Layer, Origins, TokenCache,
};

use super::{Api, Source, Trace};
use crate::support::Redis;

/// So many share the server, as if each were a process.
pub const CACHES: usize = 4;

/// And has so many requests to an API at once.
const REQUESTS: usize = 8;

const DAY: Duration = Duration::from_secs(24 * 3600);

pub struct Load {
    source: Source,
    clients: Vec<Client>,
}

/// A cache with a connection of its own, and its own view of which tokens are good.
#[derive(Clone)]
pub struct Client {
    cache: TokenCache,
    api: OAuth2<Api>,
    tokens: Arc<Mutex<Tokens>>,
}

#[derive(Default)]
struct Tokens {
    /// The number of the one that was accepted last.
    current: usize,
    rejected: HashSet<usize>,
    /// How many requests came with one that is rejected.
    refused: usize,
}

impl Load {
    /// With no token yet.
    pub fn new(redis: &Redis) -> Self {
        Self::at(&redis.url())
    }

    /// With no token yet, and a server at this URL.
    pub fn at(url: &str) -> Self {
        // A day's tokens, ten seconds between one and the next.
        let source = Source::of(|n| {
            let age = Duration::from_secs(10_000 - 10 * n as u64);
            let token = AccessToken::new(format!("token-{n}")).unwrap().with_scope("read write");
            token.with_expires_in(DAY).with_age(age)
        });
        let mut load = Self { source, clients: Vec::new() };
        load.clients = (0..CACHES).map(|_| load.client_at(url)).collect();
        load
    }

    /// Another that shares the tokens.
    pub fn client(&self, redis: &Redis) -> Client {
        self.client_at(&redis.url())
    }

    fn client_at(&self, url: &str) -> Client {
        let layer = TokenStoreLayer::new(RedisStore::open(url).unwrap())
            .backoff(Backoff::new(Duration::from_millis(1), Duration::from_millis(10)));
        let auth = ClientAuth::client_secret_basic("client-id", "s3cr3t");
        let credentials = Credentials::new("https://auth.test/token", auth).unwrap();
        let cache = TokenCache::new(credentials, layer.layer(self.source.clone()));
        let tokens = Arc::new(Mutex::new(Tokens::default()));
        let (log, issued) = (tokens.clone(), self.source.clone());
        let api = Api::accepting(move |token| {
            let number = token.strip_prefix("token-").and_then(|number| number.parse().ok());
            let number = number.filter(|&number| (1..=issued.count()).contains(&number));
            number.is_some_and(|number| log.lock().unwrap().accept(number))
        });
        Client { api: OAuth2Layer::new(cache.clone(), Origins::any()).layer(api), cache, tokens }
    }

    pub fn token_requests(&self) -> usize {
        self.source.count()
    }

    /// Rejects in each client the token that it has.
    pub async fn reject(&self) {
        for client in &self.clients {
            client.reject().await;
        }
    }

    /// A round of requests through all caches at once, each of which is answered with 200. Returns how many
    /// token requests that took.
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

    /// A round in which every cache needs another token.
    pub async fn renewal(&self) -> usize {
        self.reject().await;
        self.round().await
    }

    /// Rounds until all share one token again, and the trace says that it works.
    pub async fn recovers(&self, trace: &Trace) {
        let rounds = async {
            while !self.share_one_token() {
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
        timeout(Duration::from_secs(60), rounds).await.expect("they never share a token again");
        let line = "INFO tower_oauth2::store::health";
        assert!(trace.lines().iter().any(|found| {
            found.starts_with(line) && found.contains("the token store works again")
        }));
        for _ in 0..3 {
            assert_eq!(self.renewal().await, 1);
            assert!(self.share_one_token());
        }
    }

    fn share_one_token(&self) -> bool {
        self.clients.iter().all(|client| client.current() == self.clients[0].current())
    }
}

impl Client {
    fn current(&self) -> usize {
        self.tokens.lock().unwrap().current
    }

    /// How many requests were answered with 401.
    pub fn refused(&self) -> usize {
        self.tokens.lock().unwrap().refused
    }

    /// Rejects the token that the client has, for good.
    ///
    /// Tokens are rejected by hand, because an API that rejects so many in a short time opens the
    /// breaker (R8). The API does not accept the token either, in case it comes back from the store.
    pub async fn reject(&self) {
        let current = {
            let mut tokens = self.tokens.lock().unwrap();
            let current = tokens.current;
            tokens.rejected.insert(current);
            format!("token-{current}")
        };
        let token = self.cache.get().await.unwrap();
        if token.secret() == current {
            self.cache.reject(&token);
        }
    }

    /// A request that is answered with 200. How long that takes is no measure, but that of something that hangs.
    pub async fn call(self) {
        let request = Request::get("https://api.test/").body(Full::<Bytes>::default()).unwrap();
        let response = timeout(Duration::from_secs(30), self.api.oneshot(request)).await;
        assert_eq!(response.expect("it hangs").unwrap().status(), StatusCode::OK);
    }
}

impl Tokens {
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
