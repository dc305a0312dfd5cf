use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tower::BoxError;

use super::nonces::Nonces;
use super::{Opinion, proof};
use crate::challenge;
use crate::clock::wall_clock;
use crate::error::ConfigError;
use crate::jwt::{self, Algorithm, SigningKey};
use crate::origin::Origin;
use crate::server_clock::{Clocks, Offset, Reading};
use crate::token::AccessToken;

/// A key that tokens are bound to (DPoP, RFC 9449): without it, a token that leaks is of no use.
///
/// Given to [`ClientCredentials::dpop`](crate::ClientCredentials::dpop). From then on each token request and each request to
/// an API carries a proof of its own, made with this key. The newest nonce of each server and what its clock says are kept
/// here: clones share them.
///
/// No proof is good for two requests. What sends requests again, such as tower's retry layer, goes around the
/// [`OAuth2Layer`](crate::OAuth2Layer): within, it would send the same proof once more.
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
    /// Without its type: credentials are keys of maps, and this is what changes in them and is no part
    /// of what makes them equal.
    servers: Box<dyn Memory>,
}

/// What is known of servers.
#[derive(Default)]
struct Servers {
    nonces: Nonces,
    clocks: Clocks,
}

trait Memory: Send + Sync {
    fn get(&self) -> &Servers;
}

impl Memory for Servers {
    fn get(&self) -> &Servers {
        self
    }
}

impl DpopKey {
    /// A key that is kept elsewhere, so that processes that share tokens share it.
    pub fn new(key: SigningKey) -> Self {
        Self(Arc::new(Inner { key, servers: Box::<Servers>::default() }))
    }

    /// A new key for `ES256`, for this process alone.
    ///
    /// # Errors
    ///
    /// A system without randomness.
    pub fn generate() -> Result<Self, ConfigError> {
        SigningKey::generate(Algorithm::ES256).map(Self::new)
    }

    /// The SHA-256 thumbprint of the public key (RFC 7638), in base64url: what a token that is bound to it has in
    /// `cnf.jkt` (RFC 9449 section 6.1).
    pub fn thumbprint(&self) -> String {
        self.0.key.thumbprint()
    }

    /// What makes the proofs that go with `token`, or with token requests.
    pub(crate) fn prover(&self, token: Option<&AccessToken>) -> Prover {
        let ath = token.map(|token| jwt::encode(Sha256::digest(token.secret())).into());
        Prover { key: self.clone(), ath }
    }
}

impl fmt::Debug for DpopKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DpopKey").field("key", &self.0.key).finish_non_exhaustive()
    }
}

/// A key, and the token that it proves the possession of.
#[derive(Clone)]
pub(crate) struct Prover {
    key: DpopKey,
    ath: Option<Arc<str>>,
}

/// A proof that went out.
pub(crate) struct Sent {
    key: DpopKey,
    origin: Origin,
    nonce: Option<Arc<str>>,
    offset: Offset,
    at: Instant,
}

impl Prover {
    /// A proof for one request to `origin`, with the newest nonce.
    pub(crate) fn prove(
        &self,
        method: &Method,
        uri: &Uri,
        origin: Origin,
    ) -> Result<(HeaderValue, Sent), BoxError> {
        let Inner { key, servers } = &*self.key.0;
        let Servers { nonces, clocks } = servers.get();
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
        let proof = proof::make(key, &claims)?;
        Ok((proof, Sent { key: self.key.clone(), origin, nonce, offset, at: Instant::now() }))
    }
}

impl Sent {
    /// Learns from the response, whatever it is. `error` is what a token endpoint says in its body; an API says it in a
    /// challenge.
    pub(crate) fn judge(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        error: Option<&str>,
    ) -> Opinion {
        let Servers { nonces, clocks } = self.key.0.servers.get();
        let has_news = nonces.learn(&self.origin, headers, self.nonce.as_deref());
        if !status.is_client_error() {
            return Opinion::Fine;
        }
        let challenged = challenge::dpop_error(headers);
        match error.or(challenged.as_deref()) {
            // Another response may have brought it.
            Some("use_dpop_nonce") if has_news || nonces.get(&self.origin) != self.nonce => {
                Opinion::Another
            }
            Some("use_dpop_nonce") => Opinion::Hopeless,
            Some("invalid_dpop_proof") => {
                match Reading::of(headers, wall_clock(), self.at.elapsed()) {
                    Some(reading) if reading.contradicts(self.offset) => {
                        clocks.set(&self.origin, reading.offset());
                        Opinion::Another
                    }
                    // What was learned of the clock, if anything was, was no help.
                    _ => {
                        clocks.set(&self.origin, Offset::default());
                        Opinion::Fine
                    }
                }
            }
            _ => Opinion::Fine,
        }
    }
}

impl fmt::Debug for Prover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prover").finish_non_exhaustive()
    }
}

impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sent").field("origin", &self.origin).finish_non_exhaustive()
    }
}
