//! Creates DPoP proofs (RFC 9449 section 4.2).

use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderValue, Method, Uri};
use serde_json::{Map, Value};
use tower::BoxError;

use crate::jwt::{self, SigningKey};
use crate::protocol::origin::Origin;

/// The claims of a proof, except for the random `jti`.
pub(super) struct Claims<'a> {
    pub(super) method: &'a Method,
    pub(super) uri: &'a Uri,
    pub(super) origin: &'a Origin,
    pub(super) at: SystemTime,
    pub(super) nonce: Option<&'a str>,
    /// The hash of the access token that is sent with the proof.
    pub(super) ath: Option<&'a str>,
}

/// Creates and signs a proof.
pub(super) fn make(key: &SigningKey, claims: &Claims<'_>) -> Result<HeaderValue, BoxError> {
    let Claims { method, uri, origin, at, nonce, ath } = claims;
    let iat = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut body = Map::from_iter([
        ("jti".to_owned(), jwt::random_id()?.into()),
        ("htm".to_owned(), method.as_str().into()),
        ("htu".to_owned(), htu(uri, origin).into()),
        ("iat".to_owned(), iat.into()),
    ]);
    body.extend(nonce.map(|nonce| ("nonce".to_owned(), nonce.into())));
    body.extend(ath.map(|ath| ("ath".to_owned(), ath.into())));
    let header = Map::from_iter([
        ("typ".to_owned(), "dpop+jwt".into()),
        ("jwk".to_owned(), key.public_jwk()),
    ]);
    let proof = jwt::sign_at_once(key, header, &Value::Object(body))?;
    let mut value = HeaderValue::try_from(proof.as_str())?;
    value.set_sensitive(true);
    Ok(value)
}

/// Returns the URI of a request without query and fragment (RFC 9449 section 4.3).
///
/// Scheme, host and port are normalized (RFC 3986 sections 6.2.2 and 6.2.3). The path is not.
fn htu(uri: &Uri, origin: &Origin) -> String {
    let path = match uri.path() {
        // The target of an `OPTIONS` request about the server itself has no path (RFC 9110 section
        // 7.1).
        "*" => "",
        path => path,
    };
    format!("{origin}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn htu_is_normalized_and_has_no_query() {
        for (uri, expected) in [
            ("https://API.Example.COM:443/a/B?c=d", "https://api.example.com/a/B"),
            ("https://api.example.com", "https://api.example.com/"),
            ("https://user@api.example.com:8443/%7Ea/", "https://api.example.com:8443/%7Ea/"),
            ("http://[::1]:80/x?y#z", "http://[::1]/x"),
            ("https://[2001:DB8::A]:8443?x", "https://[2001:db8::a]:8443/"),
            ("http://api.example.com:443/", "http://api.example.com:443/"),
            ("https://api.example.com:/", "https://api.example.com/"),
            // The path stays as it is sent, because only the server may decode `%2e`.
            (
                "https://api.example.com/a/../%2e/%2F;b=c",
                "https://api.example.com/a/../%2e/%2F;b=c",
            ),
            ("https://api.example.com//?", "https://api.example.com//"),
        ] {
            let uri: Uri = uri.parse().unwrap();
            assert_eq!(htu(&uri, &Origin::from_uri(&uri).unwrap()), expected);
        }
    }

    #[test]
    fn htu_of_a_request_without_a_host_has_the_origins_host() {
        let origin = Origin::parse("https://api.example.com:8443").unwrap();
        for (target, expected) in [
            ("/a?b", "https://api.example.com:8443/a"),
            ("/", "https://api.example.com:8443/"),
            ("*", "https://api.example.com:8443"),
        ] {
            assert_eq!(htu(&target.parse().unwrap(), &origin), expected);
        }
    }
}
