use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::cached_token::CachedToken;
use super::issued::IssuedToken;
use super::machine::Requirements;
use super::tokens::Tokens;
use crate::error::{TokenError, TokenErrorKind};
use crate::util::backoff::Backoff;
use crate::util::runtime;

/// The age below which the rejection of a token delays the next one. A caller that rejects every
/// token, for example because its database is down, must not flood the token endpoint.
const YOUNG: Duration = Duration::from_secs(30);

/// The delay after the rejection of a young token.
const REJECTION_PAUSE: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));

/// Returns the current token, and then each token that replaces it.
///
/// [`Tokens::changes`] creates it.
#[derive(Debug)]
pub struct TokenChanges {
    tokens: Tokens,
    /// The token that was returned last. `None` once its rejection has been noticed.
    last: Option<Arc<IssuedToken>>,
    has_failed: bool,
    /// The number of young tokens in a row that were rejected.
    rejections: u32,
    /// When the next token may be returned. Kept here, because the future may be dropped.
    resume_at: Option<Instant>,
}

impl TokenChanges {
    pub(super) fn new(tokens: Tokens) -> Self {
        Self { tokens, last: None, has_failed: false, rejections: 0, resume_at: None }
    }

    /// Waits for a token that differs from the last returned one.
    ///
    /// The first call returns the current token, and fetches one if there is none.
    ///
    /// Tokens are renewed ahead of expiry while this is awaited. The future may be dropped at any
    /// time: the next call continues. If a token is [rejected](CachedToken::reject) within 30 s of
    /// its arrival, the next one follows after 1 to 2 s, and after up to a minute if that happens
    /// again.
    ///
    /// # Errors
    ///
    /// Returns a [`TokenError`] if no token is available, or outside of a tokio runtime with a
    /// timer. The call after that waits until the cache may ask the source again.
    pub async fn next(&mut self) -> Result<CachedToken, TokenError> {
        if runtime::current().is_none() {
            return Err(self.tokens.slot().error(TokenErrorKind::NoRuntime));
        }
        loop {
            self.notice_rejection();
            if let Some(at) = self.resume_at {
                sleep_until(at).await;
                self.resume_at = None;
            }
            let slot = self.tokens.slot();
            // The listener is created before the slot is read, so that it misses no change in
            // between.
            let changed = slot.changed.notified();
            if !self.has_failed {
                slot.tick();
                match slot.get(Requirements::default()).await {
                    Ok(token) if self.is_new(&token) => {
                        self.last = Some(token.clone());
                        return Ok(CachedToken::new(token));
                    }
                    Ok(_) => {}
                    Err(error) => {
                        self.has_failed = true;
                        return Err(error);
                    }
                }
            }
            drop(timeout_at(slot.next_keep_warm(), changed).await);
            self.has_failed = false;
        }
    }

    /// Delays the next token if the last one was rejected soon after it arrived.
    fn notice_rejection(&mut self) {
        let slot = self.tokens.slot();
        let Some(last) = self.last.take_if(|last| slot.is_rejected(last.issue())) else {
            return;
        };
        let now = Instant::now();
        if now.saturating_duration_since(last.arrived_at()) < YOUNG {
            self.resume_at = Some(now + REJECTION_PAUSE.window(self.rejections));
            self.rejections += 1;
        } else {
            self.rejections = 0;
        }
    }

    fn is_new(&self, token: &IssuedToken) -> bool {
        self.last.as_ref().is_none_or(|last| last.issue() != token.issue())
    }
}
