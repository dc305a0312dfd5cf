//! Judges each request once: whether it gets a token, and which one.

use http::{Extensions, Method, Request, Uri};

use super::config::LayerConfig;
use super::echoing_method::is_echoing;
use super::no_token_sent::NoTokenSent;
use super::request_ext::NoToken;
use crate::cache::{LocalToken, TokenRef, Tokens};
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
    /// The request is sent without a token, for this reason.
    NoToken(NoTokenSent),
    /// The URI names no host, and the tokens are not for all possible hosts.
    UnknownOrigin,
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
        let target = (request.method(), request.uri());
        if is_echoing(target.0) {
            return Admission::NoToken(NoTokenSent::TraceMethod);
        }
        let extensions = request.extensions();
        if !extensions.is_empty() {
            return self.admit_by_extensions(target, extensions, local);
        }
        self.admit_unnamed(target, local)
    }

    /// Admits a request whose extensions may name [`Tokens`] or [`NoToken`].
    ///
    /// It is not inlined, because most of its work is lookups, and it would slow down all other
    /// requests.
    #[inline(never)]
    fn admit_by_extensions<'a>(
        &self,
        target: (&Method, &Uri),
        extensions: &Extensions,
        local: &'a mut LocalToken,
    ) -> Admission<'a> {
        if extensions.get::<NoToken>().is_some() {
            return Admission::Bypass;
        }
        if let Some(tokens) = extensions.get::<Tokens>() {
            return match self.classify(target, tokens) {
                UriClass::Secure => tokens.peek().into(),
                class => self.without_token(target, class),
            };
        }
        // Credentials in the extensions are a mistake that compiles. The caller wants tokens of
        // these credentials, so the layer's own tokens would be those of another client.
        if extensions.get::<Credentials>().is_some() {
            return self.without_tokens(target);
        }
        self.admit_unnamed(target, local)
    }

    /// Admits a request that names no tokens.
    #[inline]
    fn admit_unnamed<'a>(
        &self,
        target: (&Method, &Uri),
        local: &'a mut LocalToken,
    ) -> Admission<'a> {
        let Some(tokens) = &self.tokens else {
            return self.without_tokens(target);
        };
        match self.classify(target, tokens) {
            UriClass::Secure => tokens.peek_with(local).into(),
            class => self.without_token(target, class),
        }
    }

    #[cold]
    fn without_tokens<'a>(&self, target: (&Method, &Uri)) -> Admission<'a> {
        match self.classify_in(&self.origins, target) {
            UriClass::NotListed => self.without_token(target, UriClass::NotListed),
            _ => Admission::NoTokens,
        }
    }

    /// Admits a request that gets no token because of the class of its URI.
    #[cold]
    fn without_token<'a>(&self, target: (&Method, &Uri), class: UriClass) -> Admission<'a> {
        match class {
            _ if is_tunnel(target) && !self.is_for_proxies() => {
                Admission::NoToken(NoTokenSent::ConnectMethod)
            }
            UriClass::Insecure => Admission::Insecure,
            UriClass::Unknown => Admission::UnknownOrigin,
            UriClass::NotListed | UriClass::Secure => {
                let is_listed = self.classify_in(&self.origins, target) != UriClass::NotListed;
                Admission::NoToken(if is_listed {
                    NoTokenSent::TokensNarrowed
                } else {
                    NoTokenSent::NotListed
                })
            }
        }
    }

    /// Classifies the URI by the layer's origins and those that the tokens allow.
    #[inline]
    fn classify(&self, target: (&Method, &Uri), tokens: &Tokens) -> UriClass {
        match (self.origins.classify(target.1), tokens.narrower_origins()) {
            (UriClass::Secure, None) => UriClass::Secure,
            (_, narrower) => self.classify_narrowed(target, narrower),
        }
    }

    /// Classifies the URI for narrowed tokens, or a URI that is not listed and secure.
    #[inline(never)]
    fn classify_narrowed(&self, target: (&Method, &Uri), narrower: Option<&Origins>) -> UriClass {
        // A proxy receives the request, whatever the origins allow for an API.
        if is_tunnel(target) && !self.is_for_proxies() {
            return UriClass::NotListed;
        }
        let class = match self.classify_in(&self.origins, target) {
            UriClass::Insecure if self.allow_http => UriClass::Secure,
            class => class,
        };
        match narrower {
            None => class,
            Some(narrower) if target.1.authority().is_none() => {
                self.origins.classify_relative(narrower)
            }
            Some(narrower) if self.classify_in(narrower, target) == UriClass::NotListed => {
                UriClass::NotListed
            }
            Some(_) => class,
        }
    }

    /// Classifies the URI by one list of origins.
    fn classify_in(&self, origins: &Origins, target: (&Method, &Uri)) -> UriClass {
        match target.1.authority() {
            Some(authority) if is_tunnel(target) && self.is_for_proxies() => {
                origins.classify_tunnel(authority)
            }
            _ => origins.classify(target.1),
        }
    }
}

/// Returns whether the request asks a proxy for a tunnel (RFC 9110 section 9.3.6).
///
/// An extended CONNECT (RFC 8441) has a scheme, and goes to the API.
pub(super) fn is_tunnel((method, uri): (&Method, &Uri)) -> bool {
    method == Method::CONNECT && uri.scheme().is_none() && uri.authority().is_some()
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
