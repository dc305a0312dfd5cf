//! Holds secrets that may change while a process runs.

mod deadline;
mod file;
mod identity;
mod source;
pub(crate) mod version;

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::time::Instant;
use tower::BoxError;
use zeroize::Zeroizing;

pub(crate) use self::deadline::{SecretTimeout, wait_until_deadline};
pub(crate) use self::file::{FileError, WatchedFile};
pub use self::identity::Identity;
pub(crate) use self::identity::IdentityDigest;
use self::source::Function;
pub(crate) use self::source::{ReadFuture, SecretSource};
use crate::error::ConfigError;
use crate::util::invisible::fault_of_secret;

/// Holds a secret, or the source from which it is read.
///
/// The source is a text, a file, a function, or the tokens of other credentials. Functions that
/// take a secret also take a `&str` or a `String`, which is a secret that never changes, and
/// [`Tokens`](crate::Tokens), whose current token is the secret. A file is read, and a function is
/// called, for every token request. So the next token request uses a replaced secret.
///
/// A text that ends in a line break or begins with a byte order mark is an error, because it was
/// probably read from a file without removing them.
///
/// A clone is cheap. A text is wiped from memory when its last clone is dropped, and a secret that
/// was read is wiped once it has been sent. `Debug` shows the source of the secret and nothing
/// else.
///
/// # Example
///
/// ```
/// use tower_oauth2::{ClientAuth, Secret};
///
/// // An orchestrator mounts this file and may replace it.
/// let auth = ClientAuth::client_secret_basic("client-id", Secret::file("/run/secrets/api"));
///
/// // A function fetches the secret. Its name distinguishes it from other secrets.
/// let vault = Secret::from_fn("vault:api", || async { Ok::<_, std::io::Error>("s3cr3t") });
/// let auth = ClientAuth::client_secret_post("client-id", vault);
/// # let _ = auth;
/// ```
#[derive(Clone)]
pub struct Secret {
    kind: Kind,
    version: Option<Arc<dyn Fn() -> u64 + Send + Sync>>,
}

#[derive(Clone)]
enum Kind {
    Text(Arc<Zeroizing<String>>),
    File(WatchedFile),
    Source(Arc<dyn SecretSource>),
}

impl Secret {
    /// Creates a secret that is read from a file for every token request.
    ///
    /// Line breaks at the end of the file and a byte order mark at its beginning are not part of
    /// the secret. Credentials are compared by the path: they stay equal when the content is
    /// replaced, and a token that was issued for the old content stays in use. An error such as
    /// `invalid_client` is forgotten as soon as the file has changed (modification time, length or
    /// inode; links are followed).
    ///
    /// The file is read on a separate thread, one read per path at a time. If a read hangs, as on
    /// a network file system, only credentials with this path wait for it, each until the deadline
    /// of its token request. A file that changed within the last second is read again after 20 ms
    /// until it stays the same, so that no half-written secret is sent.
    ///
    /// The token request fails with
    /// [`ClientAuthentication`](crate::TokenErrorKind::ClientAuthentication) if the file is
    /// missing, empty, larger than 1 MiB, not a regular file or not UTF-8. The error is transient.
    #[doc(alias("rotation", "mounted secret", "Kubernetes"))]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::from_kind(Kind::File(WatchedFile::new(path.into())))
    }

    /// Reads the environment variable `name` now, and creates a secret from its value.
    ///
    /// The environment of a process does not change, so it is not read again. The secret is equal
    /// to the same text from anywhere else.
    ///
    /// # Errors
    ///
    /// Returns an error if the variable is not set, empty or not UTF-8, if it ends in a line break,
    /// or if it begins with a byte order mark.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use tower_oauth2::{ClientAuth, Secret};
    ///
    /// # fn main() -> Result<(), tower_oauth2::ConfigError> {
    /// let auth = ClientAuth::client_secret_basic("client-id", Secret::env("API_CLIENT_SECRET")?);
    /// # let _ = auth;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "environment variable")]
    pub fn env(name: impl AsRef<str>) -> Result<Self, ConfigError> {
        const VARIABLE: &str = "environment variable of a secret";
        let name = name.as_ref();
        let invalid = |problem| Err(ConfigError::new(VARIABLE, problem).with_value(name));
        match std::env::var(name) {
            Ok(value) => {
                let secret = Self::from(value);
                secret.check(VARIABLE).map_err(|error| error.with_value(name))?;
                Ok(secret)
            }
            Err(std::env::VarError::NotPresent) => invalid("is not set"),
            Err(std::env::VarError::NotUnicode(_)) => invalid("is not UTF-8"),
        }
    }

    /// Creates a secret that `read` returns for every token request.
    ///
    /// Credentials are compared by the `name`, so two secrets that must not share a token need
    /// different names. The name appears in errors and log events, and is not sent to any server.
    ///
    /// The crate does not know when the secret changes. So an error such as `invalid_client` is
    /// remembered for its whole back-off, unless you add a [version](Self::version).
    ///
    /// The token request fails with
    /// [`ClientAuthentication`](crate::TokenErrorKind::ClientAuthentication) if `read` returns an
    /// error, or a secret that is empty, ends in a line break or begins with a byte order mark, or
    /// does not return before the deadline of the token request. The error is transient. Keep
    /// secrets out of its text.
    #[doc(alias("Vault", "secret manager"))]
    pub fn from_fn<F, R, T, E>(name: impl Into<String>, read: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<T, E>> + Send + 'static,
        T: Into<String>,
        E: Into<BoxError>,
    {
        Self::from_source(Arc::new(Function::new(name.into(), read)))
    }

    /// Creates a secret from another source.
    pub(crate) fn from_source(source: Arc<dyn SecretSource>) -> Self {
        Self::from_kind(Kind::Source(source))
    }

    /// Sets a function that returns a different number whenever the secret has changed.
    ///
    /// For a file, it replaces the number that the crate computes. An error such as
    /// `invalid_client` is forgotten when the number changes. After such an error, the function is
    /// called often, and it must not block.
    #[must_use]
    pub fn version(mut self, version: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.version = Some(Arc::new(version));
        self
    }

    /// Reads the current secret. Fails with [`SecretTimeout`] at the deadline, if there is one.
    pub(crate) async fn read(
        &self,
        deadline: Option<Instant>,
    ) -> Result<Zeroizing<String>, BoxError> {
        match &self.kind {
            Kind::Text(text) => {
                self.check("secret")?;
                Ok(Zeroizing::clone(text))
            }
            Kind::File(file) => {
                wait_until_deadline(deadline, self, async { Ok(file.read().await?) }).await
            }
            Kind::Source(source) => wait_until_deadline(deadline, self, source.read()).await,
        }
    }

    /// Returns the secret if it is a text, which never changes.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            Kind::File(_) | Kind::Source(_) => None,
        }
    }

    /// Returns an error if the secret is an invalid text. `name` is its name for errors.
    ///
    /// Files and functions are checked when they are read.
    pub(crate) fn check(&self, name: &'static str) -> Result<(), ConfigError> {
        ConfigError::check(name, self.text().and_then(fault_of_secret))
    }

    /// Adds the parts that distinguish the secret from others.
    fn identify(&self, identity: &mut Identity) {
        match &self.kind {
            Kind::Text(text) => identity.part("text").part(text.as_bytes()),
            Kind::File(file) => identity.part("file").part(file.identity()),
            Kind::Source(source) => identity.nested(|identity| source.identify(identity)),
        };
    }

    /// Returns a number that differs when the secret has changed.
    pub(crate) fn current_version(&self) -> u64 {
        match (&self.version, &self.kind) {
            (Some(version), _) => version(),
            (None, Kind::File(file)) => file.version(),
            (None, Kind::Source(source)) => source.version(),
            (None, Kind::Text(_)) => 0,
        }
    }

    fn from_kind(kind: Kind) -> Self {
        Self { kind, version: None }
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::from_kind(Kind::Text(Arc::new(Zeroizing::new(text))))
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<&String> for Secret {
    fn from(text: &String) -> Self {
        text.clone().into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Text(_) => f.write_str("Secret(**redacted**)"),
            Kind::File(file) => write!(f, "Secret::file({:?})", file.path()),
            Kind::Source(source) => source.fmt(f),
        }
    }
}
