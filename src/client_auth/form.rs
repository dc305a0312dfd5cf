use std::borrow::Cow;

use http::{HeaderMap, Uri};
use zeroize::Zeroizing;

/// A token request on its way out: what client authentication may look at and add to.
///
/// # Example
///
/// See [`ClientAuthentication`](super::ClientAuthentication).
pub struct TokenRequestParts {
    endpoint: Uri,
    headers: HeaderMap,
    form: Vec<(Cow<'static, str>, Zeroizing<String>)>,
}

impl TokenRequestParts {
    /// An empty token request to `endpoint`: to try a [`ClientAuthentication`](super::ClientAuthentication) of
    /// one's own.
    pub fn new(endpoint: Uri) -> Self {
        Self { endpoint, headers: HeaderMap::new(), form: Vec::with_capacity(4) }
    }

    /// The token endpoint's URI.
    pub fn endpoint(&self) -> &Uri {
        &self.endpoint
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
