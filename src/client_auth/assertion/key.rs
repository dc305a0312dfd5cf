use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};
use tokio::time::Instant;
use tower::BoxError;
use zeroize::Zeroizing;

use crate::jwt::{self, Erased, KeyFile, Signer};
use crate::secret::in_time;

/// What [`PrivateKeyJwt`](crate::client_auth::PrivateKeyJwt) and [`JwtBearer`](crate::grant::JwtBearer) sign with: made from any
/// [`Signer`], or from a [`KeyFile`].
///
/// # Example
///
/// A function that takes whatever can sign:
///
/// ```
/// use tower_oauth2::ClientAuth;
/// use tower_oauth2::client_auth::AssertionKey;
/// use tower_oauth2::jwt::KeyFile;
///
/// fn auth(key: impl Into<AssertionKey>) -> ClientAuth {
///     ClientAuth::private_key_jwt("client-id", key)
/// }
///
/// let auth = auth(KeyFile::new("/run/secrets/key.pem"));
/// # let _ = auth;
/// ```
#[derive(Clone)]
pub struct AssertionKey(Source);

#[derive(Clone)]
enum Source {
    Signer(Arc<dyn Erased>),
    File(KeyFile),
}

impl AssertionKey {
    /// What kind of source, algorithm, `kid`, and what the source says of itself.
    pub(crate) fn identity(&self) -> [Vec<u8>; 4] {
        match &self.0 {
            Source::Signer(signer) => [
                b"signer".to_vec(),
                signer.algorithm().to_string().into(),
                signer.kid().unwrap_or_default().into(),
                signer.identity(),
            ],
            Source::File(file) => [
                b"file".to_vec(),
                file.name_of_algorithm().into(),
                file.choice_of_kid(),
                file.identity(),
            ],
        }
    }

    /// Another number whenever the key is another one.
    pub(crate) fn version(&self) -> u64 {
        match &self.0 {
            Source::Signer(signer) => signer.version(),
            Source::File(file) => file.version(),
        }
    }

    /// Signs a JWT with the current key. Fails with [`Late`](crate::secret::Late) at the deadline.
    pub(crate) async fn sign(
        &self,
        header: Map<String, Value>,
        claims: Map<String, Value>,
        deadline: Option<Instant>,
    ) -> Result<Zeroizing<String>, BoxError> {
        in_time(deadline, self, self.sign_without_deadline(header, claims)).await
    }

    async fn sign_without_deadline(
        &self,
        mut header: Map<String, Value>,
        claims: Map<String, Value>,
    ) -> Result<Zeroizing<String>, BoxError> {
        let read;
        let signer: &dyn Erased = match &self.0 {
            Source::Signer(signer) => &**signer,
            Source::File(file) => {
                read = file.read().await?;
                &read
            }
        };
        if let Some(kid) = signer.kid() {
            header.insert("kid".to_owned(), kid.into());
        }
        jwt::sign(signer, header, &Value::Object(claims)).await
    }
}

impl<S: Signer> From<S> for AssertionKey {
    fn from(signer: S) -> Self {
        Self(Source::Signer(Arc::new(signer)))
    }
}

impl From<KeyFile> for AssertionKey {
    fn from(file: KeyFile) -> Self {
        Self(Source::File(file))
    }
}

impl fmt::Debug for AssertionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Signer(signer) => f
                .debug_struct("AssertionKey")
                .field("algorithm", &signer.algorithm())
                .field("kid", &signer.kid())
                .finish_non_exhaustive(),
            Source::File(file) => file.fmt(f),
        }
    }
}

/// What the header of every assertion has.
pub(crate) fn header() -> Map<String, Value> {
    Map::from_iter([("typ".to_owned(), "JWT".into())])
}
