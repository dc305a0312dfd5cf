use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tower::BoxError;

use super::Algorithm;
use crate::secret::Identity;

/// Signs JWTs with a private key.
///
/// The key may be a [`SigningKey`](super::SigningKey) in memory, or a key that never leaves a KMS
/// or an HSM.
///
/// # Example
///
/// A key management service. Here it is in the same process:
///
/// ```
/// use tower::BoxError;
/// use tower_oauth2::ClientAuth;
/// use tower_oauth2::client_auth::Identity;
/// use tower_oauth2::jwt::{Algorithm, Signer, SigningKey};
///
/// struct Kms {
///     key_id: String,
///     # key: SigningKey,
/// }
///
/// # impl Kms {
/// #     async fn request_signature(&self, message: &[u8]) -> Result<Vec<u8>, BoxError> {
/// #         self.key.sign(message).await
/// #     }
/// # }
/// impl Signer for Kms {
///     fn algorithm(&self) -> Algorithm {
///         Algorithm::ES256
///     }
///
///     fn kid(&self) -> Option<&str> {
///         Some(&self.key_id)
///     }
///
///     fn identify(&self, identity: &mut Identity) {
///         identity.part(&self.key_id);
///     }
///
///     async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, BoxError> {
///         self.request_signature(message).await
///     }
/// }
///
/// fn auth(kms: Kms) -> ClientAuth {
///     ClientAuth::private_key_jwt("client-id", kms)
/// }
/// ```
pub trait Signer: Send + Sync + 'static {
    /// Returns the algorithm of the signatures.
    fn algorithm(&self) -> Algorithm;

    /// Returns the name under which the server knows the key (`kid`, RFC 7515 section 4.1.4).
    fn kid(&self) -> Option<&str> {
        None
    }

    /// Adds the data that distinguishes this key from others.
    ///
    /// Examples are its name and its public part. The algorithm and the `kid` are added without it.
    fn identify(&self, identity: &mut Identity);

    /// Returns a different number whenever the key has changed and its identity has not.
    ///
    /// See [`ClientAuthentication::version`](crate::client_auth::ClientAuthentication::version).
    fn version(&self) -> u64 {
        0
    }

    /// Signs `message`, which is not hashed yet.
    ///
    /// A signature of `ES256`, `ES384` or `ES512` is the integers R and S of 32, 48 or 66 bytes
    /// each (RFC 7518 section 3.4), and not their DER form, which many services return.
    ///
    /// # Errors
    ///
    /// An error ends the attempt that needed the signature, and counts as transient. Keep secrets
    /// out of its text.
    fn sign(&self, message: &[u8]) -> impl Future<Output = Result<Vec<u8>, BoxError>> + Send;
}

impl<S: Signer> Signer for Arc<S> {
    fn algorithm(&self) -> Algorithm {
        S::algorithm(self)
    }

    fn kid(&self) -> Option<&str> {
        S::kid(self)
    }

    fn identify(&self, identity: &mut Identity) {
        S::identify(self, identity);
    }

    fn version(&self) -> u64 {
        S::version(self)
    }

    async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, BoxError> {
        S::sign(self, message).await
    }
}

/// Makes a trait object of a [`Signer`], without its own future type.
pub(crate) trait DynSigner: Send + Sync {
    fn algorithm(&self) -> Algorithm;
    fn kid(&self) -> Option<&str>;
    fn identify(&self, identity: &mut Identity);
    fn version(&self) -> u64;
    fn sign<'a>(&'a self, message: &'a [u8]) -> SignFuture<'a>;
}

pub(crate) type SignFuture<'a> =
    Pin<Box<dyn Future<Output = Result<Vec<u8>, BoxError>> + Send + 'a>>;

impl<S: Signer> DynSigner for S {
    fn algorithm(&self) -> Algorithm {
        Signer::algorithm(self)
    }

    fn kid(&self) -> Option<&str> {
        Signer::kid(self)
    }

    fn identify(&self, identity: &mut Identity) {
        Signer::identify(self, identity);
    }

    fn version(&self) -> u64 {
        Signer::version(self)
    }

    fn sign<'a>(&'a self, message: &'a [u8]) -> SignFuture<'a> {
        Box::pin(Signer::sign(self, message))
    }
}
