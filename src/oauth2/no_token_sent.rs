use std::collections::HashSet;
use std::fmt;
use std::sync::Mutex;

use http::Uri;
use tracing::field::display;

use super::target::hash_named_origin;
use crate::cache::Tokens;
use crate::metrics;
use crate::protocol::origin::Origin;
use crate::util::printable::Printable;
use crate::util::sync::LockExt;

/// Says why a request was sent without a token.
///
/// It is in the extensions of the response. The response to a request with
/// [`NoToken`](crate::NoToken) has no such extension, because that request asks for no token.
///
/// # Example
///
/// ```
/// use tower_oauth2::service::NoTokenSent;
///
/// fn explain(response: &http::Response<()>) -> &'static str {
///     match response.extensions().get::<NoTokenSent>() {
///         Some(NoTokenSent::NotListed) => "add the origin to the layer's origins",
///         Some(_) => "there was no token",
///         None => "a token was sent, or the request asked for none",
///     }
/// }
/// # assert!(explain(&http::Response::new(())).starts_with("a token was sent"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NoTokenSent {
    /// The layer's [`Origins`](crate::Origins) do not list the origin of the request.
    NotListed,
    /// The layer lists the origin, but the request's tokens are narrowed to others.
    ///
    /// [`Tokens::only_for`](crate::Tokens::only_for) narrows tokens to origins.
    TokensNarrowed,
    /// The method is TRACE or TRACK, whose response would show the token.
    ///
    /// RFC 9110 section 9.3.8 forbids credentials in such a request.
    TraceMethod,
    /// The method is CONNECT, and the layer's tokens are not for proxies.
    ///
    /// A proxy receives such a request instead of the API.
    ConnectMethod,
}

impl NoTokenSent {
    fn metric_label(self) -> &'static str {
        match self {
            Self::NotListed => "not_listed",
            Self::TokensNarrowed => "tokens_narrowed",
            Self::TraceMethod => "trace_method",
            Self::ConnectMethod => "connect_method",
        }
    }
}

impl fmt::Display for NoTokenSent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotListed => "its origin is not in the layer's list",
            Self::TokensNarrowed => "the tokens of the request are narrowed to other origins",
            Self::TraceMethod => "its response would show the token",
            Self::ConnectMethod => "its recipient is a proxy",
        })
    }
}

/// The largest number of warnings of a layer, one for each origin and reason. It bounds memory and
/// the log of a program that calls any number of hosts.
const MAX_WARNINGS: usize = 64;

/// Remembers for which origins a layer has warned, and why. All services and copies of the layer
/// share it.
#[derive(Debug, Default)]
pub(super) struct WarnedOrigins(Mutex<HashSet<(u64, NoTokenSent)>>);

impl WarnedOrigins {
    /// Logs and counts a request that is sent without a token (R10).
    ///
    /// `tokens` are those of the request, whose label is logged.
    #[cold]
    pub(super) fn report(&self, uri: &Uri, tokens: Option<&Tokens>, reason: NoTokenSent) {
        metrics::request_without_token(reason.metric_label());
        // A CONNECT names host and port only.
        let origin = Origin::from_uri(uri).map(|origin| origin.to_string());
        let origin = origin.or_else(|| {
            let authority = uri.authority()?;
            let port = authority.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
            Some(format!("{}{port}", authority.host()))
        });
        let origin = origin.map(|origin| display(Printable(origin)));
        let label = tokens.and_then(|tokens| tokens.credentials().label_field());
        if self.is_new(uri, reason) {
            tracing::warn!(
                label,
                origin,
                reason = %Printable(reason),
                "a request to this origin got no token; the next ones are logged at DEBUG"
            );
        } else {
            tracing::debug!(label, origin, reason = %Printable(reason), "a request gets no token");
        }
    }

    /// Returns whether to warn for this origin, which is `true` once.
    fn is_new(&self, uri: &Uri, reason: NoTokenSent) -> bool {
        let mut warned = self.0.lock_unpoisoned();
        warned.len() < MAX_WARNINGS && warned.insert((hash_named_origin(uri), reason))
    }
}
