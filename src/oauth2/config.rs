//! The settings of a layer.

use std::fmt;

use http::HeaderName;
use http::header::AUTHORIZATION;

use crate::cache::TokenCache;
use crate::protocol::origins::Origins;
use crate::replay::ReplayPolicy;

/// The settings of a layer. All services that the layer makes share them.
#[derive(Clone)]
pub(super) struct LayerConfig {
    pub(super) tokens: TokenCache,
    pub(super) origins: Origins,
    /// The origins that the cache's own credentials allow. `None` allows all of `origins`.
    pub(super) credential_origins: Option<Origins>,
    pub(super) policy: ReplayPolicy,
    /// The header that carries the token. `None` is `Authorization`.
    pub(super) header: Option<HeaderName>,
    /// Sends tokens over plain HTTP to hosts other than this one.
    pub(super) allow_http: bool,
}

impl LayerConfig {
    pub(super) fn new(tokens: TokenCache, origins: Origins) -> Self {
        Self {
            credential_origins: tokens.credentials().allowed_origins().cloned(),
            tokens,
            origins,
            policy: ReplayPolicy::default(),
            header: None,
            allow_http: false,
        }
    }
}

impl fmt::Debug for LayerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LayerConfig")
            .field("tokens", &self.tokens)
            .field("origins", &self.origins)
            .field("policy", &self.policy)
            .field("header", self.header.as_ref().unwrap_or(&AUTHORIZATION))
            .finish_non_exhaustive()
    }
}
