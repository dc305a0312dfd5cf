//! Defines [`TokenError`] for failures at run time, and [`ConfigError`] for invalid settings.

mod advice;
mod bounds;
mod cause;
mod config;
mod display;
mod kind;
mod response;

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use tower::BoxError;

pub(crate) use self::advice::{GrantKind, RequestFacts};
pub use self::config::ConfigError;
pub use self::kind::TokenErrorKind;
pub(crate) use self::response::ErrorResponse;

/// Reports that no token or no [`Metadata`](crate::metadata::Metadata) is available.
///
/// One failure may reach many callers, so clones are cheap and share their contents. The text says
/// what failed, at which host, and what to check. If the HTTP client failed, it shows the causes in
/// at most 300 characters. The text and the `Debug` output are short and printable. They contain no
/// secret, no token and no body. Methods return the parts of the token endpoint's response.
///
/// Services return the error inside a [`BoxError`]. [`TokenError::find_in`] finds it there.
///
/// # Example
///
/// ```
/// use tower_oauth2::{TokenError, TokenErrorKind};
///
/// fn is_our_fault(error: &(dyn std::error::Error + 'static)) -> bool {
///     TokenError::find_in(error).is_some_and(|error| {
///         let is_response = error.kind() == TokenErrorKind::ErrorResponse;
///         is_response && error.error_code() == Some("invalid_client")
///     })
/// }
/// # assert!(!is_our_fault(&std::fmt::Error));
/// ```
#[derive(Clone)]
pub struct TokenError {
    inner: Arc<ErrorContents>,
    /// The API's response that rejected the last token.
    rejected_response: Option<Arc<Response<()>>>,
    retry_in: Option<Duration>,
}

struct ErrorContents {
    kind: TokenErrorKind,
    /// Details that the kind does not include. May be empty.
    note: Cow<'static, str>,
    /// The token request that failed, as far as it is known.
    facts: RequestFacts,
    /// A sentence that follows the advice.
    hint: Option<Box<str>>,
    /// The label of the credentials.
    label: Option<Box<str>>,
    /// The beginning of the text, and the `scheme://host:port` that follows it.
    origin: Option<(&'static str, Box<str>)>,
    response: Option<ErrorResponse>,
    source: Option<BoxError>,
    /// The printable causes of an HTTP client's failure, without secrets.
    causes: Option<Box<str>>,
}

/// The beginning of the text of a failure to fetch metadata.
const NO_METADATA: &str = "no metadata from";

/// The fault of a DPoP token for credentials without a key.
pub(crate) const BOUND_TOKEN: &str =
    "the token is bound to a key, and the credentials have no DPoP key";

/// The fault of any other token for credentials with a key.
pub(crate) const UNBOUND_TOKEN: &str =
    "the credentials have a DPoP key, and the token is not bound to it";

impl TokenError {
    pub(crate) fn new(kind: TokenErrorKind, note: &'static str) -> Self {
        Self::build(kind, note.into(), None, None)
    }

    pub(crate) fn with_source(kind: TokenErrorKind, source: BoxError) -> Self {
        Self::build(kind, "".into(), None, Some(source))
    }

    pub(crate) fn with_response(
        kind: TokenErrorKind,
        note: impl Into<Cow<'static, str>>,
        response: ErrorResponse,
    ) -> Self {
        Self::build(kind, note.into(), Some(response), None)
    }

    /// Creates the error of a token whose type is not the one that was requested.
    pub(crate) fn token_type(found: &str) -> Self {
        let note = if found == "DPoP" { BOUND_TOKEN } else { UNBOUND_TOKEN };
        Self::new(TokenErrorKind::UnsupportedTokenType, note)
    }

    fn build(
        kind: TokenErrorKind,
        note: Cow<'static, str>,
        response: Option<ErrorResponse>,
        source: Option<BoxError>,
    ) -> Self {
        let inner = ErrorContents {
            kind,
            note,
            facts: RequestFacts::default(),
            hint: None,
            label: None,
            origin: None,
            response,
            source,
            causes: None,
        };
        Self { inner: Arc::new(inner), rejected_response: None, retry_in: None }
    }

    /// Returns the [`TokenError`] in a source's error, or one that contains it.
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

    /// Shows the causes if an HTTP client failed. `scrub` removes secrets from a text.
    ///
    /// Has no effect once the error has been cloned.
    pub(crate) fn with_causes(mut self, scrub: impl Fn(&str) -> String) -> Self {
        use TokenErrorKind::{IncompleteResponse, Transport};

        // Causes that a nested client has described are scrubbed of its own request's secrets.
        if let Some(inner) = Arc::get_mut(&mut self.inner).filter(|inner| inner.causes.is_none()) {
            let source = inner.source.as_ref();
            let source = source.filter(|_| matches!(inner.kind, Transport | IncompleteResponse));
            inner.causes = source.map(|source| cause::describe(&**source, scrub).into());
        }
        self
    }

    /// Shows the first cause of the type `E`, and its sources.
    ///
    /// The text of the cause must contain no secret.
    ///
    /// Has no effect once the error has been cloned.
    pub(crate) fn with_known_cause<E: StdError + 'static>(mut self) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            let mut causes = inner.source.iter().flat_map(|source| chain(&**source));
            let known = causes.find(|error| error.is::<E>());
            inner.causes = known.map(|known| cause::describe(known, str::to_owned).into());
        }
        self
    }

    /// Returns the error of an HTTP client that failed before a response arrived.
    pub(crate) fn from_transport(error: BoxError) -> Self {
        let known = Self::from_source(error);
        match known.kind() {
            TokenErrorKind::Source => known.with_kind(TokenErrorKind::Transport),
            _ => known,
        }
    }

    /// Replaces the kind. Has no effect once the error has been cloned.
    pub(crate) fn with_kind(mut self, kind: TokenErrorKind) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.kind = kind;
        }
        self
    }

    /// Adds the origin of the token endpoint. Has no effect once the error has been cloned.
    pub(crate) fn at(self, endpoint: impl fmt::Display) -> Self {
        self.with_origin("no token from", endpoint)
    }

    /// Adds the origin of the token endpoint, unless the error names an origin already.
    pub(crate) fn at_least_at(self, endpoint: impl fmt::Display) -> Self {
        if self.inner.origin.is_some() { self } else { self.at(endpoint) }
    }

    /// Adds the origin of the API. Has no effect once the error has been cloned.
    pub(crate) fn with_api(self, api: impl fmt::Display) -> Self {
        self.with_origin("no token for", api)
    }

    /// Adds the origin of the issuer. Has no effect once the error has been cloned.
    pub(crate) fn with_issuer(self, issuer: impl fmt::Display) -> Self {
        self.with_origin(NO_METADATA, issuer)
    }

    /// Replaces the details. Has no effect once the error has been cloned.
    pub(crate) fn with_note(mut self, note: &'static str) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.note = note.into();
        }
        self
    }

    /// Adds facts about the token request. Has no effect once the error has been cloned.
    pub(crate) fn with_request_facts(mut self, facts: RequestFacts) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.facts = facts;
        }
        self
    }

    /// Adds a sentence after the advice. Has no effect once the error has been cloned.
    pub(crate) fn with_hint(mut self, hint: String) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.hint = Some(hint.into());
        }
        self
    }

    /// Adds the label of credentials. Has no effect once the error has been cloned.
    pub(crate) fn with_label(mut self, label: Option<&str>) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.label = label.map(Box::from);
        }
        self
    }

    fn with_origin(mut self, what_failed: &'static str, origin: impl fmt::Display) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            // A valid host name may be longer (RFC 1035 section 2.3.4), but is hardly readable.
            let mut origin = origin.to_string();
            if let Some((end, _)) = origin.char_indices().nth(80) {
                origin.truncate(end);
                origin.push_str("...");
            }
            inner.origin = Some((what_failed, origin.into()));
        }
        self
    }

    /// Adds the API's response that rejected the token of the first send.
    pub(crate) fn with_rejected_response(mut self, mut head: Response<()>) -> Self {
        *head.headers_mut() = bounds::headers(head.headers());
        self.rejected_response = Some(Arc::new(head));
        self
    }

    /// Sets for how long the cache returns this error.
    pub(crate) fn with_retry_in(mut self, retry_in: Duration) -> Self {
        self.retry_in = Some(retry_in);
        self
    }

    /// Finds the [`TokenError`] in `error` or in its chain of sources.
    #[doc(alias = "downcast")]
    pub fn find_in<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Self> {
        chain(error).find_map(|error| error.downcast_ref())
    }

    /// Returns the kind of the failure.
    pub fn kind(&self) -> TokenErrorKind {
        self.inner.kind
    }

    /// Returns whether the same request may succeed later.
    ///
    /// It is true for a failed connection, a timeout, a response that is incomplete or not JSON, a
    /// 5xx, 408 or 429, a secret that could not be read, and a failure in a custom source. It is
    /// also true for the codes `temporarily_unavailable`, `server_error` and `slow_down` with any
    /// status, unless the grant is polled (a device grant or CIBA).
    ///
    /// It is false for any other error response, a redirect, a response without a usable token, an
    /// endpoint that is not allowed, an invalid client id, invalid metadata, and a request without
    /// tokens. If the secret is a token of other credentials, the failure of that token decides.
    #[doc(alias = "retryable")]
    pub fn is_transient(&self) -> bool {
        match self.inner.kind {
            TokenErrorKind::ErrorResponse => self.inner.response.as_ref().is_some_and(|response| {
                self.has_transient_code()
                    || response.status.is_server_error()
                    || response.status == StatusCode::REQUEST_TIMEOUT
                    || response.status == StatusCode::TOO_MANY_REQUESTS
            }),
            TokenErrorKind::ClientAuthentication => {
                self.inner.source.as_ref().is_none_or(|source| {
                    // The secret may be a token that could not be fetched.
                    let token = source.downcast_ref::<Self>();
                    token.map_or(!source.is::<ConfigError>(), Self::is_transient)
                })
            }
            kind => kind.is_transient(),
        }
    }

    /// Returns the status of the token endpoint's response, if there was one.
    pub fn status(&self) -> Option<StatusCode> {
        self.inner.response.as_ref().map(|response| response.status)
    }

    /// Returns the headers of the token endpoint's response, up to 7 KiB.
    ///
    /// `Content-Type`, `Retry-After`, `WWW-Authenticate`, `Location` and `Date` are kept first.
    pub fn headers(&self) -> Option<&HeaderMap> {
        self.inner.response.as_ref().map(|response| &response.headers)
    }

    /// Returns the beginning of the body of the token endpoint's response, at most 64 KiB.
    ///
    /// It is shorter if an error would keep more than 80 KiB in all. It may hold anything, so do
    /// not log it.
    pub fn body(&self) -> Option<&Bytes> {
        self.inner.response.as_ref().map(|response| &response.body)
    }

    /// Returns `error` of the token endpoint's response (RFC 6749 section 5.2), at most 4 KiB.
    pub fn error_code(&self) -> Option<&str> {
        self.inner.response.as_ref()?.error.as_deref()
    }

    /// Returns `error_description` of the token endpoint's response (RFC 6749 section 5.2).
    ///
    /// It is cut to 4 KiB, and otherwise as the server sent it.
    pub fn error_description(&self) -> Option<&str> {
        self.inner.response.as_ref()?.error_description.as_deref()
    }

    /// Returns `error_uri` of the token endpoint's response (RFC 6749 section 5.2).
    ///
    /// It is cut to 4 KiB, and otherwise as the server sent it.
    pub fn error_uri(&self) -> Option<&str> {
        self.inner.response.as_ref()?.error_uri.as_deref()
    }

    /// Returns whether the server says by its error code that a later request may succeed.
    ///
    /// A grant that is polled keeps an interval, which a retry would ignore.
    pub(crate) fn has_transient_code(&self) -> bool {
        let response = self.inner.response.as_ref().filter(|_| !self.inner.facts.is_polled);
        response.is_some_and(ErrorResponse::has_transient_code)
    }

    /// Returns the registered error code of the response, which may be shown.
    pub(crate) fn registered_error(&self) -> Option<&'static str> {
        self.inner.response.as_ref()?.registered_error()
    }

    /// Returns the time of `Retry-After`, counted from the token endpoint's response.
    ///
    /// RFC 9110 section 10.2.3 defines it.
    #[doc(alias = "Retry-After")]
    pub fn retry_after(&self) -> Option<Duration> {
        self.inner.response.as_ref()?.retry_after
    }

    /// Returns how much longer the cache returns this error without a token request.
    ///
    /// The time counts from the moment at which you got this error.
    /// `None` means that the next caller starts a token request.
    pub fn retry_in(&self) -> Option<Duration> {
        self.retry_in
    }

    /// Returns the label of the credentials, if they have one.
    pub fn label(&self) -> Option<&str> {
        self.inner.label.as_deref()
    }

    /// Returns status and headers of the API's response that rejected the token.
    ///
    /// The headers are limited to 7 KiB. Returns `None` if the request was never sent.
    pub fn rejected_response(&self) -> Option<&Response<()>> {
        self.rejected_response.as_deref()
    }
}

impl StdError for TokenError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.inner.source {
            Some(source) => Some(&**source),
            None => None,
        }
    }
}

/// Borrows the error as a trait object.
///
/// [`BoxError`] does the same, so one bound covers both.
impl AsRef<dyn StdError + Send + Sync> for TokenError {
    fn as_ref(&self) -> &(dyn StdError + Send + Sync + 'static) {
        self
    }
}

/// Iterates over `error` and its sources, 64 at most.
///
/// A faulty error may be its own source.
pub(crate) fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| error.source()).take(64)
}
