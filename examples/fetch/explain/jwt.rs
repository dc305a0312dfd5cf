//! Decodes the parts of JWTs that can be shared.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

/// The header and claims of a JWT. The signature is not kept.
pub(super) struct Jwt {
    pub(super) header: Map<String, Value>,
    /// `None` for an encrypted JWT (RFC 7516 section 3).
    pub(super) claims: Option<Map<String, Value>>,
}

impl Jwt {
    /// Decodes a JWT. Returns `None` for any other text, and for a JWT without a signature, because
    /// its claims alone are the token.
    pub(super) fn decode(text: &str) -> Option<Self> {
        let parts: Vec<_> = text.split('.').collect();
        let header = object(parts[0]).filter(|header| header.contains_key("alg"))?;
        let claims = match parts[..] {
            [_, claims, signature] if !signature.is_empty() => Some(object(claims)?),
            [_, _, _, _, _] => None,
            _ => return None,
        };
        Some(Self { header, claims })
    }
}

fn object(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}
