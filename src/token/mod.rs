//! Defines an access token and its properties.

mod extra;
mod scope;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tokio::time::Instant;
use zeroize::Zeroizing;

use self::extra::Extra;
use self::scope::GrantedScope;
use crate::error::ConfigError;
use crate::util::clock::Now;
use crate::util::limits::MAX_LIFETIME;

/// The authentication schemes with which tokens are sent (RFC 9110 section 11.4).
const BEARER: &str = "Bearer";
const DPOP: &str = "DPoP";

/// Holds an access token (RFC 6749 section 1.4).
///
/// It is a Bearer token (RFC 6750 section 2.1), or a token that is bound to a key (DPoP, RFC 9449
/// section 7.1).
///
/// A clone is cheap. Custom sources create tokens with [`AccessToken::new`]. A cache hands them out
/// as [`CachedToken`](crate::CachedToken), which can be rejected.
///
/// `Debug` never shows the token. Its memory is shared with the header values that are sent, and
/// therefore cannot be wiped.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use tower_oauth2::AccessToken;
///
/// let token = AccessToken::new("2YotnFZFEjr1zCsicMWpAA")?
///     .with_expires_in(Duration::from_secs(3600));
/// assert_eq!(token.lifetime(), Some(Duration::from_secs(3600)));
/// assert!(!format!("{token:?}").contains("2Yotn"));
/// # Ok::<(), tower_oauth2::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct AccessToken(Arc<TokenContents>);

#[derive(Clone)]
struct TokenContents {
    /// `Bearer <token>` or `DPoP <token>`, marked sensitive.
    header: HeaderValue,
    token_type: &'static str,
    requested_at: Now,
    lifetime: Option<Duration>,
    refresh_in: Option<Duration>,
    scope: Option<Box<GrantedScope>>,
    refresh_token: Option<Arc<Zeroizing<String>>>,
    extra: Extra,
    /// The token comes from a store, so another process may have used it before.
    is_from_store: bool,
}

impl AccessToken {
    /// Creates a Bearer token that is valid until it is rejected.
    ///
    /// Times such as [`with_expires_in`](Self::with_expires_in) count from now.
    ///
    /// # Errors
    ///
    /// Returns an error if the text is empty or has a character other than visible ASCII.
    pub fn new(access_token: impl AsRef<str>) -> Result<Self, ConfigError> {
        Self::parse(BEARER, access_token.as_ref())
    }

    /// Creates a token that is bound to a key (DPoP, RFC 9449 section 5).
    ///
    /// Its `token_type` is `DPoP`. It is sent with a proof of possession of the key.
    ///
    /// # Errors
    ///
    /// Returns an error if the text is empty or has a character other than visible ASCII.
    pub fn dpop(access_token: impl AsRef<str>) -> Result<Self, ConfigError> {
        Self::parse(DPOP, access_token.as_ref())
    }

    fn parse(token_type: &'static str, text: &str) -> Result<Self, ConfigError> {
        if text.is_empty() {
            return Err(ConfigError::new("access token", "is empty"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ConfigError::new(
                "access token",
                "has characters that cannot be sent in a header",
            ));
        }
        // Spare capacity makes the buffer reference-counted; otherwise its first clone allocates.
        let mut value = Vec::with_capacity(token_type.len() + text.len() + 2);
        value.extend_from_slice(token_type.as_bytes());
        value.push(b' ');
        value.extend_from_slice(text.as_bytes());
        let value = Bytes::from(value);
        let mut header = HeaderValue::from_maybe_shared(value)
            .map_err(|_| ConfigError::new("access token", "is not a valid header value"))?;
        header.set_sensitive(true);
        Ok(Self(Arc::new(TokenContents {
            header,
            token_type,
            requested_at: Now::read(),
            lifetime: None,
            refresh_in: None,
            scope: None,
            refresh_token: None,
            extra: Extra::default(),
            is_from_store: false,
        })))
    }

    /// Sets the lifetime, counted from the token request (`expires_in`, RFC 6749 section 5.1).
    ///
    /// The maximum is a year. A token with [`Duration::ZERO`] is used only by the callers that
    /// already wait for it.
    #[doc(alias("lifetime", "TTL"))]
    #[must_use]
    pub fn with_expires_in(self, expires_in: Duration) -> Self {
        self.edit(|inner| inner.lifetime = Some(expires_in.min(MAX_LIFETIME)))
    }

    /// Sets when the token should be renewed, counted from the token request (`refresh_in`).
    ///
    /// Microsoft's servers send it.
    #[must_use]
    pub fn with_refresh_in(self, refresh_in: Duration) -> Self {
        self.edit(|inner| inner.refresh_in = Some(refresh_in.min(MAX_LIFETIME)))
    }

    /// Sets how long ago the request for the token was sent.
    ///
    /// The lifetime of the token counts from then. The default is zero, and the maximum is a year.
    #[must_use]
    pub fn with_age(self, age: Duration) -> Self {
        let (now, age) = (Now::read(), age.min(MAX_LIFETIME));
        // If the monotonic clock started later than that, the wall clock alone ends the token.
        let mono = now.mono.checked_sub(age).unwrap_or(now.mono);
        let wall = now.wall.checked_sub(age).unwrap_or(now.wall);
        self.with_requested_at_both(Now { mono, wall })
    }

    /// Sets when the attempt that brought the token began, by both clocks (C5).
    pub(crate) fn with_requested_at_both(self, requested_at: Now) -> Self {
        self.edit(|inner| inner.requested_at = requested_at)
    }

    /// Sets the granted scope (`scope`, RFC 6749 section 3.3).
    #[must_use]
    pub fn with_scope(self, scope: impl Into<String>) -> Self {
        let scope = GrantedScope::new(scope.into());
        self.edit(|inner| inner.scope = Some(Box::new(scope)))
    }

    /// Sets the refresh token (`refresh_token`, RFC 6749 section 5.1).
    ///
    /// An empty text is ignored.
    #[must_use]
    pub fn with_refresh_token(self, refresh_token: impl Into<String>) -> Self {
        let refresh_token = Zeroizing::new(refresh_token.into());
        let refresh_token = (!refresh_token.is_empty()).then(|| Arc::new(refresh_token));
        self.edit(|inner| inner.refresh_token = refresh_token)
    }

    /// Adds another member of the response.
    ///
    /// A token keeps at most 64 KiB of them as JSON, the smallest first. The others are dropped.
    #[must_use]
    pub fn with_extra(self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        let (name, value) = (name.into(), value.into());
        self.edit(|inner| inner.extra = inner.extra.with(&name, &value))
    }

    /// Returns the token itself. Do not log it.
    pub fn secret(&self) -> &str {
        let header = self.0.header.to_str().expect("`parse` accepts visible ASCII only");
        &header[self.0.token_type.len() + 1..]
    }

    /// Returns the authentication scheme: `Bearer` or `DPoP`.
    pub fn token_type(&self) -> &'static str {
        self.0.token_type
    }

    pub(crate) fn is_dpop(&self) -> bool {
        self.0.token_type == DPOP
    }

    /// Returns the header value `Bearer <token>` or `DPoP <token>`, marked sensitive.
    #[doc(alias("Authorization", "bearer"))]
    pub fn header_value(&self) -> &HeaderValue {
        &self.0.header
    }

    /// Returns the lifetime, counted from the token request, or `None` if it is not known.
    pub fn lifetime(&self) -> Option<Duration> {
        self.0.lifetime
    }

    /// Returns the remaining lifetime, which is zero once the token has expired.
    ///
    /// `None` means that the token is valid until it is rejected. The time that the host was
    /// suspended counts too.
    pub fn time_left(&self) -> Option<Duration> {
        let (requested_at, lifetime) = (self.0.requested_at, self.0.lifetime?);
        let end = requested_at.shifted_to(requested_at.mono + lifetime);
        Some(Now::read().remaining_until(end))
    }

    /// Returns when the attempt that brought the token began, on tokio's clock.
    pub(crate) fn requested_at(&self) -> Instant {
        self.0.requested_at.mono
    }

    /// Returns when the attempt that brought the token began, by both clocks (C5).
    pub(crate) fn requested_at_both(&self) -> Now {
        self.0.requested_at
    }

    /// Returns when the token expires, on tokio's clock.
    ///
    /// `None` means that it is valid until it is rejected.
    pub(crate) fn expires_at(&self) -> Option<Instant> {
        // The lifetime is at most a year, so the sum stays within the clock's range.
        self.0.lifetime.map(|lifetime| self.0.requested_at.mono + lifetime)
    }

    /// Returns when the token should be renewed, counted from the token request (`refresh_in`).
    pub fn refresh_in(&self) -> Option<Duration> {
        self.0.refresh_in
    }

    /// Returns the granted scope as the server sent it.
    ///
    /// `None` means that the requested scope was granted (RFC 6749 section 5.1).
    pub fn scope(&self) -> Option<&str> {
        self.0.scope.as_ref().map(|scope| scope.text())
    }

    /// Returns the refresh token of the response. Do not log it.
    ///
    /// A [`TokenEndpoint`](crate::TokenEndpoint) removes a rotated one, and it is never put into a
    /// store. It is wiped from memory with the last clone of this token.
    pub fn refresh_token(&self) -> Option<&str> {
        self.0.refresh_token.as_ref().map(|refresh_token| refresh_token.as_str())
    }

    /// Returns another member of the response, such as `instance_url`.
    ///
    /// These are the members that have no method here. Each call parses the JSON text that the
    /// token keeps. It keeps at most 64 KiB of such members, the smallest first.
    #[doc(alias("id_token", "extra_fields"))]
    pub fn extra(&self, name: &str) -> Option<Value> {
        self.0.extra.get(name)
    }

    /// Compares the granted scope with the names that were requested.
    pub(crate) fn compared_with<'a>(self, requested: impl Iterator<Item = &'a str>) -> Self {
        match self.0.scope.as_ref().and_then(|scope| scope.compared_with(requested)) {
            Some(scope) => self.edit(|inner| inner.scope = Some(Box::new(scope))),
            None => self,
        }
    }

    /// Returns the requested scope names that are not granted, separated by spaces.
    ///
    /// Returns `None` if all are granted, or before [`compared_with`](Self::compared_with).
    pub(crate) fn missing_scope(&self) -> Option<&str> {
        self.0.scope.as_ref()?.missing()
    }

    pub(crate) fn has_same_secret_as(&self, other: &Self) -> bool {
        self.0.header == other.0.header
    }

    pub(crate) fn without_refresh_token(self) -> Self {
        match self.0.refresh_token {
            Some(_) => self.edit(|inner| inner.refresh_token = None),
            None => self,
        }
    }

    pub(crate) fn is_from_store(&self) -> bool {
        self.0.is_from_store
    }

    pub(crate) fn into_stored(self) -> Self {
        self.edit(|inner| inner.is_from_store = true)
    }

    pub(crate) fn all_extra(&self) -> Map<String, Value> {
        self.0.extra.values().collect()
    }

    pub(crate) fn with_all_extra(self, extra: Map<String, Value>) -> Self {
        let raw = |value| serde_json::value::to_raw_value(&value).ok();
        let members: Vec<_> =
            extra.into_iter().filter_map(|(name, value)| Some((name, raw(value)?))).collect();
        let members = members.iter().map(|(name, value)| (name.as_str(), &**value));
        self.with_members(members)
    }

    /// Sets the members of the response that this crate has no name for.
    pub(crate) fn with_members<'a>(
        self,
        members: impl IntoIterator<Item = (&'a str, &'a RawValue)>,
    ) -> Self {
        let extra = Extra::new(members);
        self.edit(|inner| inner.extra = extra)
    }

    fn edit(mut self, change: impl FnOnce(&mut TokenContents)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken")
            .field("secret", &"**redacted**")
            .field("lifetime", &self.0.lifetime)
            .finish_non_exhaustive()
    }
}
