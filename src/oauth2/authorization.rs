//! Inserts tokens and DPoP proofs into requests.

use http::header::AUTHORIZATION;
use http::{HeaderMap, Request};

use super::admission::is_tunnel;
use super::config::LayerConfig;
use crate::cache::IssuedToken;
use crate::error::{TokenError, TokenErrorKind};
use crate::protocol::dpop::{DPOP, Prover, SentProof};
use crate::protocol::origin::Origin;

impl LayerConfig {
    /// Inserts a token into a request without a snapshot.
    ///
    /// [`HeaderMap::insert`] is faster there when it is inlined. The compiler inlines it only while
    /// it has one caller, so call this function once.
    #[inline]
    pub(super) fn insert_token_inline(&self, headers: &mut HeaderMap, token: &IssuedToken) {
        match self.custom_header {
            None => drop(headers.insert(AUTHORIZATION, token.header().clone())),
            Some(_) => self.insert_token(headers, token),
        };
    }

    #[inline(never)]
    pub(super) fn insert_token(&self, headers: &mut HeaderMap, token: &IssuedToken) {
        match &self.custom_header {
            None => headers.insert(AUTHORIZATION, token.header().clone()),
            Some(custom) => headers.insert(custom.name(), custom.value(token)),
        };
    }

    /// Inserts a DPoP proof.
    #[cold]
    pub(super) fn insert_proof<B>(
        &self,
        prover: &Prover,
        request: &mut Request<B>,
    ) -> Result<SentProof, TokenError> {
        if is_tunnel((request.method(), request.uri())) {
            let note = "DPoP is not defined for a CONNECT request";
            return Err(TokenError::new(TokenErrorKind::Proof, note));
        }
        let origin = Origin::from_uri(request.uri()).or_else(|| self.origins.sole().cloned());
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
