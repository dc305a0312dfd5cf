//! Judges each request once: whether it gets a token, and which one.

use http::{Extensions, Request, Uri};

use super::config::LayerConfig;
use super::echoing_method::is_echoing;
use super::request_ext::NoToken;
use crate::cache::{LocalToken, TokenRef, Tokens};
use crate::credentials::Credentials;
use crate::protocol::origins::UriClass;

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
    /// The request names no tokens, and the layer has none of its own.
    NoTokens,
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
        self.admit_unnamed(uri, local)
    }

    /// Admits a request whose extensions may name [`Tokens`] or [`NoToken`].
    ///
    /// Not inlined, because most of its work is lookups, and it would slow down all other requests.
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
        if let Some(tokens) = extensions.get::<Tokens>() {
            return match self.classify(uri, tokens) {
                UriClass::Secure => tokens.peek().into(),
                UriClass::NotListed => Admission::NotListed,
                UriClass::Insecure => Admission::Insecure,
            };
        }
        // Credentials in the extensions are a mistake that compiles. The caller wants tokens of
        // these credentials, so the layer's own tokens would be those of another client.
        if extensions.get::<Credentials>().is_some() {
            return self.without_tokens(uri);
        }
        self.admit_unnamed(uri, local)
    }

    /// Admits a request that names no tokens.
    #[inline]
    fn admit_unnamed<'a>(&self, uri: &Uri, local: &'a mut LocalToken) -> Admission<'a> {
        let Some(tokens) = &self.tokens else {
            return self.without_tokens(uri);
        };
        match self.classify(uri, tokens) {
            UriClass::Secure => tokens.peek_with(local).into(),
            UriClass::NotListed => Admission::NotListed,
            UriClass::Insecure => Admission::Insecure,
        }
    }

    #[cold]
    fn without_tokens<'a>(&self, uri: &Uri) -> Admission<'a> {
        match self.origins.classify(uri) {
            UriClass::NotListed => Admission::NotListed,
            UriClass::Secure | UriClass::Insecure => Admission::NoTokens,
        }
    }

    /// Classifies a URI by the layer's origins and those that the tokens allow.
    #[inline]
    fn classify(&self, uri: &Uri, tokens: &Tokens) -> UriClass {
        match self.origins.classify(uri) {
            UriClass::NotListed => UriClass::NotListed,
            _ if !tokens.allow(uri) => UriClass::NotListed,
            UriClass::Insecure if self.allow_http => UriClass::Secure,
            class => class,
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
