//! Secrets that may change while a process runs.

mod file;

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use tower::BoxError;
use zeroize::Zeroizing;

#[cfg(feature = "jwt")]
pub(crate) use self::file::Unusable;
pub(crate) use self::file::WatchedFile;

/// A secret, or where it is to be had: a text, a file, or a function.
///
/// What takes a secret takes a text as well: a `&str` or a `String` is one that stays as it is. A
/// file is read, and a function is called, for every token request, so that a secret that is
/// replaced is used from the next token request on.
///
/// Cheap to clone. A text is wiped from memory when the last clone goes, and what was read when it
/// has been sent. `Debug` shows where the secret comes from, and nothing of it.
///
/// # Example
///
/// ```
/// use tower_oauth2::{ClientAuth, Secret};
///
/// // Mounted by an orchestrator, which may replace it.
/// let auth = ClientAuth::client_secret_basic("client-id", Secret::file("/run/secrets/api"));
///
/// // Fetched from somewhere else. The name is for telling it from others.
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
    /// The content of a file, less the line breaks at its end and a byte order mark at its beginning: read for
    /// every token request, in a task that may block.
    ///
    /// The file is what makes this secret another one than others: when its content is replaced,
    /// credentials with it stay equal, and a token that is there stays in use. A failure such as
    /// `invalid_client` is forgotten as soon as the file is another one (modification time, length,
    /// inode; links are followed, so it does not matter how it is replaced).
    ///
    /// A file that is missing, empty, no regular file, no UTF-8 or larger than 1 MiB fails the token
    /// request with [`ClientAuthentication`](crate::TokenErrorKind::ClientAuthentication), and
    /// counts as a failure that may well pass.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::of(Kind::File(WatchedFile::new(path.into())))
    }

    /// What `read` returns, which is called for every token request.
    ///
    /// `name` takes the place of the secret wherever credentials are compared: two that may not
    /// share a token need two names. It is not shown to any server.
    ///
    /// Whether the secret has changed can not be known without a call. So a failure such as
    /// `invalid_client` is remembered for its whole back-off, unless a [version](Self::version) is given as well. An error of
    /// `read`, or an empty secret, fails the token request and counts as a failure that may well pass.
    /// Keep secrets out of its text.
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

    /// A number that is another one whenever the secret is, in the place of what is known of a
    /// file. A failure such as `invalid_client` is forgotten when it changes. It is asked for often
    /// after such a failure, and must be quick.
    #[must_use]
    pub fn version(mut self, version: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.version = Some(Arc::new(version));
        self
    }

    /// The secret as it is now.
    pub(crate) async fn read(&self) -> Text {
        match &self.kind {
            Kind::Text(text) => Ok(Zeroizing::clone(text)),
            Kind::File(file) => Ok(file.read().await?),
            Kind::Function { read, .. } => read().await,
        }
    }

    /// What tells it from others.
    pub(crate) fn identity(&self) -> Vec<u8> {
        let (kind, what) = match &self.kind {
            Kind::Text(text) => (b't', text.as_bytes()),
            Kind::File(file) => (b'f', file.identity()),
            Kind::Function { name, .. } => (b'n', name.as_bytes()),
        };
        // With room for all of it: memory that is outgrown is not wiped.
        let mut identity = Vec::with_capacity(1 + what.len());
        identity.push(kind);
        identity.extend_from_slice(what);
        identity
    }

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
