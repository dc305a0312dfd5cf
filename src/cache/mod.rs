//! Caches tokens, and lets all callers that miss share one token request.
//!
//! - [`Tokens`] is the handle to the tokens of one set of credentials. [`CachedToken`] is one
//!   token.
//! - [`TokenCache`] keeps tokens for many credentials. [`TokenCacheBuilder`] has its settings, such
//!   as the times of renewals.
//! - [`TokenStatus`] is for health checks, and [`TokenChanges`] for connections whose password is a
//!   token.
//!
//! The guide explains [how a token is renewed](crate::guide::renewal).

mod breaker;
mod builder;
mod cached_token;
mod changes;
mod claims;
mod fetch;
mod fetcher;
mod fixed;
mod issued;
mod keep_warm;
mod machine;
mod schedule;
mod slot;
mod slot_handle;
mod slots;
pub(crate) mod source;
mod status;
mod sweeper;
mod tokens;
mod tokens_as_secret;
mod warnings;

use std::fmt;
use std::sync::Arc;

pub(crate) use self::breaker::{SendNumber, Target};
pub use self::builder::TokenCacheBuilder;
pub use self::changes::TokenChanges;
pub(crate) use self::claims::Claims;
pub(crate) use self::issued::{IssueId, IssuedToken, LocalToken, Sequence, TokenRef};
pub(crate) use self::machine::{Rejection, RejectionOutcome, Requirements, Suspicions};
use self::slots::Slots;
use self::source::TokenSource;
pub use self::status::TokenStatus;
use crate::credentials::Credentials;

// Rustdoc's search finds an alias at a `pub use`, and not at a definition in a private module.
#[doc(alias = "bearer")]
pub use self::cached_token::CachedToken;
#[doc(alias("token cache", "token source", "single flight", "singleflight"))]
#[doc(alias("thundering herd", "stampede", "refresh", "renew"))]
#[doc(alias("static token", "token provider"))]
pub use self::tokens::Tokens;

/// Caches access tokens, one for each set of [`Credentials`], over a source of tokens.
///
/// [`tokens`](Self::tokens) returns a handle to the tokens of one set of credentials. For a single
/// set, use [`Tokens::new`]. Clones share everything.
///
/// # Example
///
/// ```
/// use tower::service_fn;
/// use tower_oauth2::{AccessToken, ClientAuth, Credentials, TokenCache, TokenRequest};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // A `TokenEndpoint` in production:
/// let source = service_fn(|_: TokenRequest| async { AccessToken::new("t") });
/// let cache = TokenCache::new(source);
///
/// let tenant = |name: &str| {
///     let auth = ClientAuth::client_secret_basic(name, "s3cr3t");
///     Credentials::new("https://auth.example.com/token", auth)
/// };
/// let alf = cache.tokens(&tenant("alf")?);
/// assert_eq!(alf.get().await?.secret(), "t");
/// assert_eq!(cache.len(), 1);
/// # Ok(())
/// # }
/// ```
#[doc(alias("token cache", "cache", "token manager", "multi-tenant"))]
#[doc(alias("tenant", "single flight", "thundering herd", "stampede"))]
#[derive(Clone)]
pub struct TokenCache {
    slots: Arc<Slots>,
}

impl TokenCache {
    /// Creates a cache over `source`, with default settings.
    pub fn new(source: impl TokenSource) -> Self {
        Self::builder(source).build()
    }

    /// Creates a builder of a cache over `source`.
    pub fn builder(source: impl TokenSource) -> TokenCacheBuilder {
        TokenCacheBuilder::new(source)
    }

    fn from_slots(slots: Arc<Slots>) -> Self {
        Self { slots }
    }

    /// Returns a handle to the tokens of `credentials`, without fetching one.
    ///
    /// A *slot* is the part of the cache that belongs to one set of credentials. Handles for equal
    /// credentials share one slot. The first handle creates it.
    pub fn tokens(&self, credentials: &Credentials) -> Tokens {
        Tokens::in_slot(self.slots.get_or_insert(credentials))
    }

    /// Returns handles to all slots of the cache, for example for a status page.
    ///
    /// Their order is arbitrary.
    pub fn all(&self) -> Vec<Tokens> {
        self.slots.all().into_iter().map(Tokens::in_slot).collect()
    }

    /// Forgets the token, the failures and the back-off of `credentials`.
    ///
    /// Handles remain valid and keep their label, and their next caller requests a token from the
    /// source. A source with a token store returns the stored token again;
    /// [reject](CachedToken::reject) it to get another one. Callers that are waiting for a token
    /// get one. The result of a token request that is running is not kept.
    #[doc(alias("invalidate", "evict", "logout"))]
    pub fn remove(&self, credentials: &Credentials) {
        // Dropping a slot that no handle holds forgets everything too.
        if self.slots.remove(credentials).is_none() {
            if let Some(slot) = self.slots.find(credentials) {
                slot.forget();
            }
        }
    }

    /// Returns how many sets of credentials have a slot in the cache.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Returns whether the cache has no slot.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache").field("len", &self.len()).finish_non_exhaustive()
    }
}
