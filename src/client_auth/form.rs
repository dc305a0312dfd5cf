use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use http::{HeaderMap, Uri};
use serde_json::{Map, Value};
use tokio::time::Instant;
use tower::BoxError;
use zeroize::Zeroizing;

#[cfg(feature = "jwt")]
use crate::jwt::{DefaultAudience, JwtContext};
use crate::protocol::server_clock::Offset;
use crate::secret::Secret;
use crate::util::clock::wall_clock;

/// Holds a token request before it is sent, for client authentication.
///
/// The authentication method reads the request and adds to it.
///
/// # Example
///
/// A test of the parameter that a method adds.
/// [`ClientAuthentication`](super::ClientAuthentication) has an example of a custom method.
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
    /// The endpoint as the configuration or the metadata spells it.
    #[cfg_attr(not(feature = "jwt"), allow(dead_code, reason = "only JWTs contain the endpoint"))]
    endpoint_text: Box<str>,
    issuer: Option<Box<str>>,
    /// `true` if the server accepts a client secret in the form only.
    takes_secret_in_form: bool,
    headers: HeaderMap,
    form: Vec<(Cow<'static, str>, Zeroizing<String>)>,
    clock: Offset,
    is_time_used: AtomicBool,
    /// The deadline of the token request.
    deadline: Option<Instant>,
}

impl TokenRequestParts {
    /// Creates an empty token request to `endpoint`, to test a custom
    /// [`ClientAuthentication`](super::ClientAuthentication).
    pub fn new(endpoint: Uri) -> Self {
        let endpoint_text = endpoint.to_string();
        Self::for_endpoint(endpoint, &endpoint_text)
    }

    /// Creates an empty token request to `endpoint`, whose exact spelling is `endpoint_text`.
    pub(crate) fn for_endpoint(endpoint: Uri, endpoint_text: &str) -> Self {
        Self {
            endpoint,
            endpoint_text: endpoint_text.into(),
            issuer: None,
            takes_secret_in_form: false,
            headers: HeaderMap::new(),
            form: Vec::with_capacity(4),
            clock: Offset::default(),
            is_time_used: AtomicBool::new(false),
            deadline: None,
        }
    }

    pub(crate) fn set_issuer(&mut self, issuer: Option<&str>) {
        self.issuer = issuer.map(Box::from);
    }

    pub(crate) fn set_takes_secret_in_form(&mut self, takes_secret_in_form: bool) {
        self.takes_secret_in_form = takes_secret_in_form;
    }

    /// Returns whether the server takes a client secret in the form only.
    pub(crate) fn takes_secret_in_form(&self) -> bool {
        self.takes_secret_in_form
    }

    /// Sets the offset of the server's clock.
    pub(crate) fn set_clock(&mut self, clock: Offset) {
        self.clock = clock;
    }

    /// Sets the deadline of the token request.
    pub(crate) fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = Some(deadline);
    }

    /// Returns the deadline of the token request, if it is being sent.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Returns the URI of the token endpoint.
    pub fn endpoint(&self) -> &Uri {
        &self.endpoint
    }

    /// Returns the issuer of the tokens, if the credentials come from its metadata.
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// Returns the data of the request that its JWTs depend on.
    #[cfg(feature = "jwt")]
    pub(crate) fn jwt_context(&self) -> JwtContext<'_> {
        JwtContext {
            now: self.now(),
            token_endpoint: Some(&self.endpoint_text),
            issuer: self.issuer(),
            default_audience: DefaultAudience::AuthorizationServer,
            deadline: self.deadline,
        }
    }

    /// Reads a secret for this request.
    ///
    /// # Errors
    ///
    /// Returns an error if the secret is not available, does not arrive before the deadline of the
    /// token request, or is empty, ends in a line break or begins with a byte order mark.
    pub fn read(
        &self,
        secret: &Secret,
    ) -> impl Future<Output = Result<impl AsRef<str> + use<>, BoxError>> + Send {
        secret.read(self.deadline)
    }

    /// Returns the time for an assertion, by the token endpoint's clock if known.
    ///
    /// At first, it is this machine's time. A [`TokenEndpoint`](crate::TokenEndpoint) authenticates
    /// and sends the request once more by the server's clock if all of these are true:
    ///
    /// * The client authentication called this function, or the grant contains a JWT that is signed
    ///   here.
    /// * The response is 400 or 401, with the error `invalid_client`, `invalid_grant` or
    ///   `invalid_request`, or without an error code.
    /// * Its `Date`, with its `Age` if there is one, shows a clock that differs by 10 seconds
    ///   or more, and by at most a day.
    ///
    /// If the second request brings a token, the credentials remember the difference for this
    /// server. They forget it when a response contradicts it, or when two requests in a row bring
    /// no token.
    pub fn now(&self) -> SystemTime {
        self.is_time_used.store(true, Ordering::Relaxed);
        self.clock.apply(wall_clock())
    }

    /// Returns whether [`now`](Self::now) was called.
    pub(crate) fn is_time_used(&self) -> bool {
        self.is_time_used.load(Ordering::Relaxed)
    }

    /// Returns the headers of the request.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Returns a mutable reference to the headers of the request.
    ///
    /// Mark secrets as [sensitive][`http::HeaderValue::set_sensitive`].
    ///
    /// [`http::HeaderValue::set_sensitive`]: https://docs.rs/http/latest/http/header/struct.HeaderValue.html#method.set_sensitive
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.headers
    }

    /// Returns the value of the parameter `name`.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let (_, value) = self.form.iter().find(|(known, _)| known == name)?;
        Some(value)
    }

    /// Sets a parameter of the form.
    ///
    /// It replaces all parameters of this name, because no parameter may be sent twice (RFC 6749
    /// section 3.2).
    ///
    /// An empty `value` removes the parameter.
    pub fn set_parameter(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) {
        self.replace_parameter(name.into(), Zeroizing::new(value.into()));
    }

    /// Sets a parameter whose value is wiped from memory.
    pub(crate) fn replace_parameter(&mut self, name: Cow<'static, str>, value: Zeroizing<String>) {
        self.form.retain(|(known, _)| *known != name);
        self.add_parameter(name, value);
    }

    /// Adds a parameter beside those of the same name.
    ///
    /// `resource` allows this (RFC 8707 section 2).
    pub(crate) fn add_parameter(&mut self, name: Cow<'static, str>, value: Zeroizing<String>) {
        if !value.is_empty() {
            self.form.push((name, value));
        }
    }

    /// Returns the headers, and the body as `application/x-www-form-urlencoded`.
    pub(crate) fn encode(self) -> (HeaderMap, String) {
        let mut body = form_urlencoded::Serializer::new(String::new());
        for (name, value) in &self.form {
            body.append_pair(name, value);
        }
        (self.headers, body.finish())
    }

    /// Returns the headers, and the body as a JSON object. A parameter with several values is an
    /// array of them.
    pub(crate) fn encode_json(self) -> (HeaderMap, String) {
        let mut body = Map::new();
        for (name, value) in &self.form {
            let value = Value::from(value.as_str());
            match body.get_mut(&**name) {
                None => _ = body.insert(name.clone().into_owned(), value),
                Some(Value::Array(values)) => values.push(value),
                Some(first) => *first = [first.take(), value].into_iter().collect(),
            }
        }
        (self.headers, Value::Object(body).to_string())
    }
}

impl std::fmt::Debug for TokenRequestParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenRequestParts").finish_non_exhaustive()
    }
}
