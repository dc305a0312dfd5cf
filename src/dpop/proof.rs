//! One proof (RFC 9449 section 4.2).

use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderValue, Method, Uri};
use serde_json::{Map, Value};
use tower::BoxError;

use crate::jwt::{self, SigningKey};
use crate::origin::Origin;

/// What goes into a proof besides what is random.
pub(super) struct Claims<'a> {
    pub(super) method: &'a Method,
    pub(super) uri: &'a Uri,
    pub(super) origin: &'a Origin,
    pub(super) at: SystemTime,
    pub(super) nonce: Option<&'a str>,
    /// The hash of the access token that goes with it.
    pub(super) ath: Option<&'a str>,
}

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

/// The URI without query and fragment, its scheme, host and port in the one spelling that equal origins share
/// (RFC 9449 section 4.3, RFC 3986 sections 6.2.2 and 6.2.3). The path is what is sent.
fn htu(uri: &Uri, origin: &Origin) -> String {
    format!("{origin}{}", uri.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_is_named_in_one_spelling_without_its_query() {
        for (uri, expected) in [
            ("https://API.Example.COM:443/a/B?c=d", "https://api.example.com/a/B"),
            ("https://api.example.com", "https://api.example.com/"),
            ("https://user@api.example.com:8443/%7Ea/", "https://api.example.com:8443/%7Ea/"),
            ("http://[::1]:80/x?y#z", "http://[::1]/x"),
        ] {
            let uri: Uri = uri.parse().unwrap();
            assert_eq!(htu(&uri, &Origin::of(&uri).unwrap()), expected);
        }
    }
}
