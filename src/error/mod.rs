//! What can go wrong: [`TokenError`] at run time, [`ConfigError`] before.

mod advice;
mod bounds;
mod config;
mod kind;
mod response;

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use tower::BoxError;

pub use self::config::ConfigError;
pub use self::kind::TokenErrorKind;
pub(crate) use self::response::ErrorResponse;

/// No token could be had, or no [`Metadata`](crate::metadata::Metadata) of who issues them.
///
/// One failure may reach many callers: cloning an error is cheap, and its clones share what
/// happened. Its text says what happened, at which host, and what to look at. The text and the `Debug`
/// are short and printable and hold no secret, no token and no body; what the token endpoint answered
/// is there for those who ask for it.
///
/// Services return it inside a [`BoxError`]; [`TokenError::find_in`] finds it again.
///
/// # Example
///
/// ```
/// use tower_oauth2::{TokenError, TokenErrorKind};
///
/// fn is_our_fault(error: &(dyn std::error::Error + 'static)) -> bool {
///     TokenError::find_in(error).is_some_and(|error| {
///         error.kind() == TokenErrorKind::ErrorResponse && error.error_code() == Some("invalid_client")
///     })
/// }
/// # assert!(!is_our_fault(&std::fmt::Error));
/// ```
#[derive(Clone)]
pub struct TokenError {
    what: Arc<What>,
    rejected: Option<Arc<Response<()>>>,
    retry_in: Option<Duration>,
}

struct What {
    kind: TokenErrorKind,
    /// What exactly, where the kind alone does not say it.
    note: &'static str,
    /// What is to be done about it, where that is not what kind and response say.
    advice: Option<&'static str>,
    /// What could not be had from or for whom: their `scheme://host:port`.
    origin: Option<(&'static str, Box<str>)>,
    response: Option<ErrorResponse>,
    source: Option<BoxError>,
}

const NO_METADATA: &str = "no metadata from";

impl TokenError {
    pub(crate) fn new(kind: TokenErrorKind, note: &'static str) -> Self {
        Self::build(kind, note, None, None)
    }

    pub(crate) fn with_source(kind: TokenErrorKind, source: BoxError) -> Self {
        Self::build(kind, "", None, Some(source))
    }

    pub(crate) fn with_response(
        kind: TokenErrorKind,
        note: &'static str,
        response: ErrorResponse,
    ) -> Self {
        Self::build(kind, note, Some(response), None)
    }

    /// A token that is bound to a key and should not be, or the other way round.
    pub(crate) fn token_type(found: &str) -> Self {
        let note = if found == "DPoP" {
            "it is DPoP, and there is no key to prove"
        } else {
            "it is Bearer, and one that is bound to a key was asked for"
        };
        Self::new(TokenErrorKind::UnsupportedTokenType, note)
    }

    fn build(
        kind: TokenErrorKind,
        note: &'static str,
        response: Option<ErrorResponse>,
        source: Option<BoxError>,
    ) -> Self {
        let what = What { kind, note, advice: None, origin: None, response, source };
        Self { what: Arc::new(what), rejected: None, retry_in: None }
    }

    /// What a source of tokens failed with: the [`TokenError`] in it, or one that holds it.
    pub(crate) fn from_source(error: BoxError) -> Self {
        let error = match error.downcast::<Self>() {
            Ok(error) => return *error,
            Err(error) => error,
        };
        if let Some(found) = Self::find_in(&*error) {
            return found.clone();
        }
        let kind = if chain(&*error).any(|e| e.is::<tower::timeout::error::Elapsed>()) {
            TokenErrorKind::Timeout
        } else {
            TokenErrorKind::Source
        };
        Self::with_source(kind, error)
    }

    /// Returns the error of an HTTP client that failed before a response arrived.
    pub(crate) fn from_transport(error: BoxError) -> Self {
        let known = Self::from_source(error);
        match known.kind() {
            TokenErrorKind::Source => known.with_kind(TokenErrorKind::Transport),
            _ => known,
        }
    }

    /// The same of another kind. For whoever has just made the error.
    pub(crate) fn with_kind(mut self, kind: TokenErrorKind) -> Self {
        if let Some(what) = Arc::get_mut(&mut self.what) {
            what.kind = kind;
        }
        self
    }

    /// At which token endpoint it happened. For whoever has just made the error.
    pub(crate) fn at(self, endpoint: impl fmt::Display) -> Self {
        self.with_origin("no token from", endpoint)
    }

    /// The same, unless somebody has said more already.
    pub(crate) fn at_least_at(self, endpoint: impl fmt::Display) -> Self {
        if self.what.origin.is_some() { self } else { self.at(endpoint) }
    }

    /// For a request to which API. For whoever has just made the error.
    pub(crate) fn with_api(self, api: impl fmt::Display) -> Self {
        self.with_origin("no token for", api)
    }

    /// Of which issuer's metadata. For whoever has just made the error.
    pub(crate) fn of_metadata(self, issuer: impl fmt::Display) -> Self {
        self.with_origin(NO_METADATA, issuer)
    }

    /// The same with more to say. For whoever has just made the error.
    pub(crate) fn with_note(mut self, note: &'static str) -> Self {
        if let Some(what) = Arc::get_mut(&mut self.what) {
            what.note = note;
        }
        self
    }

    /// The same with something else to do about it. For whoever has just made the error.
    pub(crate) fn with_advice(mut self, advice: &'static str) -> Self {
        if let Some(what) = Arc::get_mut(&mut self.what) {
            what.advice = Some(advice);
        }
        self
    }

    fn with_origin(mut self, what_failed: &'static str, origin: impl fmt::Display) -> Self {
        if let Some(what) = Arc::get_mut(&mut self.what) {
            // Names of hosts are short (RFC 1035 section 2.3.4), but for those that are made up.
            let mut origin = origin.to_string();
            if let Some((end, _)) = origin.char_indices().nth(80) {
                origin.truncate(end);
                origin.push_str("...");
            }
            what.origin = Some((what_failed, origin.into()));
        }
        self
    }

    /// Adds the response to the first send, for a caller that waits for a replay.
    pub(crate) fn with_rejected(mut self, mut head: Response<()>) -> Self {
        *head.headers_mut() = bounds::headers(head.headers());
        self.rejected = Some(Arc::new(head));
        self
    }

    pub(crate) fn with_retry_in(mut self, retry_in: Duration) -> Self {
        self.retry_in = Some(retry_in);
        self
    }

    /// The [`TokenError`] in `error` or in its chain of sources.
    pub fn find_in<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Self> {
        chain(error).find_map(|error| error.downcast_ref())
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> TokenErrorKind {
        self.what.kind
    }

    /// Whether the same request may well succeed later: no connection, a timeout, a response that broke
    /// off or is a page of HTML, a 5xx, 408 or 429, a secret that could not be read, a failure in a
    /// source of one's own. Not so: any other error response, a redirect, a response without a usable
    /// token, an endpoint that may not be asked, an invalid client id, metadata that can not be used.
    pub fn is_transient(&self) -> bool {
        match self.what.kind {
            TokenErrorKind::ErrorResponse => self.what.response.as_ref().is_some_and(|response| {
                response.status.is_server_error()
                    || response.status == StatusCode::REQUEST_TIMEOUT
                    || response.status == StatusCode::TOO_MANY_REQUESTS
                    || response.status.is_success()
                        && matches!(
                            response.error.as_deref(),
                            Some("temporarily_unavailable" | "server_error")
                        )
            }),
            TokenErrorKind::ClientAuthentication => {
                self.what.source.as_ref().is_none_or(|source| !source.is::<ConfigError>())
            }
            kind => kind.is_transient(),
        }
    }

    /// Returns the status of the token endpoint's response, if there was one.
    pub fn status(&self) -> Option<StatusCode> {
        self.what.response.as_ref().map(|response| response.status)
    }

    /// Returns the headers of the token endpoint's response, as many as fit into 7 KiB.
    ///
    /// `Content-Type`, `Retry-After`, `WWW-Authenticate`, `Location` and `Date` are kept first.
    pub fn headers(&self) -> Option<&HeaderMap> {
        self.what.response.as_ref().map(|response| &response.headers)
    }

    /// Returns the beginning of the body of the token endpoint's response, at most 64 KiB.
    ///
    /// It is shorter if an error would keep more than 80 KiB in all. It may hold anything, so do not
    /// log it.
    pub fn body(&self) -> Option<&Bytes> {
        self.what.response.as_ref().map(|response| &response.body)
    }

    /// Returns `error` of the token endpoint's response (RFC 6749 section 5.2), at most 4 KiB.
    pub fn error_code(&self) -> Option<&str> {
        self.what.response.as_ref()?.error.as_deref()
    }

    /// Returns `error_description` of the token endpoint's response (RFC 6749 section 5.2).
    ///
    /// It is cut to 4 KiB, and otherwise as the server sent it.
    pub fn error_description(&self) -> Option<&str> {
        self.what.response.as_ref()?.error_description.as_deref()
    }

    /// Returns `error_uri` of the token endpoint's response (RFC 6749 section 5.2).
    ///
    /// It is cut to 4 KiB, and otherwise as the server sent it.
    pub fn error_uri(&self) -> Option<&str> {
        self.what.response.as_ref()?.error_uri.as_deref()
    }

    /// Returns the error code of the response if it is a registered one, which may be shown.
    pub(crate) fn registered_error(&self) -> Option<&'static str> {
        self.what.response.as_ref()?.registered_error()
    }

    /// How long the server asked to be left alone, counted from its response (`Retry-After`, RFC
    /// 9110 section 10.2.3).
    pub fn retry_after(&self) -> Option<Duration> {
        self.what.response.as_ref()?.retry_after
    }

    /// For how much longer the cache answers with this error and asks nobody; `None` when the next
    /// caller asks again.
    pub fn retry_in(&self) -> Option<Duration> {
        self.retry_in
    }

    /// Returns status and headers of the API's response that made another token necessary.
    ///
    /// The headers are as many as fit into 7 KiB. It is `None` when the request was never sent.
    pub fn rejected_response(&self) -> Option<&Response<()>> {
        self.rejected.as_deref()
    }
}

impl TokenError {
    /// What the operating system says of a connection. The texts of other sources may hold anything, and are not ours
    /// to show.
    fn system_cause(&self) -> Option<io::ErrorKind> {
        let source =
            self.what.source.as_ref().filter(|_| self.what.kind == TokenErrorKind::Transport)?;
        let causes = chain(&**source).filter_map(|error| error.downcast_ref::<io::Error>());
        let cause = causes.last()?.kind();
        // What it has no name for says nothing.
        let is_named =
            !matches!(cause, io::ErrorKind::Other) && cause.to_string() != "uncategorized error";
        is_named.then_some(cause)
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let What { kind, note, advice, origin, response, .. } = &*self.what;
        match origin {
            Some((what_failed, origin)) => write!(f, "{what_failed} {origin}: {kind}")?,
            None if *kind == TokenErrorKind::InvalidIssuer => write!(f, "no metadata: {kind}")?,
            None => write!(f, "no token: {kind}")?,
        }
        if let Some(response) = response {
            write!(f, " ({response})")?;
        }
        if let Some(cause) = self.system_cause() {
            write!(f, " ({cause})")?;
        }
        if !note.is_empty() {
            write!(f, ": {note}")?;
        }
        let is_of_metadata =
            origin.as_ref().is_some_and(|(what_failed, _)| *what_failed == NO_METADATA);
        let general = || advice::of(*kind, response.as_ref(), is_of_metadata);
        write!(f, "; {}", advice.unwrap_or_else(general))
    }
}

impl fmt::Debug for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("TokenError");
        debug.field("kind", &self.what.kind).field("text", &self.to_string());
        if let Some(retry_after) = self.retry_after() {
            debug.field("retry_after", &retry_after);
        }
        if let Some(rejected) = &self.rejected {
            debug.field("rejected", &rejected.status().as_u16());
        }
        if let Some(retry_in) = &self.retry_in {
            debug.field("retry_in", retry_in);
        }
        debug.finish_non_exhaustive()
    }
}

impl StdError for TokenError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.what.source {
            Some(source) => Some(&**source),
            None => None,
        }
    }
}

/// As [`BoxError`] has it, so that one bound covers both.
impl AsRef<dyn StdError + Send + Sync> for TokenError {
    fn as_ref(&self) -> &(dyn StdError + Send + Sync + 'static) {
        self
    }
}

/// `error` and its sources. A chain that is longer than any sane one ends early.
fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| error.source()).take(64)
}
