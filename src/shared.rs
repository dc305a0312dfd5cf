//! What a layer and all that it made have in common, and what they do with each request.

use std::fmt;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Request, Uri};

use crate::cache::{AtHand, Hit, TokenCache};
use crate::credentials::ClientCredentials;
use crate::dpop::{DPOP, Prover, SentProof};
use crate::error::{TokenError, TokenErrorKind};
use crate::origin::{Origin, Origins, UriClass};
use crate::replay::{Breaker, ReplayPolicy};

/// Put into a request's [extensions](http::Request::extensions), it lets the request through as it
/// is: without a token, and without a replay.
///
/// A layer outside that sends requests of its own decides whether extensions go along: tower-http's
/// `FollowRedirect` drops them when a redirect leads to another origin, and such a request is sent
/// the cache's own token if that origin is among the layer's.
///
/// # Example
///
/// ```
/// use tower_oauth2::NoToken;
///
/// let mut request = http::Request::get("https://api.example.com/health").body(())?;
/// request.extensions_mut().insert(NoToken);
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_structs, reason = "a unit struct is there to be written out")]
pub struct NoToken;

/// What a layer and all that it made have in common.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) tokens: TokenCache,
    pub(crate) origins: Origins,
    /// What the cache's own credentials leave of them.
    narrower: Option<Origins>,
    pub(crate) policy: ReplayPolicy,
    /// Other than `Authorization`.
    pub(crate) header: Option<HeaderName>,
    pub(crate) allow_http: bool,
    pub(crate) breaker: Arc<Breaker>,
}

impl Shared {
    pub(crate) fn new(tokens: TokenCache, origins: Origins) -> Self {
        Self {
            narrower: tokens.credentials().allowed_origins().cloned(),
            tokens,
            origins,
            policy: ReplayPolicy::default(),
            header: None,
            allow_http: false,
            breaker: Arc::default(),
        }
    }

    /// The hit: a request that is to have a token, and a token that is there.
    #[inline]
    pub(crate) fn grant_at_once<'a, B>(
        &self,
        request: &Request<B>,
        at_hand: &'a mut AtHand,
    ) -> Option<Hit<'a>> {
        let (uri, extensions) = (request.uri(), request.extensions());
        if !extensions.is_empty() {
            return self.grant_as_extensions_say(uri, extensions, at_hand);
        }
        match self.classify(uri, None) {
            UriClass::Secure => self.tokens.peek(at_hand),
            UriClass::NotListed | UriClass::Insecure => None,
        }
    }

    /// Not inlined: most of its work are look-ups, and it would crowd the way of all others.
    #[inline(never)]
    fn grant_as_extensions_say<'a>(
        &self,
        uri: &Uri,
        extensions: &Extensions,
        at_hand: &'a mut AtHand,
    ) -> Option<Hit<'a>> {
        if extensions.get::<NoToken>().is_some() {
            return None;
        }
        let named = extensions.get();
        match (self.classify(uri, named), named) {
            (UriClass::Secure, Some(named)) => self.tokens.peek_for(named),
            (UriClass::Secure, None) => self.tokens.peek(at_hand),
            (UriClass::NotListed | UriClass::Insecure, _) => None,
        }
    }

    /// Whether a request to `uri` is sent a token for `credentials`.
    #[inline]
    pub(crate) fn classify(&self, uri: &Uri, credentials: Option<&ClientCredentials>) -> UriClass {
        let verdict = match self.origins.classify(uri) {
            UriClass::Insecure if self.allow_http => UriClass::Secure,
            verdict => verdict,
        };
        let narrower = match credentials {
            None => self.narrower.as_ref(),
            Some(credentials) => credentials.allowed_origins(),
        };
        match narrower {
            Some(narrower) if !narrower.contains(uri) => UriClass::NotListed,
            _ => verdict,
        }
    }

    /// As [`decorate`](Self::decorate), but inlined: worth it where nothing is cloned. It is so
    /// while there is one call of it only, since nobody inlines `HeaderMap::insert` twice.
    #[inline]
    pub(crate) fn decorate_inline(&self, headers: &mut HeaderMap, token: &HeaderValue) {
        match self.header {
            None => drop(headers.insert(AUTHORIZATION, token.clone())),
            Some(_) => self.decorate(headers, token),
        };
    }

    #[inline(never)]
    pub(crate) fn decorate(&self, headers: &mut HeaderMap, token: &HeaderValue) {
        match &self.header {
            None => headers.insert(AUTHORIZATION, token.clone()),
            Some(name) => headers.insert(name, token.clone()),
        };
    }

    /// Puts a proof of possession into a request.
    #[cold]
    pub(crate) fn prove<B>(
        &self,
        prover: &Prover,
        request: &mut Request<B>,
    ) -> Result<SentProof, TokenError> {
        let origin = Origin::of(request.uri()).or_else(|| self.origins.sole().cloned());
        let origin = origin.ok_or_else(|| {
            TokenError::new(
                TokenErrorKind::Proof,
                "the request names no host, and the layer's origins are not just one",
            )
        })?;
        let (proof, sent) = prover
            .prove(request.method(), request.uri(), origin)
            .map_err(|error| TokenError::with_source(TokenErrorKind::Proof, error))?;
        request.headers_mut().insert(DPOP, proof);
        Ok(sent)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("tokens", &self.tokens)
            .field("origins", &self.origins)
            .field("policy", &self.policy)
            .field("header", self.header.as_ref().unwrap_or(&AUTHORIZATION))
            .finish_non_exhaustive()
    }
}
