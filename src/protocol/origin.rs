//! Computes the origins of URIs (RFC 6454).

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use http::Uri;
use http::uri::Authority;

use crate::error::ConfigError;

pub(super) const NEEDS_BOTH: ConfigError = ConfigError::new("origin", "needs a scheme and a host");

/// Holds scheme, host and port, spelled so that equal origins have equal texts.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    scheme: Box<str>,
    pub(super) is_https: bool,
    pub(super) is_http: bool,
    /// `host` or `host:port` in lower case, without the default port of the scheme.
    authority: Box<str>,
    /// The scheme is `https`, or the host is a loopback address.
    is_secure: bool,
}

impl Origin {
    pub(crate) fn parse(text: &str) -> Result<Self, ConfigError> {
        let uri = parse_absolute(text, "origin")?;
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            let problem = "must have a scheme, a host and a port only, without path and query";
            return Err(ConfigError::new("origin", problem).with_url(text));
        }
        Self::from_uri(&uri).ok_or_else(|| NEEDS_BOTH.with_url(text))
    }

    /// Returns the origin of `uri`, or `None` if it has no scheme or no host.
    pub(crate) fn from_uri(uri: &Uri) -> Option<Self> {
        Self::from_parts(uri.scheme_str()?, uri.authority()?)
    }

    pub(super) fn from_parts(scheme: &str, authority: &Authority) -> Option<Self> {
        let scheme = scheme.to_ascii_lowercase();
        let (is_https, is_http) = (scheme == "https", scheme == "http");
        let host = authority.host().to_ascii_lowercase();
        if host.is_empty() {
            return None;
        }
        let default_port = match &*scheme {
            "https" => Some(443),
            "http" => Some(80),
            _ => None,
        };
        let is_secure = is_https || is_loopback(&host);
        let authority = match port_of(authority)? {
            Some(port) if Some(port) != default_port => format!("{host}:{port}"),
            _ => host,
        };
        Some(Self {
            scheme: scheme.into(),
            is_https,
            is_http,
            authority: authority.into(),
            is_secure,
        })
    }

    pub(crate) fn is_secure(&self) -> bool {
        self.is_secure
    }

    #[inline]
    pub(super) fn is_spelled_as(&self, authority: &Authority) -> bool {
        are_same(self.authority.as_bytes(), authority.as_str().as_bytes())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Parses an absolute URI, and rejects user information and fragments.
///
/// [`http::Uri`] would keep user information and silently drop fragments. `setting` names the URI
/// in errors.
pub(crate) fn parse_absolute(text: &str, setting: &'static str) -> Result<Uri, ConfigError> {
    let invalid = |problem| ConfigError::new(setting, problem).with_url(text);
    if text.contains('#') {
        return Err(invalid("must not have a fragment"));
    }
    if !text.contains("://") {
        return Err(invalid("needs a scheme and a host"));
    }
    let uri: Uri = text.parse().map_err(|_| invalid("is not a valid URI"))?;
    match uri.authority() {
        Some(authority) if authority.as_str().contains('@') => {
            Err(invalid("must not have user information"))
        }
        Some(_) if Origin::from_uri(&uri).is_some() => Ok(uri),
        _ => Err(invalid("needs a scheme and a host")),
    }
}

/// Compares two short texts.
///
/// For texts of up to two machine words, this is faster than a call of the general comparison.
#[inline]
fn are_same(one: &[u8], other: &[u8]) -> bool {
    const WORD: usize = 8;
    one.len() == other.len()
        && one.first_chunk::<WORD>() == other.first_chunk()
        && one.last_chunk::<WORD>() == other.last_chunk()
        && ((WORD..=2 * WORD).contains(&one.len()) || one == other)
}

/// Returns the port of `authority`, if there is one. Returns `None` if it is not a number.
fn port_of(authority: &Authority) -> Option<Option<u16>> {
    let (_, host_and_port) =
        authority.as_str().rsplit_once('@').unwrap_or(("", authority.as_str()));
    match host_and_port.strip_prefix(authority.host())?.strip_prefix(':') {
        None | Some("") => Some(None),
        Some(port) => port.parse().ok().map(Some),
    }
}

/// Returns whether a host in lower case is a loopback address. IPv6 addresses are in brackets.
pub(crate) fn is_loopback(host: &str) -> bool {
    if let Some(v6) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        return v6.parse::<Ipv6Addr>().is_ok_and(|ip| {
            ip.is_loopback() || ip.to_ipv4_mapped().is_some_and(|ip| ip.is_loopback())
        });
    }
    host == "localhost" || host.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_each_length_are_compared_in_full() {
        for len in 0..40 {
            let one = vec![b'a'; len];
            assert!(are_same(&one, &one.clone()));
            assert!(!are_same(&one, &vec![b'a'; len + 1]));
            for at in 0..len {
                let mut other = one.clone();
                other[at] = b'b';
                assert!(!are_same(&one, &other), "{at} of {len}");
            }
        }
    }
}
