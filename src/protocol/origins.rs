//! Lists the origins whose requests get a token.

use std::fmt;
use std::sync::Arc;

use http::Uri;
use http::uri::Authority;

use super::origin::{NEEDS_BOTH, Origin};
use crate::error::ConfigError;
use crate::util::one_or_many::OneOrMany;

/// Lists the origins whose requests get a token.
///
/// Every [`OAuth2Layer`] needs such a list. An origin consists of scheme, host and port, without a
/// path (RFC 6454 section 4). A request to any other origin is sent without a token and is not
/// replayed, so that a redirect cannot leak a token.
///
/// A request whose URI names no host gets a token, because the inner service decides where it goes.
/// That service also decides whether to use TLS. Such a URI stands for the listed origin, or for
/// any of them if there are several. Tokens that are narrowed with [`Tokens::only_for`] are sent if
/// they are allowed at all listed origins, and are not sent if they are allowed at none. If they
/// are allowed at some of them, the request fails with [`TokenErrorKind::UnknownOrigin`].
///
/// [`OAuth2Layer`]: crate::OAuth2Layer
/// [`Tokens::only_for`]: crate::Tokens::only_for
/// [`TokenErrorKind::UnknownOrigin`]: crate::TokenErrorKind::UnknownOrigin
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
    /// The token may be sent.
    ///
    /// The origin is listed, and uses TLS or a loopback address, or the URI names no host.
    Secure,
    /// The origin is listed, but a token would cross a network in clear text.
    Insecure,
    /// The URI names no host, and only some listed origins allow the tokens.
    Unknown,
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

    /// Lists the origin of `uri`, and ignores its path.
    ///
    /// # Errors
    ///
    /// Returns an error if the URI has no scheme or no host.
    pub fn of(uri: &Uri) -> Result<Self, ConfigError> {
        let origin = Origin::from_uri(uri).ok_or_else(|| NEEDS_BOTH.with_url(&uri.to_string()))?;
        Ok(Self(Repr::Only(Arc::new([origin]))))
    }

    /// Allows every origin.
    ///
    /// The party that chooses the URI of a request then also chooses who receives the token. Prefer
    /// [`Origins::only`].
    #[doc(alias = "wildcard")]
    pub fn any() -> Self {
        Self(Repr::Any)
    }

    /// Returns whether requests to `uri` get a token.
    pub fn contains(&self, uri: &Uri) -> bool {
        self.classify(uri) != UriClass::NotListed
    }

    /// Returns the origins that both allow.
    pub(crate) fn intersection(&self, other: &Self) -> Self {
        match (&self.0, &other.0) {
            (Repr::Any, _) => other.clone(),
            (_, Repr::Any) => self.clone(),
            (Repr::Only(some), Repr::Only(others)) => {
                let common = some.iter().filter(|origin| others.contains(origin));
                Self(Repr::Only(common.cloned().collect()))
            }
        }
    }

    /// Classifies a URI without a host, with tokens that are narrowed to `narrower`.
    pub(crate) fn classify_relative(&self, narrower: &Self) -> UriClass {
        let (listed, allowed) = match (&self.0, &narrower.0) {
            (_, Repr::Any) => return UriClass::Secure,
            (Repr::Any, Repr::Only(_)) => return UriClass::Unknown,
            (Repr::Only(listed), Repr::Only(allowed)) => (listed, allowed),
        };
        match listed.iter().filter(|origin| allowed.contains(origin)).count() {
            // If no origin is listed, the URI may stand for any origin.
            _ if listed.is_empty() => UriClass::Unknown,
            0 => UriClass::NotListed,
            common if common == listed.len() => UriClass::Secure,
            _ => UriClass::Unknown,
        }
    }

    /// Classifies the target of a CONNECT request (RFC 9110 section 9.3.6).
    ///
    /// The target has a host and a port, but no scheme.
    ///
    /// The token goes to a proxy, so the inner service decides whether to use TLS.
    pub(crate) fn classify_tunnel(&self, authority: &Authority) -> UriClass {
        let is_listed = match &self.0 {
            Repr::Any => true,
            Repr::Only(_) if authority.port().is_none() => false,
            Repr::Only(origins) => ["https", "http"].into_iter().any(|scheme| {
                Origin::from_parts(scheme, authority)
                    .is_some_and(|origin| origins.contains(&origin))
            }),
        };
        if is_listed { UriClass::Secure } else { UriClass::NotListed }
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
    /// It is not inlined, because almost every URI is classified above.
    #[cold]
    fn classify_slowly(&self, uri: &Uri) -> UriClass {
        if let (Repr::Only(origins), Some(authority), Some("http")) =
            (&self.0, uri.authority(), uri.scheme_str())
        {
            let spelled = origins.iter().find(|o| o.is_http && o.is_spelled_as(authority));
            if let Some(origin) = spelled {
                return classify_origin(origin);
            }
        }
        let origin = Origin::from_uri(uri);
        match &self.0 {
            Repr::Any => origin.map_or(UriClass::Insecure, |origin| classify_origin(&origin)),
            Repr::Only(origins) => match origin {
                Some(origin) if origins.contains(&origin) => classify_origin(&origin),
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

/// Returns the class of a URI with a listed origin.
#[inline]
fn classify_origin(origin: &Origin) -> UriClass {
    if origin.is_secure() { UriClass::Secure } else { UriClass::Insecure }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classify(origins: &Origins, uri: &str) -> UriClass {
        origins.classify(&uri.parse().unwrap())
    }

    #[test]
    fn equal_origins_may_be_spelled_differently() {
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
    fn of_ignores_all_but_the_origin_of_a_uri() {
        let origins = Origins::of(&"https://u:p@A.test:443/x?y".parse().unwrap()).unwrap();
        assert_eq!(classify(&origins, "https://a.test/z"), UriClass::Secure);
        assert_eq!(classify(&origins, "https://b.test/x"), UriClass::NotListed);
        assert!(Origins::of(&"/x".parse().unwrap()).is_err());
    }

    #[test]
    fn clear_text_to_other_hosts_is_insecure() {
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
    fn malformed_origins_are_refused() {
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
