use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tower::BoxError;

use super::nonces::Nonces;
use super::proof;
use crate::error::ConfigError;
use crate::jwt::{self, Algorithm, SigningKey};
use crate::protocol::challenge;
use crate::protocol::dpop::{BindingKey, ClassifyProof, ProofVerdict, Prove, Prover, SentProof};
use crate::protocol::origin::Origin;
use crate::protocol::server_clock::{Offset, ServerClocks, SkewEstimate};
use crate::token::AccessToken;
use crate::util::clock::wall_clock;

/// Error codes of RFC 9449: section 8, and section 5.
const USE_NONCE: &str = "use_dpop_nonce";
const INVALID_PROOF: &str = "invalid_dpop_proof";

/// The error code of some token endpoints for a proof whose time they refuse.
///
/// Keycloak is one of them.
const INVALID_REQUEST: &str = "invalid_request";

/// Binds access tokens to a key (DPoP, RFC 9449).
///
/// Without the key, a bound token that leaks is useless. Pass the key to
/// [`Credentials::dpop`](crate::Credentials::dpop). Each token request and each request to an API
/// then carries its own proof, which is signed with this key. The key remembers the newest nonce of
/// each server. Clones share the nonces.
///
/// A proof is valid for one request. Put layers that resend requests, such as tower's retry layer,
/// outside the [`OAuth2Layer`](crate::OAuth2Layer). Inside it, they would send the same proof
/// again.
///
/// # Example
///
/// ```
/// use tower_oauth2::{ClientAuth, Credentials};
/// use tower_oauth2::jwt::DpopKey;
///
/// let credentials = Credentials::new(
///     "https://auth.example.com/token",
///     ClientAuth::client_secret_basic("client-id", "s3cr3t"),
/// )?
/// .dpop(DpopKey::generate()?);
/// # Ok::<(), tower_oauth2::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct DpopKey(Arc<KeyWithNonces>);

struct KeyWithNonces {
    key: SigningKey,
    /// The newest nonce of each server.
    nonces: Nonces,
}

impl DpopKey {
    /// Creates a key from an existing signing key.
    ///
    /// Processes that share tokens through a store need the same key.
    pub fn new(key: SigningKey) -> Self {
        Self(Arc::new(KeyWithNonces { key, nonces: Nonces::default() }))
    }

    /// Generates a key for `ES256`.
    ///
    /// Only this process knows it.
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
    #[doc(alias("jkt", "dpop_jkt", "RFC 7638"))]
    pub fn thumbprint(&self) -> String {
        self.0.key.thumbprint()
    }
}

impl BindingKey for DpopKey {
    fn thumbprint(&self) -> String {
        self.0.key.thumbprint()
    }

    fn prover(&self, token: &AccessToken, clocks: &ServerClocks) -> Prover {
        let ath = jwt::encode(Sha256::digest(token.secret()));
        Arc::new(TokenProver { key: self.clone(), ath, clocks: clocks.clone() })
    }

    fn prove_token_request(
        &self,
        uri: &Uri,
        origin: &Origin,
        clock: Offset,
    ) -> Result<(HeaderValue, SentProof), BoxError> {
        let nonce = self.0.nonces.get(origin);
        let claims = proof::Claims {
            method: &Method::POST,
            uri,
            origin,
            at: clock.apply(wall_clock()),
            nonce: nonce.as_deref(),
            ath: None,
        };
        let header = proof::make(&self.0.key, &claims)?;
        let sent = DpopProof {
            key: self.clone(),
            origin: origin.clone(),
            nonce,
            clock,
            sent_at: Instant::now(),
            clocks: None,
        };
        Ok((header, Box::new(sent)))
    }
}

impl fmt::Debug for DpopKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DpopKey").field("key", &self.0.key).finish_non_exhaustive()
    }
}

/// Makes the proofs of the requests that carry one token.
struct TokenProver {
    key: DpopKey,
    /// The hash of the token (RFC 9449 section 4.2).
    ath: String,
    clocks: ServerClocks,
}

impl Prove for TokenProver {
    fn prove(
        &self,
        method: &Method,
        uri: &Uri,
        origin: Origin,
    ) -> Result<(HeaderValue, SentProof), BoxError> {
        let KeyWithNonces { key, nonces } = &*self.key.0;
        let nonce = nonces.get(&origin);
        let clock = self.clocks.get(&origin);
        let claims = proof::Claims {
            method,
            uri,
            origin: &origin,
            at: clock.apply(wall_clock()),
            nonce: nonce.as_deref(),
            ath: Some(&self.ath),
        };
        let header = proof::make(key, &claims)?;
        let key = self.key.clone();
        let clocks = Some(self.clocks.clone());
        let sent = DpopProof { key, origin, nonce, clock, sent_at: Instant::now(), clocks };
        Ok((header, Box::new(sent)))
    }
}

impl fmt::Debug for TokenProver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prover").finish_non_exhaustive()
    }
}

/// A proof that was sent, and the data that it was made with.
struct DpopProof {
    key: DpopKey,
    origin: Origin,
    nonce: Option<Arc<str>>,
    clock: Offset,
    sent_at: Instant,
    /// `None` for a token request.
    ///
    /// Only the sender of the request knows whether it led to a token.
    clocks: Option<ServerClocks>,
}

impl DpopProof {
    /// Records the offset of the API's clock that a response shows.
    fn learn_time(
        &self,
        clocks: &ServerClocks,
        estimate: Option<SkewEstimate>,
        error: Option<&str>,
    ) {
        let contradiction = estimate.filter(|estimate| estimate.contradicts(self.clock));
        match (error, contradiction) {
            (Some(INVALID_PROOF), Some(estimate)) => clocks.try_out(&self.origin, estimate),
            // The offset in use did not help, so it is dropped.
            (Some(INVALID_PROOF), None) => clocks.refuse(&self.origin, self.clock, None),
            // The server requires a nonce, so it did not refuse the time.
            (Some(USE_NONCE), None) => {}
            _ => clocks.refuse(&self.origin, self.clock, estimate),
        }
    }
}

impl ClassifyProof for DpopProof {
    fn classify(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        error: Option<&str>,
    ) -> ProofVerdict {
        let nonces = &self.key.0.nonces;
        let has_new_nonce = nonces.learn(&self.origin, headers, self.nonce.as_deref());
        if !status.is_client_error() && !status.is_server_error() {
            if let Some(clocks) = self.clocks.as_ref().filter(|_| status.is_success()) {
                clocks.accept(&self.origin, self.clock);
            }
            return ProofVerdict::Accepted;
        }
        let challenged = challenge::dpop_error(headers);
        let error = error.or(challenged.as_deref()).filter(|_| status.is_client_error());
        let estimate = SkewEstimate::from_response(headers, wall_clock(), self.sent_at.elapsed());
        if let Some(clocks) = &self.clocks {
            self.learn_time(clocks, estimate, error);
        }
        match error {
            // The response to another request may have brought the new nonce.
            Some(USE_NONCE) if has_new_nonce || nonces.get(&self.origin) != self.nonce => {
                ProofVerdict::RetryWithNewProof
            }
            Some(USE_NONCE) => ProofVerdict::Rejected,
            Some(INVALID_REQUEST) if self.clocks.is_some() => ProofVerdict::Accepted,
            Some(INVALID_PROOF | INVALID_REQUEST)
                if estimate.is_some_and(|estimate| estimate.contradicts(self.clock)) =>
            {
                ProofVerdict::RetryWithNewProof
            }
            _ => ProofVerdict::Accepted,
        }
    }
}
