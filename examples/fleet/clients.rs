//! The clients that call the API: this crate, and two hand-written clients.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::Full;
use tower::{Service, ServiceBuilder};
use tower_oauth2::source::TokenRetry;
use tower_oauth2::store::TokenStoreLayer;
use tower_oauth2::{
    ClientAuth, ConfigError, Credentials, OAuth2, OAuth2Layer, Origins, TokenCache, TokenEndpoint,
    TokenRequest,
};

use crate::day::{Api, Day, Issuer, Token};
use crate::store::CountedStore;

/// The outcome of one call.
pub(crate) enum Answer {
    Done,
    /// The client returned a 401 to its caller.
    Unauthorized,
    /// No token was available.
    NoToken,
}

pub(crate) trait Client {
    fn call(&mut self) -> impl Future<Output = Answer> + Send + 'static;
}

/// A client with this crate.
pub(crate) struct Ours {
    api: OAuth2<Api>,
    uri: Uri,
}

impl Ours {
    /// Creates a client. Without jitter, it renews tokens one minute before they expire, as many
    /// clients do: the server sends `refresh_in`, and the cache's renewal time is disabled.
    pub(crate) fn new(
        day: &Arc<Day>,
        has_jitter: bool,
        store: Option<CountedStore>,
    ) -> Result<Self, ConfigError> {
        let credentials = Credentials::new(
            "https://auth.example.com/token",
            ClientAuth::client_secret_basic("fleet", "s3cr3t"),
        )?;
        let ahead = Duration::from_secs(60).min(day.plan.lifetime / 5);
        let refresh_in = (!has_jitter).then(|| day.plan.lifetime - ahead);
        let issuer = Issuer { day: day.clone(), refresh_in };
        let source = ServiceBuilder::new()
            .option_layer(store.map(TokenStoreLayer::new))
            .map_request({
                let day = day.clone();
                move |request: TokenRequest| {
                    day.tally.cause(request.cause());
                    request
                }
            })
            // The hand-written clients do not retry either, so the numbers of requests are
            // comparable.
            .service(TokenEndpoint::new(issuer).retry(TokenRetry::none()));
        let cache = TokenCache::builder(source);
        let cache = if has_jitter { cache } else { cache.renew_ahead(Duration::ZERO) };
        let tokens = cache.build().tokens(&credentials);
        let origins = Origins::only("https://api.example.com")?;
        let api = OAuth2Layer::new(tokens, origins).layer(Api(day.clone()));
        Ok(Self { api, uri: Uri::from_static("https://api.example.com/") })
    }
}

impl Client for Ours {
    fn call(&mut self) -> impl Future<Output = Answer> + Send + 'static {
        let mut request = Request::new(Full::<Bytes>::default());
        *request.uri_mut() = self.uri.clone();
        let ready = self.api.poll_ready(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(ready, Poll::Ready(Ok(()))), "the simulated API is always ready");
        let response = self.api.call(request);
        async move {
            match response.await {
                Ok(response) if response.status() == StatusCode::UNAUTHORIZED => {
                    Answer::Unauthorized
                }
                Ok(_) => Answer::Done,
                Err(_) => Answer::NoToken,
            }
        }
    }
}

/// A token, and when it expires. A hand-written client counts its lifetime from its arrival.
type Cached = Arc<Mutex<Option<(Token, Duration)>>>;

/// Fetches a token when its token has expired. It returns a 401 to its caller.
pub(crate) struct OnExpiry {
    day: Arc<Day>,
    cached: Cached,
}

/// Fetches a token after a 401 from the API, and resends the request.
pub(crate) struct On401 {
    day: Arc<Day>,
    cached: Cached,
}

impl OnExpiry {
    pub(crate) fn new(day: &Arc<Day>) -> Self {
        Self { day: day.clone(), cached: Cached::default() }
    }
}

impl Client for OnExpiry {
    fn call(&mut self) -> impl Future<Output = Answer> + Send + 'static {
        let (day, cached) = (self.day.clone(), self.cached.clone());
        async move {
            let now = day.now();
            let valid = read(&cached).filter(|(_, end)| now < *end);
            let token = match valid {
                Some((token, _)) => Some(token),
                None => fetch(&day, &cached).await,
            };
            token.map_or(Answer::NoToken, |token| send(&day, token))
        }
    }
}

impl On401 {
    pub(crate) fn new(day: &Arc<Day>) -> Self {
        Self { day: day.clone(), cached: Cached::default() }
    }
}

impl Client for On401 {
    fn call(&mut self) -> impl Future<Output = Answer> + Send + 'static {
        let (day, cached) = (self.day.clone(), self.cached.clone());
        async move {
            if read(&cached).is_some_and(|(token, _)| day.accepts(token)) {
                return Answer::Done;
            }
            let token = fetch(&day, &cached).await;
            token.map_or(Answer::NoToken, |token| send(&day, token))
        }
    }
}

fn send(day: &Day, token: Token) -> Answer {
    if day.accepts(token) { Answer::Done } else { Answer::Unauthorized }
}

async fn fetch(day: &Day, cached: &Cached) -> Option<Token> {
    let token = day.token_request().await?;
    let end = day.now() + day.plan.lifetime;
    *cached.lock().unwrap_or_else(PoisonError::into_inner) = Some((token, end));
    Some(token)
}

fn read(cached: &Cached) -> Option<(Token, Duration)> {
    *cached.lock().unwrap_or_else(PoisonError::into_inner)
}
