//! Holds refresh tokens and rotates them (RFC 6749 section 6).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::timeout;
use tower::BoxError;
use zeroize::Zeroizing;

use crate::error::{TokenError, TokenErrorKind};
use crate::util::liveness::Liveness;
use crate::util::printable::Printable;
use crate::util::sync::LockExt;
use crate::util::takeover_lock::{TakeoverGuard, TakeoverLock};

/// The longest time that persisting a refresh token may take.
const SAVE_LIMIT: Duration = Duration::from_secs(30);

/// Holds a refresh token of a user, and each token that replaces it.
///
/// This is the refresh token grant (RFC 6749 section 6). Pass it to
/// [`Credentials::grant`](crate::Credentials::grant). The [`TokenEndpoint`](crate::TokenEndpoint)
/// uses it. Many servers rotate refresh tokens: each use returns a new one, and the old one becomes
/// invalid. Therefore:
///
/// - One token request at a time uses a refresh token, in all caches that hold a clone of it. If
///   the runtime no longer polls the task of that request, another task takes over after about a
///   second.
/// - A rotated token is persisted before the access token of its response is returned. If that
///   fails, the token request fails too. The rotated token stays in memory, and the next token
///   request persists it first.
///
/// Create one `RefreshToken` per grant: clones share their state. Credentials are compared by the
/// `name`, because the secret changes. Give each grant its own name, in particular the grants of
/// different users in one [`TokenStore`](crate::store::TokenStore). Two processes cannot share a
/// rotating refresh token: each process needs its own grant.
///
/// The secret is wiped from memory when it is replaced or dropped, except in the encoded token
/// request. `Debug` shows the name only.
///
/// # Example
///
/// ```
/// use std::fs;
/// use tower_oauth2::grant::RefreshToken;
///
/// # fn main() -> std::io::Result<()> {
/// # let (folder, user) = (std::env::temp_dir(), format!("alf-{}", std::process::id()));
/// # fs::write(folder.join(&user), "from-when-alf-authorized")?;
/// let path = folder.join(&user);
/// let text = fs::read_to_string(&path)?;
/// let refresh_token = RefreshToken::new(user, text.trim_end(), move |rotated| {
///     let path = path.clone();
///     async move {
///         // A rename is atomic, so a crash of the process leaves one of the two files.
///         let mut new = path.clone().into_os_string();
///         new.push(".new");
///         tokio::fs::write(&new, rotated.secret()).await?;
///         tokio::fs::rename(new, path).await
///     }
/// });
/// # assert!(!format!("{refresh_token:?}").contains("authorized"));
/// # fs::remove_file(folder.join(refresh_token.name()))
/// # }
/// ```
#[derive(Clone)]
pub struct RefreshToken(Arc<RefreshTokenState>);

struct RefreshTokenState {
    name: Box<str>,
    mutable: Box<dyn MutableState>,
    save: Option<Box<Save>>,
}

/// Gives access to the mutable part of a grant.
///
/// It is a trait object, because credentials may be the keys of a map, and clippy would take a
/// `Mutex` in them for a part of the key. The state is not part of the identity of credentials.
trait MutableState: Send + Sync {
    /// Allows one use of the refresh token at a time.
    fn use_lock(&self) -> &TakeoverLock;
    fn current(&self) -> &Mutex<CurrentToken>;
}

struct MutableCells {
    use_lock: TakeoverLock,
    current: Mutex<CurrentToken>,
}

impl MutableState for MutableCells {
    fn use_lock(&self) -> &TakeoverLock {
        &self.use_lock
    }

    fn current(&self) -> &Mutex<CurrentToken> {
        &self.current
    }
}

type Save = dyn Fn(RotatedToken) -> SaveFuture + Send + Sync;
type SaveFuture = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

/// The current refresh token.
struct CurrentToken {
    token: TokenSnapshot,
    is_saved: bool,
}

/// Holds a refresh token as it was at one moment.
#[derive(Clone)]
pub(crate) struct TokenSnapshot {
    secret: Arc<Zeroizing<String>>,
    /// Counts the tokens of this grant, by rotation and by [`RefreshToken::set`].
    number: u64,
    /// Counts the calls of [`RefreshToken::set`].
    version: u64,
}

impl RefreshToken {
    /// Creates a grant with a first `refresh_token`, which persists rotated tokens with `save`.
    ///
    /// `save` may take up to 30 seconds. Its error must not contain the secret. If `refresh_token`
    /// is empty or ends in a line break, token requests fail before anything is sent.
    pub fn new<F, R, E>(name: impl Into<String>, refresh_token: impl Into<String>, save: F) -> Self
    where
        F: Fn(RotatedToken) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let save: Box<Save> = Box::new(move |rotated| {
            let saving = save(rotated);
            Box::pin(async move { saving.await.map_err(Into::into) })
        });
        Self::build(name.into(), refresh_token.into(), Some(save))
    }

    /// Creates a grant for a server that does not rotate.
    ///
    /// If the server issues a rotated token nevertheless, it is kept in memory only, and is lost
    /// when the process ends.
    pub fn in_memory(name: impl Into<String>, refresh_token: impl Into<String>) -> Self {
        Self::build(name.into(), refresh_token.into(), None)
    }

    fn build(name: String, refresh_token: String, save: Option<Box<Save>>) -> Self {
        let secret = Arc::new(Zeroizing::new(refresh_token));
        let token = TokenSnapshot { secret, number: 0, version: 0 };
        let current = Mutex::new(CurrentToken { token, is_saved: true });
        let cells = MutableCells { use_lock: TakeoverLock::default(), current };
        Self(Arc::new(RefreshTokenState { name: name.into(), mutable: Box::new(cells), save }))
    }

    /// Returns the name that distinguishes this grant from others.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Replaces the refresh token after the user has authorized again.
    ///
    /// The next token request uses the new token, and one that is in progress is repeated with it.
    /// A back-off after `invalid_grant` ends. An access token that a cache already has stays in use
    /// until it ends or is rejected. The caller persists the new refresh token.
    pub fn set(&self, refresh_token: impl Into<String>) {
        let secret = Arc::new(Zeroizing::new(refresh_token.into()));
        let mut current = self.current();
        current.token.secret = secret;
        current.token.number += 1;
        current.token.version += 1;
        current.is_saved = true;
    }

    pub(crate) fn version(&self) -> u64 {
        self.current().token.version
    }

    /// Waits until the caller may use the token.
    ///
    /// At most one task may use it, unless its runtime does not poll it (C3).
    pub(crate) async fn lock_for_use(&self, liveness: &Arc<Liveness>) -> TakeoverGuard<'_> {
        self.0.mutable.use_lock().acquire(liveness).await
    }

    /// Returns the token to send, if the caller may use it.
    ///
    /// Returns `None` if another task has taken over, or if the token is not persisted: a late
    /// response may have replaced it after the last [`save`](Self::save).
    pub(crate) fn token_to_use(&self, guard: &TakeoverGuard<'_>) -> Option<TokenSnapshot> {
        let is_held = guard.is_held();
        let current = self.current();
        (is_held && current.is_saved).then(|| current.token.clone())
    }

    /// Returns whether [`set`](Self::set) was called since `used` was current.
    pub(crate) fn was_set_since(&self, used: &TokenSnapshot) -> bool {
        self.version() != used.version
    }

    /// Returns whether `used` was replaced, by a rotation or by [`set`](Self::set).
    pub(crate) fn was_replaced_since(&self, used: &TokenSnapshot) -> bool {
        self.current().token.number != used.number
    }

    /// Takes over the refresh token of a response to a request with `used`.
    ///
    /// The response to the task that holds the lock is the newest one. If another task has taken
    /// over, the late response counts only as long as there is no newer token: the server may then
    /// accept no other.
    pub(crate) fn rotate(
        &self,
        guard: &TakeoverGuard<'_>,
        used: &TokenSnapshot,
        rotated: Option<&str>,
    ) {
        let Some(rotated) = rotated.filter(|rotated| *rotated != used.secret()) else {
            return;
        };
        let secret = Arc::new(Zeroizing::new(rotated.to_owned()));
        let mut current = self.current();
        let is_newest = if guard.is_held() {
            current.token.version == used.version
        } else {
            current.token.number == used.number
        };
        if is_newest {
            current.token.secret = secret;
            current.token.number += 1;
            current.is_saved = self.0.save.is_none();
            drop(current);
            tracing::debug!(name = %Printable(self.name()), "refresh token was rotated");
        }
    }

    /// Persists the current token unless it is persisted already.
    ///
    /// If another task takes over, this call waits for it: an older token must not be persisted
    /// after a newer one.
    pub(crate) async fn save(&self, guard: &mut TakeoverGuard<'_>) -> Result<(), TokenError> {
        let Some(save) = &self.0.save else {
            return Ok(());
        };
        while self.unsaved().is_some() {
            guard.regain().await;
            let Some(TokenSnapshot { secret, number, .. }) = self.unsaved() else {
                continue;
            };
            let saving = save(RotatedToken { name: self.0.name.clone(), secret });
            let Some(saved) = guard.while_held(timeout(SAVE_LIMIT, saving)).await else {
                continue;
            };
            if let Err(error) = saved.unwrap_or_else(|elapsed| Err(elapsed.into())) {
                tracing::warn!(
                    name = %Printable(self.name()),
                    "rotated refresh token could not be persisted; it is in memory only"
                );
                return Err(TokenError::with_source(TokenErrorKind::Source, error)
                    .with_note("the new refresh token could not be persisted"));
            }
            let mut current = self.current();
            // If the token was replaced during the save, the save may have overwritten the new one
            // where it is persisted, so the new one is persisted again.
            current.is_saved = current.token.number == number;
        }
        Ok(())
    }

    fn unsaved(&self) -> Option<TokenSnapshot> {
        let current = self.current();
        (!current.is_saved).then(|| current.token.clone())
    }

    fn current(&self) -> MutexGuard<'_, CurrentToken> {
        self.0.mutable.current().lock_unpoisoned()
    }
}

impl TokenSnapshot {
    pub(crate) fn secret(&self) -> &str {
        &self.secret
    }
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshToken").field("name", &self.0.name).finish_non_exhaustive()
    }
}

/// Holds a refresh token that has replaced another one and must be persisted.
///
/// # Example
///
/// See [`RefreshToken`].
pub struct RotatedToken {
    name: Box<str>,
    secret: Arc<Zeroizing<String>>,
}

impl RotatedToken {
    /// Returns the [name](RefreshToken::name) of the grant that the token belongs to.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the token itself. Do not log it.
    pub fn secret(&self) -> &str {
        &self.secret
    }
}

impl fmt::Debug for RotatedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RotatedToken").field("name", &self.name).finish_non_exhaustive()
    }
}
