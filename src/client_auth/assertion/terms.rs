use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Map, Value};
use tower::BoxError;

use crate::client_auth::{LENGTH_SIZE, TokenRequestParts, length_bytes};
use crate::jwt;
use crate::util::limits::MAX_LIFETIME;

const DEFAULT_LIFETIME: Duration = Duration::from_secs(60);

/// What every assertion says.
#[derive(Clone)]
pub(crate) struct Terms {
    pub(crate) issuer: String,
    /// Other than the token endpoint's URI.
    audience: Option<String>,
    pub(crate) lifetime: Duration,
}

impl Terms {
    pub(crate) fn new(issuer: String) -> Self {
        Self { issuer, audience: None, lifetime: DEFAULT_LIFETIME }
    }

    pub(crate) fn set_audience(&mut self, audience: String) {
        self.audience = (!audience.is_empty()).then_some(audience);
    }

    pub(crate) fn audience_bytes(&self) -> &[u8] {
        self.audience.as_deref().unwrap_or_default().as_bytes()
    }

    /// RFC 7523 section 3, with the issuer as the subject. There is no `nbf`: it adds nothing but a clock that may
    /// be off.
    pub(crate) fn claims(
        &self,
        request: &TokenRequestParts,
    ) -> Result<Map<String, Value>, BoxError> {
        let issued_at = request.now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let lifetime = self.lifetime.min(MAX_LIFETIME).as_secs().max(1);
        let audience = self.audience.as_deref().unwrap_or(request.endpoint_as_named());
        let claims: [(&str, Value); 6] = [
            ("iss", self.issuer.as_str().into()),
            ("sub", self.issuer.as_str().into()),
            ("aud", audience.into()),
            ("iat", issued_at.into()),
            ("exp", issued_at.saturating_add(lifetime).into()),
            ("jti", jwt::random_id()?.into()),
        ];
        Ok(claims.map(|(name, value)| (name.to_owned(), value)).into_iter().collect())
    }
}

/// Encodes byte strings with their lengths before them, so that different lists differ.
pub(crate) fn list(items: &[&[u8]]) -> Vec<u8> {
    // Reserve all of the room, because memory that a vector outgrows is not wiped.
    let room = items.iter().map(|item| item.len() + LENGTH_SIZE).sum();
    let mut all = Vec::with_capacity(room);
    for item in items {
        all.extend_from_slice(&length_bytes(item.len()));
        all.extend_from_slice(item);
    }
    all
}
