//! Where the server listens.

use std::fmt;
use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::error::ConfigError;

pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub(super) enum Address {
    Tcp(Box<str>),
    #[cfg(unix)]
    Unix(Box<std::path::Path>),
}

impl Address {
    pub(super) fn parse(address: &str) -> Result<Self, ConfigError> {
        const WHAT: &str = "memcached address";
        if let Some(path) = address.strip_prefix("unix:") {
            #[cfg(unix)]
            if !path.is_empty() {
                return Ok(Self::Unix(std::path::Path::new(path).into()));
            }
            let _ = path;
            return Err(ConfigError::new(WHAT, "needs the path of a Unix socket, on Unix"));
        }
        let Some((host, port)) = address.rsplit_once(':') else {
            return Err(ConfigError::new(WHAT, "needs a host and a port"));
        };
        let is_v6 = host.starts_with('[') && host.ends_with(']');
        if host.is_empty() || (host.contains(':') && !is_v6) {
            return Err(ConfigError::new(WHAT, "needs a host, without a scheme, and a port"));
        }
        if !host.bytes().all(|byte| byte.is_ascii_graphic() && !b"/@?#".contains(&byte)) {
            return Err(ConfigError::new(WHAT, "has a host that is none"));
        }
        if port.parse::<u16>().map_or(true, |port| port == 0) {
            return Err(ConfigError::new(WHAT, "has a port that is none"));
        }
        Ok(Self::Tcp(address.into()))
    }

    pub(super) async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        match self {
            Self::Tcp(address) => {
                let stream = TcpStream::connect(&**address).await?;
                stream.set_nodelay(true)?;
                Ok(Box::new(stream))
            }
            #[cfg(unix)]
            Self::Unix(path) => Ok(Box::new(tokio::net::UnixStream::connect(path).await?)),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            #[cfg(unix)]
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
