use std::fmt;

use zeroize::Zeroizing;

use crate::credentials::Credentials;
use crate::error::ConfigError;

/// RFC 8693 section 2.1
const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// Token exchange (RFC 8693): a token for another, so that a service can call further ones on behalf of its own
/// caller.
///
/// [`Credentials::token_exchange`] makes credentials of it that are this caller's only: in a
/// [`TokenCache`](crate::TokenCache), each subject token has a slot of its own, and in a [`TokenStore`](crate::store::TokenStore)
/// an entry of its own. Slots are bounded in number, and the least recently used go first
/// ([`TokenCacheBuilder::capacity`](crate::cache::TokenCacheBuilder::capacity)).
///
/// Nobody can see from here when a subject token ends, and the token that it is exchanged for may live longer. Check
/// your caller's token for each of its requests, before it is exchanged: a caller whose token has ended is then turned
/// away before the slot is reached, and one that comes with a new token gets a new slot. The old one is not asked
/// for again, and goes when room is needed; [`TokenCache::remove`](crate::TokenCache::remove) forgets it at once.
///
/// The kind of token that was issued is `extra("issued_token_type")` of the [`AccessToken`](crate::AccessToken). One
/// with the `token_type` `N_A` is no access token and can not be sent: that is
/// [`TokenErrorKind::UnsupportedTokenType`](crate::TokenErrorKind::UnsupportedTokenType).
///
/// Tokens are wiped from memory when they are dropped; `Debug` redacts them.
///
/// # Example
///
/// ```
/// use http::header::AUTHORIZATION;
/// use tower_oauth2::{ClientAuth, ConfigError, Credentials};
/// use tower_oauth2::grant::TokenExchange;
///
/// /// Whatever the caller sent as its Bearer token becomes the subject of the next call.
/// fn on_behalf_of<B>(
///     caller: &http::Request<B>,
///     own: &Credentials,
/// ) -> Result<Credentials, ConfigError> {
///     let header = caller.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
///     let token = header.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
///     let exchange = TokenExchange::new(token, TokenExchange::ACCESS_TOKEN)?;
///     Ok(own.clone().token_exchange(exchange))
/// }
///
/// let auth = ClientAuth::client_secret_basic("this-service", "s3cr3t");
/// let own = Credentials::new("https://auth.example.com/token", auth)?
///     .audience("https://further.example.com");
///
/// let caller = http::Request::get("/").header(AUTHORIZATION, "Bearer alfs").body(()).unwrap();
/// let mut onward = http::Request::get("https://further.example.com/things").body(()).unwrap();
/// onward.extensions_mut().insert(on_behalf_of(&caller, &own)?);
///
/// // Nobody is not somebody.
/// assert!(on_behalf_of(&http::Request::new(()), &own).is_err());
/// # Ok::<(), ConfigError>(())
/// ```
#[derive(Clone)]
pub struct TokenExchange {
    subject: Typed,
    actor: Option<Typed>,
    requested_token_type: String,
}

/// A token and what kind of token it is.
#[derive(Clone)]
struct Typed {
    token: Zeroizing<String>,
    token_type: String,
}

impl TokenExchange {
    /// An OAuth 2.0 access token (RFC 8693 section 3, as all of these).
    pub const ACCESS_TOKEN: &'static str = "urn:ietf:params:oauth:token-type:access_token";
    /// An OAuth 2.0 refresh token.
    pub const REFRESH_TOKEN: &'static str = "urn:ietf:params:oauth:token-type:refresh_token";
    /// An ID token of OpenID Connect.
    pub const ID_TOKEN: &'static str = "urn:ietf:params:oauth:token-type:id_token";
    /// An assertion of SAML 1.1, in base64url.
    pub const SAML1: &'static str = "urn:ietf:params:oauth:token-type:saml1";
    /// An assertion of SAML 2.0, in base64url.
    pub const SAML2: &'static str = "urn:ietf:params:oauth:token-type:saml2";
    /// A JWT of whatever use.
    pub const JWT: &'static str = "urn:ietf:params:oauth:token-type:jwt";

    /// Exchanges `subject_token`, which stands for those on whose behalf the request is made. Its type is one of the
    /// constants here, or another URI.
    ///
    /// # Errors
    ///
    /// A token or a type that is empty: an exchange without a subject may be taken for one on the client's own
    /// behalf.
    pub fn new(
        subject_token: impl Into<String>,
        subject_token_type: impl Into<String>,
    ) -> Result<Self, ConfigError> {
        let subject = Typed::new("subject token", subject_token.into(), subject_token_type.into())?;
        Ok(Self { subject, actor: None, requested_token_type: String::new() })
    }

    /// A token that stands for who acts on the subject's behalf.
    ///
    /// # Errors
    ///
    /// A token or a type that is empty: without it, the actor would go about as the subject itself.
    pub fn actor_token(
        mut self,
        actor_token: impl Into<String>,
        actor_token_type: impl Into<String>,
    ) -> Result<Self, ConfigError> {
        let actor = Typed::new("actor token", actor_token.into(), actor_token_type.into())?;
        self.actor = Some(actor);
        Ok(self)
    }

    /// What kind of token is wanted; the server decides unless set. Only what is issued as a Bearer token, or bound to a
    /// key where there is one, can be used.
    #[must_use]
    pub fn requested_token_type(mut self, requested_token_type: impl Into<String>) -> Self {
        self.requested_token_type = requested_token_type.into();
        self
    }
}

impl Typed {
    fn new(what: &'static str, token: String, token_type: String) -> Result<Self, ConfigError> {
        let typed = Self { token: Zeroizing::new(token), token_type };
        if typed.token.is_empty() {
            return Err(ConfigError::new(what, "is empty"));
        }
        if typed.token_type.is_empty() {
            return Err(ConfigError::new(what, "has no type"));
        }
        Ok(typed)
    }
}

impl Credentials {
    /// The same client, on behalf of whom `exchange` says (RFC 8693): credentials of their own for each subject, in the
    /// place of any exchange that was set before. [`audience`](Self::audience), [`resource`](Self::resource) and
    /// [`scope`](Self::scope) say what the new token is for.
    ///
    /// See [`TokenExchange`] for an example.
    #[must_use]
    pub fn token_exchange(self, exchange: TokenExchange) -> Self {
        let TokenExchange { subject, actor, requested_token_type } = exchange;
        let actor =
            actor.unwrap_or(Typed { token: Zeroizing::default(), token_type: String::new() });
        self.with_parameters([
            ("grant_type", Zeroizing::new(GRANT_TYPE.to_owned())),
            ("subject_token", subject.token),
            ("subject_token_type", Zeroizing::new(subject.token_type)),
            ("actor_token", actor.token),
            ("actor_token_type", Zeroizing::new(actor.token_type)),
            ("requested_token_type", Zeroizing::new(requested_token_type)),
        ])
    }
}

impl fmt::Debug for TokenExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not even the types, which a slip of the pen may have swapped with the tokens.
        f.debug_struct("TokenExchange").finish_non_exhaustive()
    }
}
