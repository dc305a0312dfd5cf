//! Holds the settings of a layer.

use std::fmt;
use std::sync::Arc;

use http::header::{AUTHORIZATION, PROXY_AUTHORIZATION};
use http::{Extensions, HeaderName};

use super::custom_header::CustomHeader;
use super::no_token_sent::WarnedOrigins;
use crate::cache::Tokens;
use crate::protocol::origins::Origins;
use crate::replay::{Recipient, ReplayPolicy};

/// The settings of a layer. All services that the layer makes share them.
#[derive(Clone)]
pub(super) struct LayerConfig {
    /// The tokens of requests that name none. `None` if each request has to name its tokens.
    pub(super) tokens: Option<Tokens>,
    pub(super) origins: Origins,
    pub(super) policy: ReplayPolicy,
    /// The form of the header that carries the token, if it is unusual.
    pub(super) custom_header: Option<Box<CustomHeader>>,
    /// Sends tokens over plain HTTP to hosts other than this one.
    pub(super) allow_http: bool,
    pub(super) warned_origins: Arc<WarnedOrigins>,
}

impl LayerConfig {
    pub(super) fn new(tokens: Option<Tokens>, origins: Origins) -> Self {
        let policy = ReplayPolicy::default();
        let warned_origins = Arc::default();
        Self { tokens, origins, policy, custom_header: None, allow_http: false, warned_origins }
    }

    /// Sets the policy, for the recipient of the layer's header.
    pub(super) fn set_policy(&mut self, policy: ReplayPolicy) {
        let recipient = if self.is_for_proxies() { Recipient::Proxy } else { Recipient::Api };
        self.policy = policy.for_recipient(recipient);
    }

    /// Returns whether the token is for the next proxy (RFC 9110 section 11.7.2).
    pub(super) fn is_for_proxies(&self) -> bool {
        self.custom_header.as_ref().is_some_and(|custom| *custom.name() == PROXY_AUTHORIZATION)
    }

    /// Returns the tokens that a request names, or those of the layer.
    #[inline]
    pub(super) fn tokens_for<'a>(&'a self, extensions: &'a Extensions) -> Option<&'a Tokens> {
        if extensions.is_empty() {
            return self.tokens.as_ref();
        }
        self.named_tokens(extensions).or(self.tokens.as_ref())
    }

    // Not inlined, because the lookup would slow down requests without extensions.
    #[inline(never)]
    fn named_tokens<'a>(&self, extensions: &'a Extensions) -> Option<&'a Tokens> {
        extensions.get()
    }
}

impl fmt::Debug for LayerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = self.custom_header.as_ref().map_or(&AUTHORIZATION, |custom| custom.name());
        let header: &HeaderName = header;
        f.debug_struct("LayerConfig")
            .field("tokens", &self.tokens)
            .field("origins", &self.origins)
            .field("policy", &self.policy)
            .field("header", header)
            .finish_non_exhaustive()
    }
}
