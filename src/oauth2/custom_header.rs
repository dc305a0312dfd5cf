//! Puts tokens into a header other than `Authorization: <token type> <token>`.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};

use crate::cache::{IssueId, IssuedToken};

/// The name and the form of the header that carries the token.
#[derive(Clone)]
pub(super) struct CustomHeader {
    name: HeaderName,
    scheme: Scheme,
    /// The last header value, so that requests with the same token share it.
    last: Arc<ArcSwapOption<(IssueId, HeaderValue)>>,
}

/// The text before the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    /// `Bearer` or `DPoP`.
    TokenType,
    Custom(&'static str),
    /// No scheme: the header value is the bare token.
    Absent,
}

impl Default for CustomHeader {
    fn default() -> Self {
        Self { name: AUTHORIZATION, scheme: Scheme::TokenType, last: Arc::default() }
    }
}

impl CustomHeader {
    pub(super) fn name(&self) -> &HeaderName {
        &self.name
    }

    pub(super) fn set_name(&mut self, name: HeaderName) {
        self.name = name;
    }

    pub(super) fn has_usual_scheme(&self) -> bool {
        self.scheme == Scheme::TokenType
    }

    /// Sets the scheme. The header values of the earlier scheme are not used any more.
    pub(super) fn set_scheme(&mut self, scheme: Scheme) {
        self.scheme = scheme;
        self.last = Arc::default();
    }

    /// Returns the header value for `token`.
    pub(super) fn value(&self, token: &IssuedToken) -> HeaderValue {
        if self.scheme == Scheme::TokenType {
            return token.header().clone();
        }
        if let Some(last) = &*self.last.load() {
            if last.0 == token.issue() {
                return last.1.clone();
            }
        }
        let value = self.scheme.value(token);
        self.last.store(Some(Arc::new((token.issue(), value.clone()))));
        value
    }
}

impl Scheme {
    fn value(self, token: &IssuedToken) -> HeaderValue {
        let secret = token.access_token().secret();
        let text = match self {
            Self::TokenType => return token.header().clone(),
            Self::Custom(scheme) => format!("{scheme} {secret}"),
            Self::Absent => secret.to_owned(),
        };
        // `OAuth2Layer::scheme` checked the scheme, and an `AccessToken` is always a valid value.
        let value = HeaderValue::try_from(text);
        let mut value = value.unwrap_or_else(|_| token.header().clone());
        value.set_sensitive(true);
        value
    }
}
