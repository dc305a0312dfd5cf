//! A refresh token, and what becomes of it (RFC 6749 section 6).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::timeout;
use tower::BoxError;
use zeroize::Zeroizing;

use crate::error::{TokenError, TokenErrorKind};

/// How long it may take to persist one.
const SAVE_LIMIT: Duration = Duration::from_secs(30);

/// A refresh token that a user has granted, and each one that comes in its place (RFC 6749 section 6).
///
/// [`ClientCredentials::refresh_token`](crate::ClientCredentials::refresh_token) takes it, and a
/// [`RefreshTokenLayer`](crate::RefreshTokenLayer) around the [`TokenEndpoint`](crate::TokenEndpoint) uses it. Many
/// servers rotate: each use brings another refresh token, and the old one is void. So
///
/// - it is used once at a time, in however many caches its clones are;
/// - one that comes in its place is persisted before the access token that came with it is handed out. When that fails, so
///   does the token request; the new one is kept in memory, and the next token request begins with persisting it.
///
/// One `RefreshToken` for each grant: clones are the same one. Its `name` takes its place wherever credentials are
/// compared, as its text changes: two grants need two names, those of two users in one [`TokenStore`](crate::TokenStore)
/// above all. Two processes can not take turns: where the server rotates, each needs a grant of its own.
///
/// It is wiped from memory when it is replaced or dropped; the encoded request that it is sent in can not be. `Debug`
/// shows the name.
///
/// # Example
///
/// ```
/// use std::fs;
/// use tower_oauth2::RefreshToken;
///
/// # fn main() -> std::io::Result<()> {
/// # let (folder, user) = (std::env::temp_dir(), format!("alf-{}", std::process::id()));
/// # fs::write(folder.join(&user), "from-when-alf-authorized")?;
/// let path = folder.join(&user);
/// let refresh_token = RefreshToken::new(user, fs::read_to_string(&path)?, move |rotated| {
///     let path = path.clone();
///     async move {
///         // Written beside it and renamed, so that a crash leaves one of the two.
///         let new = path.with_extension("new");
///         tokio::fs::write(&new, rotated.secret()).await?;
///         tokio::fs::rename(new, path).await
///     }
/// });
/// # assert!(!format!("{refresh_token:?}").contains("authorized"));
/// # fs::remove_file(folder.join(refresh_token.name()))
/// # }
/// ```
#[derive(Clone)]
pub struct RefreshToken(Arc<Shared>);

struct Shared {
    name: Box<str>,
    changing: Box<dyn Changing>,
    save: Option<Box<Save>>,
}

/// What changes. It plays no part in what credentials are equal to, and they may be the keys of a map: as a trait object it
/// is not taken for a part of the key.
trait Changing: Send + Sync {
    /// Whoever has it may use the token.
    fn turn(&self) -> &tokio::sync::Mutex<()>;
    fn state(&self) -> &Mutex<State>;
}

struct Cells {
    turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

impl Changing for Cells {
    fn turn(&self) -> &tokio::sync::Mutex<()> {
        &self.turn
    }

    fn state(&self) -> &Mutex<State> {
        &self.state
    }
}

type Save = dyn Fn(RotatedToken) -> Saving + Send + Sync;
type Saving = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

struct State {
    secret: Arc<Zeroizing<String>>,
    /// Of this token: another one has another.
    number: u64,
    /// How many were set by hand.
    version: u64,
    is_saved: bool,
}

/// A refresh token as it is now.
pub(crate) struct Present {
    secret: Arc<Zeroizing<String>>,
    number: u64,
}

/// The right to use a refresh token: one at a time.
pub(crate) struct Turn<'a>(#[allow(dead_code, reason = "held")] tokio::sync::MutexGuard<'a, ()>);

impl RefreshToken {
    /// Begins with `refresh_token`, and has `save` persist each one that comes in its place. It may take up to 30
    /// seconds. The secret is not in the text of its error.
    ///
    /// With an empty `refresh_token`, token requests fail before anything is sent.
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

    /// The same for a server that does not rotate: one that comes all the same is kept in memory only, and is lost with the
    /// process.
    pub fn in_memory(name: impl Into<String>, refresh_token: impl Into<String>) -> Self {
        Self::build(name.into(), refresh_token.into(), None)
    }

    fn build(name: String, refresh_token: String, save: Option<Box<Save>>) -> Self {
        let secret = Arc::new(Zeroizing::new(refresh_token));
        let state = State { secret, number: 0, version: 0, is_saved: true };
        let cells = Cells { turn: tokio::sync::Mutex::new(()), state: Mutex::new(state) };
        Self(Arc::new(Shared { name: name.into(), changing: Box::new(cells), save }))
    }

    /// What tells it from others.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Puts one in its place by hand, after the user has authorized again. The next token request uses it, and one that is on
    /// its way is made again with it; a back-off after `invalid_grant` is over. An access token that a cache has already
    /// stays in use until it ends or is rejected.
    ///
    /// Whoever sets it persists it.
    pub fn set(&self, refresh_token: impl Into<String>) {
        let secret = Arc::new(Zeroizing::new(refresh_token.into()));
        let mut state = self.lock();
        state.secret = secret;
        state.number += 1;
        state.version += 1;
        state.is_saved = true;
    }

    pub(crate) fn version(&self) -> u64 {
        self.lock().version
    }

    pub(crate) async fn turn(&self) -> Turn<'_> {
        Turn(self.0.changing.turn().lock().await)
    }

    pub(crate) fn present(&self, _turn: &Turn<'_>) -> Present {
        let state = self.lock();
        Present { secret: state.secret.clone(), number: state.number }
    }

    /// Whether one was set since `used` was.
    pub(crate) fn has_changed_since(&self, used: &Present) -> bool {
        self.lock().number != used.number
    }

    /// Takes what a response brought, if it is another one, unless one was set since `used` was.
    pub(crate) fn rotate(&self, _turn: &Turn<'_>, used: &Present, rotated: Option<&str>) {
        let Some(rotated) = rotated.filter(|rotated| *rotated != used.secret()) else {
            return;
        };
        let secret = Arc::new(Zeroizing::new(rotated.to_owned()));
        let mut state = self.lock();
        if state.number == used.number {
            state.secret = secret;
            state.number += 1;
            state.is_saved = self.0.save.is_none();
            drop(state);
            tracing::debug!("refresh token was rotated");
        }
    }

    /// Has the present one persisted, if it is not yet.
    pub(crate) async fn save(&self, _turn: &Turn<'_>) -> Result<(), TokenError> {
        let Some(save) = &self.0.save else {
            return Ok(());
        };
        while let Some(Present { secret, number }) = self.unsaved() {
            let saving = save(RotatedToken { name: self.0.name.clone(), secret });
            let saved = timeout(SAVE_LIMIT, saving).await.unwrap_or_else(|late| Err(late.into()));
            if let Err(error) = saved {
                tracing::warn!(
                    "rotated refresh token could not be persisted; it is in memory only"
                );
                return Err(TokenError::with_source(TokenErrorKind::Source, error)
                    .with_note("the new refresh token could not be persisted"));
            }
            let mut state = self.lock();
            // One that was set meanwhile may just have been overwritten where it is persisted.
            state.is_saved = state.number == number;
        }
        Ok(())
    }

    fn unsaved(&self) -> Option<Present> {
        let state = self.lock();
        (!state.is_saved).then(|| Present { secret: state.secret.clone(), number: state.number })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.changing.state().lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Present {
    pub(crate) fn secret(&self) -> &str {
        &self.secret
    }
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshToken").field("name", &self.0.name).finish_non_exhaustive()
    }
}

/// A refresh token that came in the place of another and is to be persisted.
///
/// # Example
///
/// See [`RefreshToken`].
pub struct RotatedToken {
    name: Box<str>,
    secret: Arc<Zeroizing<String>>,
}

impl RotatedToken {
    /// The [name](RefreshToken::name) of the grant that it belongs to.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The token itself. Do not log it.
    pub fn secret(&self) -> &str {
        &self.secret
    }
}

impl fmt::Debug for RotatedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RotatedToken").field("name", &self.name).finish_non_exhaustive()
    }
}
