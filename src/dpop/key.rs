use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tower::BoxError;

use super::nonces::Nonces;
use super::{BindingKey, ClassifyProof, ProofVerdict, Prove, Prover, SentProof, proof};
use crate::challenge;
use crate::clock::wall_clock;
use crate::error::ConfigError;
use crate::jwt::{self, Algorithm, SigningKey};
use crate::origin::Origin;
use crate::server_clock::{Clocks, Offset, Reading};
use crate::token::AccessToken;

/// A key that access tokens are bound to (DPoP, RFC 9449).
///
/// A bound token that leaks is of no use without the key. Pass the key to
/// [`ClientCredentials::dpop`](crate::ClientCredentials::dpop). Each token request and each request
/// to an API then carries its own proof, which is made with this key. The key remembers the newest
/// nonce and the clock offset of each server. Clones share them.
///
/// A proof is valid for one request. Put layers that resend requests, such as tower's retry layer,
/// outside the [`OAuth2Layer`](crate::OAuth2Layer). Inside it, they would send the same proof again.
///
/// # Example
///
/// ```
/// use tower_oauth2::{ClientAuth, ClientCredentials, DpopKey};
///
/// let credentials = ClientCredentials::new(
///     "https://auth.example.com/token",
///     ClientAuth::client_secret_basic("client-id", "s3cr3t"),
/// )?
/// .dpop(DpopKey::generate()?);
/// # Ok::<(), tower_oauth2::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct DpopKey(Arc<Inner>);

struct Inner {
    key: SigningKey,
    /// The newest nonce of each server.
    nonces: Nonces,
    /// The offset of each server's clock.
    clocks: Clocks,
}

impl DpopKey {
    /// Creates a key from an existing signing key.
    ///
    /// Processes that share tokens through a store need the same key.
    pub fn new(key: SigningKey) -> Self {
        Self(Arc::new(Inner { key, nonces: Nonces::default(), clocks: Clocks::default() }))
    }

    /// Generates a key for `ES256`, which only this process knows.
    ///
    /// # Errors
    ///
    /// Returns an error if the system has no source of randomness.
    pub fn generate() -> Result<Self, ConfigError> {
        SigningKey::generate(Algorithm::ES256).map(Self::new)
    }

    /// Returns the SHA-256 thumbprint of the public key (RFC 7638) in base64url.
    ///
    /// Tokens that are bound to this key have it in `cnf.jkt` (RFC 9449 section 6.1).
    pub fn thumbprint(&self) -> String {
        self.0.key.thumbprint()
    }
}

impl BindingKey for DpopKey {
    fn thumbprint(&self) -> String {
        self.0.key.thumbprint()
    }

    fn prover(&self, token: Option<&AccessToken>) -> Prover {
        let ath = token.map(|token| jwt::encode(Sha256::digest(token.secret())));
        Arc::new(TokenProver { key: self.clone(), ath })
    }
}

impl fmt::Debug for DpopKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DpopKey").field("key", &self.0.key).finish_non_exhaustive()
    }
}

/// Makes the proofs of the requests that carry one token, or of token requests.
struct TokenProver {
    key: DpopKey,
    /// The hash of the token (RFC 9449 section 4.2). `None` for token requests.
    ath: Option<String>,
}

impl Prove for TokenProver {
    fn prove(
        &self,
        method: &Method,
        uri: &Uri,
        origin: Origin,
    ) -> Result<(HeaderValue, SentProof), BoxError> {
        let Inner { key, nonces, clocks } = &*self.key.0;
        let nonce = nonces.get(&origin);
        let offset = clocks.get(&origin);
        let claims = proof::Claims {
            method,
            uri,
            origin: &origin,
            at: offset.apply(wall_clock()),
            nonce: nonce.as_deref(),
            ath: self.ath.as_deref(),
        };
        let header = proof::make(key, &claims)?;
        let key = self.key.clone();
        let sent = DpopProof { key, origin, nonce, offset, sent_at: Instant::now() };
        Ok((header, Box::new(sent)))
    }
}

/// A proof that was sent, and what it was made with.
struct DpopProof {
    key: DpopKey,
    origin: Origin,
    nonce: Option<Arc<str>>,
    offset: Offset,
    sent_at: Instant,
}

impl ClassifyProof for DpopProof {
    fn classify(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        error: Option<&str>,
    ) -> ProofVerdict {
        let Inner { nonces, clocks, .. } = &*self.key.0;
        let has_new_nonce = nonces.learn(&self.origin, headers, self.nonce.as_deref());
        if !status.is_client_error() {
            return ProofVerdict::Accepted;
        }
        let challenged = challenge::dpop_error(headers);
        match error.or(challenged.as_deref()) {
            // The response to another request may have brought the new nonce.
            Some("use_dpop_nonce") if has_new_nonce || nonces.get(&self.origin) != self.nonce => {
                ProofVerdict::RetryWithNewProof
            }
            Some("use_dpop_nonce") => ProofVerdict::Rejected,
            Some("invalid_dpop_proof") => {
                match Reading::of(headers, wall_clock(), self.sent_at.elapsed()) {
                    Some(reading) if reading.contradicts(self.offset) => {
                        clocks.set(&self.origin, reading.offset());
                        ProofVerdict::RetryWithNewProof
                    }
                    // The offset that was in use did not help, so it is dropped.
                    _ => {
                        clocks.set(&self.origin, Offset::default());
                        ProofVerdict::Accepted
                    }
                }
            }
            _ => ProofVerdict::Accepted,
        }
    }
}

impl fmt::Debug for TokenProver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prover").finish_non_exhaustive()
    }
}
