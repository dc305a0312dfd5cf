//! Where tokens are shared with other processes.

use tower::BoxError;
use tower_oauth2::StoreLayer;

/// A server's URL that has been understood.
pub(crate) enum Store {
    #[cfg(feature = "redis")]
    Redis(redis::ConnectionInfo),
}

impl Store {
    /// What is wrong with a URL does not quote it: it may have a password in it.
    pub(crate) fn parse(url: &str) -> Result<Self, &'static str> {
        match url.split_once("://") {
            #[cfg(feature = "redis")]
            Some(("redis" | "rediss", _)) => {
                use redis::IntoConnectionInfo;

                let server = url.into_connection_info().map_err(|_| "is not a valid URL")?;
                Ok(Self::Redis(server))
            }
            #[cfg(not(feature = "redis"))]
            Some(("redis" | "rediss", _)) => Err("needs `--features redis` when this is built"),
            _ => Err("is none of redis://, rediss://"),
        }
    }

    /// Trusts these certificates, in PEM, if there are any, and else the platform's.
    pub(crate) fn layer(&self, roots: Option<&[u8]>) -> Result<StoreLayer, BoxError> {
        // Without any of the features there is nothing to choose from.
        let _ = roots;
        match *self {
            #[cfg(feature = "redis")]
            Self::Redis(ref server) => Ok(StoreLayer::new(redis_store(server.clone(), roots)?)),
        }
    }
}

#[cfg(feature = "redis")]
fn redis_store(
    server: redis::ConnectionInfo,
    roots: Option<&[u8]>,
) -> Result<tower_oauth2::RedisStore<redis::aio::ConnectionManager>, BoxError> {
    use std::time::Duration;

    use redis::aio::{ConnectionManager, ConnectionManagerConfig};
    use redis::{Client, ConnectionAddr, TlsCertificates};

    let is_tls = matches!(server.addr(), ConnectionAddr::TcpTls { .. });
    let client = match roots {
        Some(roots) if is_tls => Client::build_with_tls(
            server,
            TlsCertificates { client_tls: None, root_cert: Some(roots.to_vec()) },
        )?,
        _ => Client::open(server)?,
    };
    let second = Some(Duration::from_secs(1));
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(second)
        .set_response_timeout(second)
        .set_number_of_retries(1);
    Ok(tower_oauth2::RedisStore::new(ConnectionManager::new_lazy_with_config(client, config)?))
}
