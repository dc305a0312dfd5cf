//! Creates the claims of a JWT.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};
use tokio::time::Instant;
use tower::BoxError;

use super::{Audience, random_id};
use crate::error::ConfigError;
use crate::secret::Identity;
use crate::util::limits::MAX_LIFETIME;

/// The time from `iat` to `exp`: a minute from now, because `iat` is set back.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(75);

/// The maximum age of `iat` and `nbf`.
///
/// They are in the past, because servers whose clock is behind refuse times in the future.
const MAX_SET_BACK: Duration = Duration::from_secs(15);

/// Settings for the claims of a JWT.
#[derive(Clone)]
pub(crate) struct AssertionClaims {
    audience: Option<Audience>,
    lifetime: Duration,
    has_not_before: bool,
    /// Claims to add or replace, or to remove if the value is `null`.
    custom: Map<String, Value>,
}

/// The data of a token request that its JWTs depend on.
pub(crate) struct JwtContext<'a> {
    pub(crate) now: SystemTime,
    /// The token endpoint, spelled as the server spells it.
    pub(crate) token_endpoint: Option<&'a str>,
    pub(crate) issuer: Option<&'a str>,
    pub(crate) default_audience: DefaultAudience,
    pub(crate) deadline: Option<Instant>,
}

/// The audience of a JWT whose settings name none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DefaultAudience {
    /// The authorization server: its issuer if that is known, otherwise its token endpoint.
    AuthorizationServer,
    /// The JWT has no audience.
    None,
}

impl Default for AssertionClaims {
    fn default() -> Self {
        Self {
            audience: None,
            lifetime: DEFAULT_LIFETIME,
            has_not_before: false,
            custom: Map::new(),
        }
    }
}

impl AssertionClaims {
    pub(crate) fn set_audience(&mut self, audience: Audience) {
        self.audience = Some(audience).filter(|audience| !audience.is_empty());
    }

    pub(crate) fn set_lifetime(&mut self, lifetime: Duration) {
        self.lifetime = lifetime;
    }

    pub(crate) fn add_not_before(&mut self) {
        self.has_not_before = true;
    }

    pub(crate) fn set_claim(&mut self, name: String, value: Value) {
        self.custom.insert(name, value);
    }

    /// Returns the time from `iat` to `exp` in whole seconds, at least one.
    fn lifetime(&self) -> Duration {
        Duration::from_secs(self.lifetime.min(MAX_LIFETIME).as_secs().max(1))
    }

    /// Returns the age of `iat`, which leaves a short lifetime at least its half.
    fn set_back(&self) -> Duration {
        MAX_SET_BACK.min(Duration::from_secs(self.lifetime().as_secs() / 2))
    }

    /// Returns the time from now to `exp`.
    pub(crate) fn remaining_lifetime(&self) -> Duration {
        self.lifetime() - self.set_back()
    }

    /// Adds the data that distinguishes the claims from others.
    ///
    /// The lifetime is part of the data, because a server may limit the token's lifetime to the
    /// assertion's.
    pub(crate) fn identify(&self, identity: &mut Identity) {
        match &self.audience {
            None => identity.part("default"),
            Some(Audience::Issuer) => identity.part("issuer"),
            Some(Audience::TokenEndpoint) => identity.part("token endpoint"),
            Some(Audience::Custom(audience)) => identity.part("custom").part(audience),
        };
        identity.part(self.lifetime().as_secs().to_be_bytes());
        identity.part(if self.has_not_before { "nbf" } else { "" });
        // A JSON map may keep the order in which claims were added, which makes no difference.
        let mut claims: Vec<_> = self.custom.iter().collect();
        claims.sort_unstable_by_key(|(name, _)| *name);
        let texts = claims.iter().flat_map(|(name, value)| [(*name).clone(), value.to_string()]);
        identity.list(texts);
    }

    /// Returns the claims of RFC 7523 section 3, with `issuer` as the default subject.
    ///
    /// By default, there is no `nbf` claim, because some servers accept an `iat` in the future, and
    /// refuse an `nbf` in the future.
    pub(crate) fn claims(
        &self,
        issuer: &str,
        context: &JwtContext<'_>,
    ) -> Result<Map<String, Value>, BoxError> {
        let now = context.now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let issued_at = now.saturating_sub(self.set_back()).as_secs();
        let mut claims = Map::new();
        let mut insert = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        insert("iss", issuer.into());
        insert("sub", issuer.into());
        if let Some(audience) = self.resolve_audience(context)? {
            insert("aud", audience.into());
        }
        insert("iat", issued_at.into());
        if self.has_not_before {
            insert("nbf", issued_at.into());
        }
        insert("exp", issued_at.saturating_add(self.lifetime().as_secs()).into());
        insert("jti", random_id()?.into());
        claims.extend(self.custom.clone());
        claims.retain(|_, value| !value.is_null());
        Ok(claims)
    }

    fn resolve_audience<'a>(
        &'a self,
        context: &JwtContext<'a>,
    ) -> Result<Option<&'a str>, ConfigError> {
        let missing = |why| ConfigError::new("JWT audience", why);
        match (&self.audience, context.default_audience) {
            (Some(Audience::Custom(audience)), _) => Ok(Some(audience)),
            (Some(Audience::Issuer), _) => context.issuer.map(Some).ok_or_else(|| {
                missing("cannot be the issuer: use Credentials::from_issuer or Metadata")
            }),
            (Some(Audience::TokenEndpoint), _) => context
                .token_endpoint
                .map(Some)
                .ok_or_else(|| missing("cannot be the token endpoint: use Credentials::new")),
            (None, DefaultAudience::None) => Ok(None),
            (None, DefaultAudience::AuthorizationServer) => {
                Ok(context.issuer.or(context.token_endpoint))
            }
        }
    }
}
