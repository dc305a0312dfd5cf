//! Secrets that may change while a process runs.

mod file;
mod in_time;
pub(crate) mod version;

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use tokio::time::Instant;
use tower::BoxError;
use zeroize::Zeroizing;

#[cfg(feature = "jwt")]
pub(crate) use self::file::Unusable;
pub(crate) use self::file::WatchedFile;
pub(crate) use self::in_time::{Late, in_time};

/// A secret, or a source of it: a text, a file, or a function.
///
/// Functions that take a secret also take a `&str` or a `String`, which is a secret that never
/// changes. A file is read, and a function is called, for every token request. So the next token
/// request uses a secret that has been replaced.
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
    Function { name: Arc<str>, read: Arc<Read> },
}

type Read = dyn Fn() -> Pin<Box<dyn Future<Output = Text> + Send>> + Send + Sync;
type Text = Result<Zeroizing<String>, BoxError>;

impl Secret {
    /// Creates a secret that is read from a file for every token request.
    ///
    /// Line breaks at the end of the file and a byte order mark at its beginning are not part of
    /// the secret. Credentials are compared by the path: they stay equal when the content is
    /// replaced, and a token that was issued for the old content stays in use. An error such as
    /// `invalid_client` is forgotten as soon as the file has changed (modification time, length or
    /// inode; links are followed).
    ///
    /// The file is read on a thread of its own, one read per path at a time. If a read hangs, as on
    /// a network file system, only credentials with this path wait for it, each until the deadline
    /// of its token request. A file that changed within the last second is read again after 20 ms
    /// until it stays the same, so that no half-written secret is sent.
    ///
    /// The token request fails with
    /// [`ClientAuthentication`](crate::TokenErrorKind::ClientAuthentication) if the file is
    /// missing, empty, larger than 1 MiB, not a regular file or not UTF-8. The error is transient.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::of(Kind::File(WatchedFile::new(path.into())))
    }

    /// Creates a secret that `read` returns. It is called for every token request.
    ///
    /// `name` stands for the secret wherever credentials are compared, so two secrets that must not
    /// share a token need different names. The name appears in errors and log events, and is not
    /// sent to any server.
    ///
    /// The crate does not know when the secret changes. So an error such as `invalid_client` is
    /// remembered for its whole back-off, unless you add a [version](Self::version).
    ///
    /// The token request fails with
    /// [`ClientAuthentication`](crate::TokenErrorKind::ClientAuthentication) if `read` returns an
    /// error or an empty secret, or does not return before the deadline of the token request. The
    /// error is transient. Keep secrets out of its text.
    pub fn from_fn<F, R, T, E>(name: impl Into<String>, read: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<T, E>> + Send + 'static,
        T: Into<String>,
        E: Into<BoxError>,
    {
        let name: Arc<str> = name.into().into();
        let read = Arc::new(move || -> Pin<Box<dyn Future<Output = Text> + Send>> {
            let reading = read();
            Box::pin(async move {
                let text = Zeroizing::new(reading.await.map_err(Into::into)?.into());
                if text.is_empty() { Err("the secret is empty".into()) } else { Ok(text) }
            })
        });
        Self::of(Kind::Function { name, read })
    }

    /// Sets a function that returns another number whenever the secret has changed.
    ///
    /// For a file, it replaces the number that the crate computes. An error such as
    /// `invalid_client` is forgotten when the number changes. After such an error, the function is
    /// called often, and it must not block.
    #[must_use]
    pub fn version(mut self, version: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.version = Some(Arc::new(version));
        self
    }

    /// Reads the current secret. Fails with [`Late`] at the deadline, if there is one.
    pub(crate) async fn read(&self, deadline: Option<Instant>) -> Text {
        match &self.kind {
            Kind::Text(text) => Ok(Zeroizing::clone(text)),
            Kind::File(file) => in_time(deadline, self, async { Ok(file.read().await?) }).await,
            Kind::Function { read, .. } => in_time(deadline, self, read()).await,
        }
    }

    /// Returns bytes that distinguish the secret from others.
    pub(crate) fn identity(&self) -> Vec<u8> {
        let (kind, what) = match &self.kind {
            Kind::Text(text) => (b't', text.as_bytes()),
            Kind::File(file) => (b'f', file.identity()),
            Kind::Function { name, .. } => (b'n', name.as_bytes()),
        };
        // The buffer has room for everything, because a buffer that grows leaves copies behind that
        // are not wiped.
        let mut identity = Vec::with_capacity(1 + what.len());
        identity.push(kind);
        identity.extend_from_slice(what);
        identity
    }

    /// Returns a number that differs when the secret has changed.
    pub(crate) fn current_version(&self) -> u64 {
        match (&self.version, &self.kind) {
            (Some(version), _) => version(),
            (None, Kind::File(file)) => file.version(),
            (None, Kind::Text(_) | Kind::Function { .. }) => 0,
        }
    }

    fn of(kind: Kind) -> Self {
        Self { kind, version: None }
    }
}

impl<T: Into<String>> From<T> for Secret {
    fn from(text: T) -> Self {
        Self::of(Kind::Text(Arc::new(Zeroizing::new(text.into()))))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Text(_) => f.write_str("Secret(**redacted**)"),
            Kind::File(file) => write!(f, "Secret::file({:?})", file.path()),
            Kind::Function { name, .. } => write!(f, "Secret::from_fn({name:?})"),
        }
    }
}
