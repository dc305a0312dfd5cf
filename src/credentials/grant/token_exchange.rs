use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::{GrantParameter, TokenType};
use crate::secret::{Identity, Secret};

/// RFC 8693 section 2.1
pub(crate) const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// Requests a token in exchange for another one (token exchange, RFC 8693).
///
/// A service uses it to call other services on behalf of its own caller. In a
/// [`TokenCache`](crate::TokenCache), each subject token has its own slot, and in a
/// [`TokenStore`](crate::store::TokenStore) its own entry. The number of slots is bounded, and the
/// least recently used ones are removed first
/// ([`TokenCacheBuilder::capacity`](crate::cache::TokenCacheBuilder::capacity)).
///
/// This crate does not know when a subject token expires, and the token that is issued in exchange
/// may live longer. Check your caller's token for each of its requests before you exchange it. A
/// caller with a new token gets a new slot. The old slot is evicted when the cache is full.
/// [`TokenCache::remove`](crate::TokenCache::remove) forgets its token at once.
///
/// A subject token or actor token from a file or a function is read for each token request.
///
/// The type of the issued token is `extra("issued_token_type")` of the
/// [`AccessToken`](crate::AccessToken). A token with the `token_type` `N_A` is not an access token
/// and cannot be sent to an API. The token request then fails with
/// [`TokenErrorKind::UnsupportedTokenType`](crate::TokenErrorKind::UnsupportedTokenType).
///
/// Tokens are wiped from memory when they are dropped. `Debug` redacts them.
///
/// # Example
///
/// ```
/// use http::header::AUTHORIZATION;
/// use tower_oauth2::{ClientAuth, ConfigError, Credentials};
/// use tower_oauth2::grant::{TokenExchange, TokenType};
///
/// /// Exchanges the Bearer token of the caller.
/// fn on_behalf_of<B>(caller: &http::Request<B>, own: &Credentials) -> Option<Credentials> {
///     let header = caller.headers().get(AUTHORIZATION)?.to_str().ok()?;
///     let token = header.strip_prefix("Bearer ")?;
///     Some(own.clone().grant(TokenExchange::new(token, TokenType::ACCESS_TOKEN)))
/// }
///
/// let auth = ClientAuth::client_secret_basic("this-service", "s3cr3t");
/// let own = Credentials::new("https://auth.example.com/token", auth)?
///     .audience("https://api.example.com");
///
/// let caller = http::Request::get("/").header(AUTHORIZATION, "Bearer alices").body(()).unwrap();
/// assert!(on_behalf_of(&caller, &own).is_some());
/// # Ok::<(), ConfigError>(())
/// ```
#[derive(Clone)]
pub struct TokenExchange {
    subject: TokenWithType,
    actor: Option<TokenWithType>,
    requested_token_type: Option<TokenType>,
}

/// A token and its type.
#[derive(Clone)]
struct TokenWithType {
    token: Secret,
    token_type: TokenType,
}

impl TokenExchange {
    /// Creates an exchange of the token `subject_token`.
    ///
    /// The subject token represents the party on whose behalf the request is made. With an empty
    /// token or type, token requests fail before anything is sent, because a server may take an
    /// exchange without a subject for a request on the client's own behalf. They also fail with a
    /// token that ends in a line break.
    pub fn new(subject_token: impl Into<Secret>, token_type: impl Into<TokenType>) -> Self {
        let subject = TokenWithType::new(subject_token.into(), token_type.into());
        Self { subject, actor: None, requested_token_type: None }
    }

    /// Sets the actor token, which represents the party that acts for the subject.
    ///
    /// With an empty token or type, token requests fail before anything is sent.
    #[must_use]
    pub fn actor(
        mut self,
        actor_token: impl Into<Secret>,
        token_type: impl Into<TokenType>,
    ) -> Self {
        self.actor = Some(TokenWithType::new(actor_token.into(), token_type.into()));
        self
    }

    /// Sets the type of the requested token, which the server chooses by default.
    ///
    /// An API can be called only with a token that is issued as a Bearer token, or as one that is
    /// bound to the [DPoP key](crate::Credentials::dpop) of the credentials.
    #[must_use]
    pub fn requested_token_type(mut self, token_type: impl Into<TokenType>) -> Self {
        self.requested_token_type = Some(token_type.into());
        self
    }

    pub(super) fn add_parameters<'a>(&'a self, all: &mut Vec<(&'static str, GrantParameter<'a>)>) {
        self.subject.add_parameters(all, ["subject_token", "subject_token_type", "subject token"]);
        if let Some(actor) = &self.actor {
            actor.add_parameters(all, ["actor_token", "actor_token_type", "actor token"]);
        }
        if let Some(token_type) = self.requested_token_type.as_ref().map(TokenType::as_str) {
            all.push(("requested_token_type", GrantParameter::Text(token_type)));
        }
    }

    pub(super) fn identify(&self, identity: &mut Identity) {
        identity.nested(|identity| self.subject.identify(identity));
        identity.nested(|identity| {
            if let Some(actor) = &self.actor {
                actor.identify(identity);
            }
        });
        identity.part(self.requested_token_type.as_ref().map_or("", TokenType::as_str));
    }

    pub(super) fn version(&self) -> u64 {
        let subject = self.subject.token.current_version();
        match &self.actor {
            None => subject,
            Some(actor) => {
                let mut both = DefaultHasher::new();
                (subject, actor.token.current_version()).hash(&mut both);
                both.finish()
            }
        }
    }
}

impl TokenWithType {
    fn new(token: Secret, token_type: TokenType) -> Self {
        Self { token, token_type }
    }

    /// Adds the token and its type under their names. The third name is for errors.
    fn add_parameters<'a>(
        &'a self,
        all: &mut Vec<(&'static str, GrantParameter<'a>)>,
        [token, token_type, name]: [&'static str; 3],
    ) {
        all.push((token, GrantParameter::Secret(&self.token, name)));
        all.push((token_type, GrantParameter::TokenType(self.token_type.as_str(), name)));
    }

    fn identify(&self, identity: &mut Identity) {
        identity.secret(&self.token).part(self.token_type.as_str());
    }
}

impl fmt::Debug for TokenExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The types are not shown, because a caller may have swapped a type with its token.
        f.debug_struct("TokenExchange").finish_non_exhaustive()
    }
}
