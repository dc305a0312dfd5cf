use std::fmt;
use std::path::PathBuf;

use super::{Algorithm, SigningKey};
use crate::secret::{Unusable, WatchedFile};

/// A private key in a file that may be replaced: PEM, DER, or a JWK in JSON. What is in it tells which.
///
/// It is read for every token request, so that a key that was rotated is used from the next one on. A file
/// that is missing, empty, half written or holds no usable key fails that token request with
/// [`ClientAuthentication`](crate::TokenErrorKind::ClientAuthentication), and counts as a failure
/// that may well pass.
///
/// The path is what makes it another key than others: credentials stay equal when the content is
/// replaced, and a token that is there stays in use.
///
/// # Example
///
/// ```
/// use tower_oauth2::ClientAuth;
/// use tower_oauth2::jwt::KeyFile;
///
/// // The server knows each key by the thumbprint of its public part.
/// let key = KeyFile::new("/run/secrets/client-key.pem").kid_from_thumbprint();
/// let auth = ClientAuth::private_key_jwt("client-id", key);
/// # let _ = auth;
/// ```
#[derive(Clone)]
pub struct KeyFile {
    file: WatchedFile,
    algorithm: Option<Algorithm>,
    kid: Kid,
}

#[derive(Clone)]
enum Kid {
    OfTheKey,
    Given(String),
    Thumbprint,
}

impl KeyFile {
    /// The key in the file at `path`, which need not be there yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { file: WatchedFile::new(path.into()), algorithm: None, kid: Kid::OfTheKey }
    }

    /// What to sign with, as in [`SigningKey::with_algorithm`]; for RSA keys that are to use
    /// `PS256`.
    #[must_use]
    pub fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = Some(algorithm);
        self
    }

    /// The name under which the server knows the key, in the place of the JWK's own.
    #[must_use]
    pub fn kid(mut self, kid: impl Into<String>) -> Self {
        self.kid = Kid::Given(kid.into());
        self
    }

    /// The RFC 7638 thumbprint of the key that is there is its `kid`.
    #[must_use]
    pub fn kid_from_thumbprint(mut self) -> Self {
        self.kid = Kid::Thumbprint;
        self
    }

    /// The key as it is now.
    pub(crate) async fn read(&self) -> Result<SigningKey, Unusable> {
        let content = self.file.read_bytes().await?;
        let read = SigningKey::from_any(content.as_slice()).and_then(|key| match self.algorithm {
            Some(algorithm) => key.with_algorithm(algorithm),
            None => Ok(key),
        });
        let key = read.map_err(|error| Unusable::for_its_content(&self.file, error))?;
        Ok(match &self.kid {
            Kid::OfTheKey => key,
            Kid::Given(kid) => key.with_kid(kid),
            Kid::Thumbprint => {
                let kid = key.thumbprint();
                key.with_kid(kid)
            }
        })
    }

    /// The path; what `kid` and algorithm are is for the caller to add.
    pub(crate) fn identity(&self) -> Vec<u8> {
        self.file.identity().to_vec()
    }

    pub(crate) fn version(&self) -> u64 {
        self.file.version()
    }

    pub(crate) fn name_of_algorithm(&self) -> String {
        self.algorithm.map(|algorithm| algorithm.to_string()).unwrap_or_default()
    }

    /// What tells one choice of `kid` from another.
    pub(crate) fn choice_of_kid(&self) -> Vec<u8> {
        match &self.kid {
            Kid::OfTheKey => Vec::new(),
            Kid::Given(kid) => [b"given ", kid.as_bytes()].concat(),
            Kid::Thumbprint => b"thumbprint".to_vec(),
        }
    }
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyFile").field("path", &self.file.path()).finish_non_exhaustive()
    }
}
