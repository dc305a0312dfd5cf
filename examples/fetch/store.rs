//! Where tokens are shared with other processes.

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

/// A server's URL that has been understood.
pub(crate) enum Store {
    #[cfg(feature = "redis")]
    Redis(Box<redis::ConnectionInfo>),
    #[cfg(feature = "memcached")]
    Memcached(tower_oauth2::store::MemcachedStore),
}

impl Store {
    /// What is wrong with a URL does not quote it: it may have a password in it.
    pub(crate) fn parse(url: &str) -> Result<Self, &'static str> {
        match url.split_once("://") {
            #[cfg(feature = "redis")]
            Some(("redis" | "rediss", _)) => {
                use redis::IntoConnectionInfo;

                let server = url.into_connection_info().map_err(|_| "is not a valid URL")?;
                Ok(Self::Redis(Box::new(server)))
            }
            #[cfg(not(feature = "redis"))]
            Some(("redis" | "rediss", _)) => Err("needs `cargo run --features redis`"),
            #[cfg(feature = "memcached")]
            Some(("memcached", server)) => {
                let store = tower_oauth2::store::MemcachedStore::new(server);
                store.map(Self::Memcached).map_err(|_| "is not memcached://HOST:PORT")
            }
            #[cfg(not(feature = "memcached"))]
            Some(("memcached", _)) => Err("needs `cargo run --features memcached`"),
            _ => Err("is none of redis://, rediss://, memcached://"),
        }
    }

    /// Trusts these certificates, in PEM, if there are any, and else the platform's.
    pub(crate) fn layer(
        &self,
        roots: Option<&[u8]>,
        keys: Option<&Keys>,
    ) -> Result<TokenStoreLayer, BoxError> {
        // Without any of the features there is nothing to choose from.
        let _ = (roots, keys);
        tell_of_trouble();
        match *self {
            #[cfg(feature = "redis")]
            Self::Redis(ref server) => sealed(redis_store((**server).clone(), roots)?, keys),
            #[cfg(feature = "memcached")]
            Self::Memcached(ref store) => sealed(store.clone(), keys),
        }
    }
}

/// A store's failures fail no request, and are in the trace only: from there to stderr.
fn tell_of_trouble() {
    let stores = Targets::new().with_target("tower_oauth2::store", Level::WARN);
    let lines = fmt::layer()
        .with_writer(io::stderr)
        .log_internal_errors(false)
        .with_ansi(false)
        .with_target(false)
        .without_time();
    tracing_subscriber::registry().with(lines.with_filter(stores)).init();
}

/// What records are sealed with.
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
fn sealed(store: impl TokenStore, keys: Option<&Keys>) -> Result<TokenStoreLayer, BoxError> {
    match keys {
        None => Ok(patient(store)),
        #[cfg(feature = "encryption")]
        Some(Keys(keys)) => {
            Ok(patient(tower_oauth2::store::EncryptedStore::new(store, keys.iter().cloned())?))
        }
        #[cfg(not(feature = "encryption"))]
        Some(keys) => match *keys {},
    }
}

/// Each run connects anew, perhaps over TLS, within the time of its first operation.
#[allow(dead_code, reason = "without any of the features there is no store")]
fn patient(store: impl TokenStore) -> TokenStoreLayer {
    TokenStoreLayer::new(store).deadline(Duration::from_secs(2))
}

#[cfg(feature = "redis")]
fn redis_store(
    server: redis::ConnectionInfo,
    roots: Option<&[u8]>,
) -> Result<tower_oauth2::store::RedisStore, BoxError> {
    use redis::{Client, ConnectionAddr, TlsCertificates};

    let is_tls = matches!(server.addr(), ConnectionAddr::TcpTls { .. });
    let server = match roots {
        Some(roots) if is_tls => {
            let certificates =
                TlsCertificates { client_tls: None, root_cert: Some(roots.to_vec()) };
            Client::build_with_tls(server, certificates)?.get_connection_info().clone()
        }
        _ => server,
    };
    Ok(tower_oauth2::store::RedisStore::open(server)?)
}
