//! Defines traits for requests with a proof of possession of a key (DPoP, RFC 9449).
//!
//! The implementations are in `jwt::dpop`, behind the feature `jwt`. Callers hold trait objects, so
//! that they need no conditional compilation and no second set of types.

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use tower::BoxError;

use crate::protocol::origin::Origin;
use crate::protocol::server_clock::{Offset, ServerClocks};
use crate::token::AccessToken;

/// The header field of a proof (RFC 9449 section 4.1).
pub(crate) const DPOP: HeaderName = HeaderName::from_static("dpop");

/// Binds access tokens to a key.
pub(crate) trait BindingKey: Send + Sync {
    /// Returns the SHA-256 thumbprint of the public key (RFC 7638).
    fn thumbprint(&self) -> String;

    /// Returns a prover for the requests that carry `token`.
    ///
    /// Its proofs use the offsets of `clocks`, and the responses correct these offsets.
    fn prover(&self, token: &AccessToken, clocks: &ServerClocks) -> Prover;

    /// Returns a proof for a token request (`POST`) that goes by the offset `clock`.
    fn prove_token_request(
        &self,
        uri: &Uri,
        origin: &Origin,
        clock: Offset,
    ) -> Result<(HeaderValue, SentProof), BoxError>;
}

/// Makes the proofs of the requests that carry one token.
pub(crate) trait Prove: fmt::Debug + Send + Sync {
    /// Returns a proof for one request to `origin`.
    ///
    /// The proof has the newest nonce of that server, and goes by its clock.
    fn prove(
        &self,
        method: &Method,
        uri: &Uri,
        origin: Origin,
    ) -> Result<(HeaderValue, SentProof), BoxError>;
}

/// Learns from the response to a request that carried a proof.
pub(crate) trait ClassifyProof: Send + Sync {
    /// Returns the server's verdict, and remembers the nonce of the response.
    ///
    /// After an API's response, it remembers the time too. After a token endpoint's response, the
    /// caller does so, because only a token shows that the time was correct. `error` is the error
    /// code in the body of a token endpoint's response. An API sends its error code in a challenge.
    fn classify(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        error: Option<&str>,
    ) -> ProofVerdict;
}

pub(crate) type Prover = Arc<dyn Prove>;

/// A proof that was sent.
pub(crate) type SentProof = Box<dyn ClassifyProof>;

/// Says whether a server accepted a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "jwt"),
    allow(dead_code, reason = "without the feature, requests have no proofs")
)]
pub(crate) enum ProofVerdict {
    /// The response does not complain about the proof, or the request had none.
    Accepted,
    /// The server rejected the proof, and may accept a new one.
    ///
    /// The response has a new nonce, or shows that a clock is off.
    RetryWithNewProof,
    /// The server rejected the proof, and a new one would be no better.
    Rejected,
}
