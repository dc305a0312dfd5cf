//! Judges each request once: whether it gets a token, and which one.

use http::{Extensions, Request, Uri};

use super::config::LayerConfig;
use super::echoing_method::is_echoing;
use super::no_token::NoToken;
use crate::cache::{LocalToken, TokenRef};
use crate::credentials::Credentials;
use crate::protocol::origins::{Origins, UriClass};

/// Says how a request is sent.
pub(super) enum Admission<'a> {
    /// The request gets this token.
    Hit(TokenRef<'a>),
    /// The request gets a token, but must wait for it.
    Miss,
    /// The request has [`NoToken`] in its extensions.
    Bypass,
    /// The origin of the request is not listed, so it gets no token.
    NotListed,
    /// The response would show the token (RFC 9110 section 9.3.8), so the request gets none.
    Echoed,
    /// A token would cross a network in clear text.
    Insecure,
}

impl LayerConfig {
    #[inline]
    pub(super) fn admit<'a, B>(
        &self,
        request: &Request<B>,
        local: &'a mut LocalToken,
    ) -> Admission<'a> {
        let (uri, extensions) = (request.uri(), request.extensions());
        if is_echoing(request.method()) {
            return Admission::Echoed;
        }
        if !extensions.is_empty() {
            return self.admit_by_extensions(uri, extensions, local);
        }
        match self.classify(uri, self.credential_origins.as_ref()) {
            UriClass::Secure => self.tokens.peek(local).into(),
            UriClass::NotListed => Admission::NotListed,
            UriClass::Insecure => Admission::Insecure,
        }
    }

    /// Admits a request whose extensions may name credentials or [`NoToken`].
    ///
    /// Not inlined, because most of its work are lookups, and it would slow down all other requests.
    #[inline(never)]
    fn admit_by_extensions<'a>(
        &self,
        uri: &Uri,
        extensions: &Extensions,
        local: &'a mut LocalToken,
    ) -> Admission<'a> {
        if extensions.get::<NoToken>().is_some() {
            return Admission::Bypass;
        }
        let named = extensions.get::<Credentials>();
        let credential_origins = match named {
            Some(credentials) => credentials.allowed_origins(),
            None => self.credential_origins.as_ref(),
        };
        match (self.classify(uri, credential_origins), named) {
            (UriClass::Secure, Some(credentials)) => self.tokens.peek_for(credentials).into(),
            (UriClass::Secure, None) => self.tokens.peek(local).into(),
            (UriClass::NotListed, _) => Admission::NotListed,
            (UriClass::Insecure, _) => Admission::Insecure,
        }
    }

    /// Classifies a URI by the layer's origins and those that the credentials allow.
    #[inline]
    fn classify(&self, uri: &Uri, credential_origins: Option<&Origins>) -> UriClass {
        let class = match self.origins.classify(uri) {
            UriClass::Insecure if self.allow_http => UriClass::Secure,
            class => class,
        };
        match credential_origins {
            Some(allowed) if !allowed.contains(uri) => UriClass::NotListed,
            _ => class,
        }
    }
}

impl<'a> From<Option<TokenRef<'a>>> for Admission<'a> {
    #[inline]
    fn from(token: Option<TokenRef<'a>>) -> Self {
        match token {
            Some(token) => Self::Hit(token),
            None => Self::Miss,
        }
    }
}
