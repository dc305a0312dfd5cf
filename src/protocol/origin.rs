//! Origins of URIs, and the origins whose requests get a token.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use http::Uri;
use http::uri::Authority;

use crate::error::ConfigError;
use crate::util::one_or_many::OneOrMany;

const NEEDS_BOTH: ConfigError = ConfigError::new("origin", "needs a scheme and a host");

/// The origins whose requests get a token. Every [`OAuth2Layer`] needs them.
///
/// An origin consists of scheme, host and port, without a path (RFC 6454 section 4). A request to
/// any other origin is sent without a token and is not replayed, so that a redirect cannot leak a
/// token. A request whose URI names no host always gets a token, because the inner service decides
/// where it goes. That service also decides whether to use TLS.
///
/// [`OAuth2Layer`]: crate::OAuth2Layer
///
/// # Example
///
/// ```
/// use tower_oauth2::Origins;
///
/// let origins = Origins::only(["https://api.example.com", "http://localhost:8080"])?;
/// assert!(origins.contains(&"https://API.example.com:443/things?page=2".parse()?));
/// assert!(!origins.contains(&"https://api.example.com.evil.test/".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Origins(Repr);

#[derive(Clone)]
enum Repr {
    Any,
    Only(Arc<[Origin]>),
}

/// Says whether requests to a URI get a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UriClass {
    /// The origin is not listed, so its requests get no token.
    NotListed,
    /// The origin is listed, and uses TLS or a loopback address; or the URI names no host.
    Secure,
    /// The origin is listed, but a token would cross a network in clear text.
    Insecure,
}

impl Origins {
    /// Lists the origins, each written as `https://host` or `https://host:port`.
    ///
    /// With an empty list, no request that names a host gets a token.
    ///
    /// # Errors
    ///
    /// Returns an error if an origin is not an absolute URI, or has user information, a path, a
    /// query or a fragment.
    pub fn only(origins: impl OneOrMany) -> Result<Self, ConfigError> {
        origins
            .into_texts()
            .iter()
            .map(|origin| Origin::parse(origin))
            .collect::<Result<Arc<[_]>, _>>()
            .map(|origins| Self(Repr::Only(origins)))
    }

    /// Lists the origin of `uri`, whatever its path is.
    ///
    /// # Errors
    ///
    /// Returns an error if the URI has no scheme or no host.
    pub fn of(uri: &Uri) -> Result<Self, ConfigError> {
        let origin = Origin::of(uri).ok_or(NEEDS_BOTH)?;
        Ok(Self(Repr::Only(Arc::new([origin]))))
    }

    /// Allows every origin.
    ///
    /// The party that chooses the URI of a request then also chooses who receives the token. Prefer
    /// [`Origins::only`].
    pub fn any() -> Self {
        Self(Repr::Any)
    }

    /// Returns whether requests to `uri` get a token.
    pub fn contains(&self, uri: &Uri) -> bool {
        self.classify(uri) != UriClass::NotListed
    }

    /// Returns the listed origin, if the list has exactly one.
    pub(crate) fn sole(&self) -> Option<&Origin> {
        match &self.0 {
            Repr::Only(origins) if origins.len() == 1 => origins.first(),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn classify(&self, uri: &Uri) -> UriClass {
        let Some(authority) = uri.authority() else {
            return UriClass::Secure;
        };
        match &self.0 {
            Repr::Any if uri.scheme_str() == Some("https") => return UriClass::Secure,
            Repr::Any => {}
            Repr::Only(origins) => {
                // Almost every URI is spelled as the origin is, so the bytes are compared first.
                if uri.scheme_str() == Some("https")
                    && origins
                        .iter()
                        .any(|origin| origin.is_https && origin.is_spelled_as(authority))
                {
                    return UriClass::Secure;
                }
            }
        }
        self.classify_slowly(uri)
    }

    /// Classifies a URI that does not use TLS, or is spelled in an unusual way.
    ///
    /// Kept out of line, because almost every URI is classified above.
    #[cold]
    fn classify_slowly(&self, uri: &Uri) -> UriClass {
        if let (Repr::Only(origins), Some(authority), Some("http")) =
            (&self.0, uri.authority(), uri.scheme_str())
        {
            let spelled = origins.iter().find(|o| o.is_http && o.is_spelled_as(authority));
            if let Some(origin) = spelled {
                return origin.class();
            }
        }
        let origin = Origin::of(uri);
        match &self.0 {
            Repr::Any => origin.map_or(UriClass::Insecure, |origin| origin.class()),
            Repr::Only(origins) => match origin {
                Some(origin) if origins.contains(&origin) => origin.class(),
                _ => UriClass::NotListed,
            },
        }
    }
}

impl fmt::Debug for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Any => f.write_str("Origins::any()"),
            Repr::Only(origins) => f.debug_list().entries(origins.iter()).finish(),
        }
    }
}

/// Scheme, host and port, spelled so that equal origins have equal texts.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    scheme: Box<str>,
    is_https: bool,
    is_http: bool,
    /// `host` or `host:port` in lower case, without the default port of the scheme.
    authority: Box<str>,
    /// The scheme is `https`, or the host is a loopback address.
    is_secure: bool,
}

impl Origin {
    pub(crate) fn parse(text: &str) -> Result<Self, ConfigError> {
        let uri = parse_absolute(text, "origin")?;
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(ConfigError::new(
                "origin",
                "is scheme, host and port only, without path and query",
            ));
        }
        Self::of(&uri).ok_or(NEEDS_BOTH)
    }

    /// Returns the origin of `uri`, or `None` if it has no scheme or no host.
    pub(crate) fn of(uri: &Uri) -> Option<Self> {
        let scheme = uri.scheme_str()?.to_ascii_lowercase();
        let (is_https, is_http) = (scheme == "https", scheme == "http");
        let authority = uri.authority()?;
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
    fn is_spelled_as(&self, authority: &Authority) -> bool {
        are_same(self.authority.as_bytes(), authority.as_str().as_bytes())
    }

    #[inline]
    fn class(&self) -> UriClass {
        if self.is_secure { UriClass::Secure } else { UriClass::Insecure }
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
/// [`http::Uri`] would keep the former and silently drop the latter. `what` names the URI in errors.
pub(crate) fn parse_absolute(text: &str, what: &'static str) -> Result<Uri, ConfigError> {
    if text.contains('#') {
        return Err(ConfigError::new(what, "must not have a fragment"));
    }
    if !text.contains("://") {
        return Err(ConfigError::new(what, "needs a scheme and a host"));
    }
    let uri: Uri = text.parse().map_err(|_| ConfigError::new(what, "is not a valid URI"))?;
    match uri.authority() {
        Some(authority) if authority.as_str().contains('@') => {
            Err(ConfigError::new(what, "must not have user information in it"))
        }
        Some(_) if Origin::of(&uri).is_some() => Ok(uri),
        _ => Err(ConfigError::new(what, "needs a scheme and a host")),
    }
}

/// Compares two short texts.
///
/// Up to two machine words, the comparison is faster than a call of the general one.
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

    fn classify(origins: &Origins, uri: &str) -> UriClass {
        origins.classify(&uri.parse().unwrap())
    }

    #[test]
    fn spelling_does_not_matter_but_meaning_does() {
        let origins =
            Origins::only(["https://api.example.com", "HTTPS://[2001:DB8::1]:8443/"]).unwrap();
        for ours in [
            "https://api.example.com",
            "https://api.example.com:443/a?b",
            "HTTPS://API.EXAMPLE.COM/",
            "https://user:pw@api.example.com/",
            "https://[2001:db8::1]:8443/x",
            "/relative",
            "*",
        ] {
            assert_eq!(classify(&origins, ours), UriClass::Secure, "{ours}");
        }
        for foreign in [
            "http://api.example.com/",
            "https://api.example.com:8443/",
            "https://api.example.com.evil.test/",
            "https://api.example.com@evil.test/",
            "https://[2001:db8::1]/",
            "https://evil.test/https://api.example.com",
            "api.example.com:443",
        ] {
            assert_eq!(classify(&origins, foreign), UriClass::NotListed, "{foreign}");
        }
    }

    #[test]
    fn the_origin_of_a_uri_is_all_that_counts_of_it() {
        let origins = Origins::of(&"https://u:p@A.test:443/x?y".parse().unwrap()).unwrap();
        assert_eq!(classify(&origins, "https://a.test/z"), UriClass::Secure);
        assert_eq!(classify(&origins, "https://b.test/x"), UriClass::NotListed);
        assert!(Origins::of(&"/x".parse().unwrap()).is_err());
    }

    #[test]
    fn texts_are_the_same_when_all_their_bytes_are() {
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

    #[test]
    fn clear_text_is_told_from_this_machine() {
        let any = Origins::any();
        for secure in [
            "https://a.test",
            "http://localhost:1",
            "http://LOCALHOST",
            "http://127.8.9.1",
            "http://[::1]:80",
            "http://[::ffff:127.0.0.1]",
        ] {
            assert_eq!(classify(&any, secure), UriClass::Secure, "{secure}");
        }
        for insecure in [
            "http://a.test",
            "http://localhost.evil.test",
            "http://127.0.0.1.evil.test",
            "http://[::2]",
            "ftp://a.test",
            "a.test:443",
        ] {
            assert_eq!(classify(&any, insecure), UriClass::Insecure, "{insecure}");
        }
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for bad in [
            "",
            "/",
            "api.example.com",
            "https://",
            "https://a.test/path",
            "https://a.test?q",
            "https://a.test#f",
            "https://u@a.test",
            "https://a.test:99999",
            "https://a b",
        ] {
            assert!(Origins::only([bad]).is_err(), "{bad}");
        }
    }
}
