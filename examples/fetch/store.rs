//! Opens the store that processes share.

use std::io;
use std::path::Path;
use std::time::Duration;

use tower::BoxError;
use tower_oauth2::store::{TokenStore, TokenStoreLayer};
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// A store whose URL is valid.
pub(crate) enum Store {
    #[cfg(feature = "redis")]
    Redis(Box<redis::Client>),
    #[cfg(feature = "memcached")]
    Memcached(tower_oauth2::store::MemcachedStore),
}

impl Store {
    /// Parses a URL. The error does not quote it, because it may contain a password.
    pub(crate) fn parse(url: &str) -> Result<Self, &'static str> {
        match url.split_once("://") {
            #[cfg(feature = "redis")]
            Some(("redis" | "rediss", _)) => {
                let client = redis::Client::open(url).map_err(|_| "is not a valid URL")?;
                Ok(Self::Redis(Box::new(client)))
            }
            #[cfg(not(feature = "redis"))]
            Some(("redis" | "rediss", _)) => Err("needs `cargo run --features redis`"),
            #[cfg(feature = "memcached")]
            Some(("memcached", _)) => {
                let store = tower_oauth2::store::MemcachedStore::open(url);
                store.map(Self::Memcached).map_err(|_| "is not memcached://HOST:PORT")
            }
            #[cfg(not(feature = "memcached"))]
            Some(("memcached", _)) => Err("needs `cargo run --features memcached`"),
            _ => Err("does not begin with redis://, rediss:// or memcached://"),
        }
    }

    pub(crate) fn takes_password(&self) -> bool {
        match *self {
            #[cfg(feature = "redis")]
            Self::Redis(_) => true,
            #[cfg(feature = "memcached")]
            Self::Memcached(_) => false,
        }
    }

    pub(crate) fn has_password(&self) -> bool {
        match *self {
            #[cfg(feature = "redis")]
            Self::Redis(ref client) => {
                client.get_connection_info().redis_settings().password().is_some()
            }
            #[cfg(feature = "memcached")]
            Self::Memcached(_) => false,
        }
    }

    /// Sets the password of a store that takes one.
    pub(crate) fn with_password(self, password: &str) -> Result<Self, &'static str> {
        // Without the feature `redis`, no store takes a password.
        let _ = password;
        match self {
            #[cfg(feature = "redis")]
            Self::Redis(client) => {
                let server = client.get_connection_info().clone();
                let settings = server.redis_settings().clone().set_password(password);
                let client = redis::Client::open(server.set_redis_settings(settings));
                let client = client.map_err(|_| "cannot be used with this password")?;
                Ok(Self::Redis(Box::new(client)))
            }
            #[cfg(feature = "memcached")]
            Self::Memcached(store) => Ok(Self::Memcached(store)),
        }
    }

    /// Creates the layer. `roots` are certificates in PEM that replace the platform's.
    pub(crate) fn layer(
        &self,
        roots: Option<&[u8]>,
        keys: Option<&Keys>,
    ) -> Result<TokenStoreLayer, BoxError> {
        // Without any of the features, there is no store.
        let _ = (roots, keys);
        log_failures();
        match *self {
            #[cfg(feature = "redis")]
            Self::Redis(ref client) => encrypted(redis_store((**client).clone(), roots)?, keys),
            #[cfg(feature = "memcached")]
            Self::Memcached(ref store) => encrypted(store.clone(), keys),
        }
    }
}

/// Prints failures of the store on stderr. They fail no request, so only log events show them.
fn log_failures() {
    let stores = Targets::new().with_target("tower_oauth2::store", Level::WARN);
    let lines = fmt::layer()
        .with_writer(io::stderr)
        .log_internal_errors(false)
        .with_ansi(false)
        .with_target(false)
        .without_time();
    tracing_subscriber::registry().with(lines.with_filter(stores)).init();
}

/// The keys that encrypt tokens in the store. The first one encrypts, and all of them decrypt.
#[cfg(feature = "encryption")]
pub(crate) struct Keys(Vec<tower_oauth2::store::EncryptionKey>);

#[cfg(not(feature = "encryption"))]
pub(crate) enum Keys {}

impl Keys {
    #[cfg(feature = "encryption")]
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = crate::bounded::file(path).map_err(|error| error.to_string())?;
        let text = String::from_utf8(text).map_err(|_| "is not UTF-8".to_owned())?;
        let keys =
            tower_oauth2::store::EncryptionKey::all_in(text).map_err(|error| error.to_string())?;
        Ok(Self(keys))
    }

    #[cfg(not(feature = "encryption"))]
    pub(crate) fn read(_: &Path) -> Result<Self, String> {
        Err("needs `cargo run --features encryption`".to_owned())
    }
}

#[allow(dead_code, reason = "without any of the features there is no store")]
fn encrypted(store: impl TokenStore, keys: Option<&Keys>) -> Result<TokenStoreLayer, BoxError> {
    match keys {
        None => Ok(patient(store)),
        #[cfg(feature = "encryption")]
        Some(Keys(keys)) => {
            let mut keys = keys.iter().cloned();
            let first = keys.next().ok_or("the key file has no key")?;
            let store = tower_oauth2::store::EncryptedStore::new(store, first);
            Ok(patient(keys.fold(store, tower_oauth2::store::EncryptedStore::also_opens)))
        }
        #[cfg(not(feature = "encryption"))]
        Some(keys) => match *keys {},
    }
}

/// Allows more time for an operation. The first operation of each run connects, perhaps over TLS.
#[allow(dead_code, reason = "without any of the features there is no store")]
fn patient(store: impl TokenStore) -> TokenStoreLayer {
    TokenStoreLayer::new(store).deadline(Duration::from_secs(2))
}

#[cfg(feature = "redis")]
fn redis_store(
    client: redis::Client,
    roots: Option<&[u8]>,
) -> Result<tower_oauth2::store::RedisStore, BoxError> {
    use redis::{Client, ConnectionAddr, TlsCertificates};

    let server = client.get_connection_info();
    let is_tls = matches!(server.addr(), ConnectionAddr::TcpTls { .. });
    let client = match roots {
        Some(roots) if is_tls => {
            let certificates =
                TlsCertificates { client_tls: None, root_cert: Some(roots.to_vec()) };
            Client::build_with_tls(server.clone(), certificates)?
        }
        _ => client,
    };
    Ok(tower_oauth2::store::RedisStore::new(client))
}
