use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tower::BoxError;

use super::Algorithm;

/// Signs with a private key, wherever that is: a [`SigningKey`](super::SigningKey) in memory, or a key
/// in a KMS or an HSM that never leaves it.
///
/// # Example
///
/// A key management service, here one in the same process:
///
/// ```
/// use tower::BoxError;
/// use tower_oauth2::ClientAuth;
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
///     fn identity(&self) -> Vec<u8> {
///         self.key_id.clone().into_bytes()
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
    /// What it signs with.
    fn algorithm(&self) -> Algorithm;

    /// The name under which the server knows the key (`kid`, RFC 7515 section 4.1.4).
    fn kid(&self) -> Option<&str> {
        None
    }

    /// What makes this key another one than others: the name of a key, or its public part. Nothing
    /// secret.
    fn identity(&self) -> Vec<u8>;

    /// Another number whenever the key is another one under the same identity; see
    /// [`ClientAuthentication::version`](crate::client_auth::ClientAuthentication::version).
    fn version(&self) -> u64 {
        0
    }

    /// The signature over `message`, which is not hashed yet. Those of `ES256` and `ES384` are the
    /// two integers R and S, 32 or 48 bytes each (RFC 7518 section 3.4), and not their DER form, which many services
    /// return.
    ///
    /// # Errors
    ///
    /// Any failure ends the attempt for which a signature was wanted, and counts as one that may well
    /// pass. Keep secrets out of its text.
    fn sign(&self, message: &[u8]) -> impl Future<Output = Result<Vec<u8>, BoxError>> + Send;
}

impl<S: Signer> Signer for Arc<S> {
    fn algorithm(&self) -> Algorithm {
        S::algorithm(self)
    }

    fn kid(&self) -> Option<&str> {
        S::kid(self)
    }

    fn identity(&self) -> Vec<u8> {
        S::identity(self)
    }

    fn version(&self) -> u64 {
        S::version(self)
    }

    async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, BoxError> {
        S::sign(self, message).await
    }
}

/// [`Signer`] without its own future type, so that it can be shared.
pub(crate) trait Erased: Send + Sync {
    fn algorithm(&self) -> Algorithm;
    fn kid(&self) -> Option<&str>;
    fn identity(&self) -> Vec<u8>;
    fn version(&self) -> u64;
    fn sign<'a>(&'a self, message: &'a [u8]) -> Signature<'a>;
}

pub(crate) type Signature<'a> =
    Pin<Box<dyn Future<Output = Result<Vec<u8>, BoxError>> + Send + 'a>>;

impl<S: Signer> Erased for S {
    fn algorithm(&self) -> Algorithm {
        Signer::algorithm(self)
    }

    fn kid(&self) -> Option<&str> {
        Signer::kid(self)
    }

    fn identity(&self) -> Vec<u8> {
        Signer::identity(self)
    }

    fn version(&self) -> u64 {
        Signer::version(self)
    }

    fn sign<'a>(&'a self, message: &'a [u8]) -> Signature<'a> {
        Box::pin(Signer::sign(self, message))
    }
}
