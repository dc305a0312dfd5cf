//! Reads the address of a server, and connects to it.

use std::fmt;
use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::error::ConfigError;

/// The name of the setting in errors.
const URL: &str = "memcached URL";

const DEFAULT_PORT: &str = "11211";

/// A connection to a TCP port or a Unix socket.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub(super) enum Address {
    Tcp(Box<str>),
    #[cfg(unix)]
    Unix(Box<std::path::Path>),
}

impl Address {
    /// Parses `memcached://host[:port]` or `unix:///path`.
    pub(super) fn parse(url: &str) -> Result<Self, ConfigError> {
        let error = |problem| Err(ConfigError::new(URL, problem).with_url(url));
        if let Some(path) = url.strip_prefix("unix://") {
            return parse_unix(url, path);
        }
        let Some(authority) = url.strip_prefix("memcached://") else {
            return error("must be memcached://host:port or unix:///path");
        };
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port),
            _ => (authority, DEFAULT_PORT),
        };
        let is_v6 = host.starts_with('[') && host.ends_with(']');
        let is_valid = |byte: u8| byte.is_ascii_graphic() && !b"/@?#".contains(&byte);
        if host.is_empty() || (host.contains(':') && !is_v6) || !host.bytes().all(is_valid) {
            return error("must contain only a host and a port");
        }
        let is_digits = port.bytes().all(|byte| byte.is_ascii_digit());
        if !is_digits || port.parse::<u16>().map_or(true, |port| port == 0) {
            return error("must have a port from 1 to 65535");
        }
        Ok(Self::Tcp(format!("{host}:{port}").into()))
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

#[cfg(unix)]
fn parse_unix(url: &str, path: &str) -> Result<Address, ConfigError> {
    if !path.starts_with('/') {
        let problem = "must have an absolute path, such as unix:///path";
        return Err(ConfigError::new(URL, problem).with_url(url));
    }
    Ok(Address::Unix(std::path::Path::new(path).into()))
}

#[cfg(not(unix))]
fn parse_unix(url: &str, _path: &str) -> Result<Address, ConfigError> {
    Err(ConfigError::new(URL, "must not be a Unix socket on this platform").with_url(url))
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "memcached://{address}"),
            #[cfg(unix)]
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}
