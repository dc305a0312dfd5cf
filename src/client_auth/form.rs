use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use http::{HeaderMap, Uri};
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::protocol::server_clock::Offset;
use crate::util::clock::wall_clock;

/// A token request before it is sent, which client authentication reads and adds to.
///
/// # Example
///
/// The parameter that a method adds. [`ClientAuthentication`](super::ClientAuthentication) has an
/// example of a custom method.
///
/// ```
/// use tower_oauth2::ClientAuth;
/// use tower_oauth2::client_auth::{ClientAuthentication, TokenRequestParts};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower::BoxError> {
/// let mut request = TokenRequestParts::new("https://auth.example.com/token".parse()?);
/// ClientAuth::client_secret_post("client-id", "s3cr3t").authenticate(&mut request).await?;
/// assert_eq!(request.parameter("client_secret"), Some("s3cr3t"));
/// assert!(request.headers().is_empty());
/// # Ok(())
/// # }
/// ```
pub struct TokenRequestParts {
    endpoint: Uri,
    /// As the credentials spell it.
    #[cfg_attr(not(feature = "jwt"), allow(dead_code, reason = "for what is signed"))]
    named: Box<str>,
    headers: HeaderMap,
    form: Vec<(Cow<'static, str>, Zeroizing<String>)>,
    clock: Offset,
    was_asked_for_the_time: AtomicBool,
    /// When the token request must be over.
    deadline: Option<Instant>,
}

impl TokenRequestParts {
    /// An empty token request to `endpoint`: to try a [`ClientAuthentication`](super::ClientAuthentication) of
    /// one's own.
    pub fn new(endpoint: Uri) -> Self {
        let named = endpoint.to_string();
        Self::named(endpoint, &named)
    }

    /// The same to an endpoint that is spelled like this.
    pub(crate) fn named(endpoint: Uri, named: &str) -> Self {
        Self {
            endpoint,
            named: named.into(),
            headers: HeaderMap::new(),
            form: Vec::with_capacity(4),
            clock: Offset::default(),
            was_asked_for_the_time: AtomicBool::new(false),
            deadline: None,
        }
    }

    /// Sets the offset of the server's clock.
    pub(crate) fn set_clock(&mut self, clock: Offset) {
        self.clock = clock;
    }

    /// Sets when the token request must be over.
    pub(crate) fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = Some(deadline);
    }

    /// Returns when the token request must be over, if it is on its way.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The token endpoint's URI.
    pub fn endpoint(&self) -> &Uri {
        &self.endpoint
    }

    /// The same, letter for letter as the credentials have it: what a server compares `aud` with.
    #[cfg(feature = "jwt")]
    pub(crate) fn endpoint_as_named(&self) -> &str {
        &self.named
    }

    /// Returns the time for an assertion, by the token endpoint's clock as far as it is known.
    ///
    /// It is this machine's time at first. A [`TokenEndpoint`](crate::TokenEndpoint) authenticates
    /// and sends the request once more by the server's clock if all of these are true:
    ///
    /// * The client authentication called this function.
    /// * The response is 400 or 401, with the error `invalid_client`, `invalid_grant` or
    ///   `invalid_request`, or without an error code.
    /// * Its `Date`, with its `Age` if there is one, shows a clock that differs by more than 30
    ///   seconds, and by at most a day.
    ///
    /// If that brings a token, the credentials remember the difference for this server. They forget
    /// it when a response contradicts it, or when two requests in a row bring no token.
    pub fn now(&self) -> SystemTime {
        self.was_asked_for_the_time.store(true, Ordering::Relaxed);
        self.clock.apply(wall_clock())
    }

    /// Returns whether the client authentication called [`now`](Self::now).
    pub(crate) fn was_asked_for_the_time(&self) -> bool {
        self.was_asked_for_the_time.load(Ordering::Relaxed)
    }

    /// The headers of the request.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The headers of the request. Mark what is secret as
    /// [sensitive](http::HeaderValue::set_sensitive).
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.headers
    }

    /// The value of the parameter `name`.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let (_, value) = self.form.iter().find(|(known, _)| known == name)?;
        Some(value)
    }

    /// Puts a parameter into the form, in the place of one of the same name: none is sent twice
    /// (RFC 6749 section 3.2). One without a value is left out.
    pub fn set_parameter(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) {
        let (name, value) = (name.into(), Zeroizing::new(value.into()));
        self.form.retain(|(known, _)| *known != name);
        self.add_parameter(name, value);
    }

    /// Puts a parameter beside those of the same name, as `resource` allows (RFC 8707 section 2).
    pub(crate) fn add_parameter(&mut self, name: Cow<'static, str>, value: Zeroizing<String>) {
        if !value.is_empty() {
            self.form.push((name, value));
        }
    }

    /// Headers and body, `application/x-www-form-urlencoded`.
    pub(crate) fn encode(self) -> (HeaderMap, String) {
        let mut body = form_urlencoded::Serializer::new(String::new());
        for (name, value) in &self.form {
            body.append_pair(name, value);
        }
        (self.headers, body.finish())
    }
}

impl std::fmt::Debug for TokenRequestParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenRequestParts").finish_non_exhaustive()
    }
}
