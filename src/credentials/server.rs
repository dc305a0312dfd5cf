//! Describes the server that credentials are for.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Uri;
use tokio::time::Instant;

use crate::error::ConfigError;
use crate::protocol::origin::{Origin, parse_absolute};
use crate::secret::Identity;
use crate::util::printable::Printable;
use crate::util::sync::LockExt;
use crate::util::takeover_lock::TakeoverLock;

/// The shortest time between two fetches of an issuer's metadata whose token endpoint is known.
const MIN_FETCH_INTERVAL: Duration = Duration::from_secs(60);

/// Names the server that issues the tokens.
#[derive(Clone)]
pub(crate) enum Server {
    TokenEndpoint(Arc<EndpointUri>),
    Issuer(IssuerUri),
    /// A custom source, which is not an authorization server. The name is its identity.
    Custom(Box<str>),
}

/// Holds the URI of a token endpoint, and facts from the metadata.
///
/// Requests to the endpoint depend on these facts.
#[derive(PartialEq)]
pub(crate) struct EndpointUri {
    uri: Uri,
    /// The URI as it was given. A server compares the `aud` of an assertion with this spelling.
    text: Box<str>,
    origin: Origin,
    /// The issuer whose metadata names the endpoint.
    issuer: Option<Box<str>>,
    /// `true` if the metadata list `client_secret_post` and not `client_secret_basic`.
    takes_secret_in_form: bool,
}

/// An issuer whose metadata names the token endpoint.
#[derive(Clone)]
pub(crate) struct IssuerUri {
    text: Box<str>,
    uri: Uri,
    origin: Origin,
    discovery: Arc<dyn Discovery>,
}

/// Gives access to the token endpoint of an issuer, once it is known.
///
/// All edited copies of credentials share it.
///
/// It is a trait object, because credentials may be the keys of a map, and clippy would take the
/// cell for a part of the key. The endpoint is not part of the identity of credentials.
trait Discovery: Send + Sync {
    fn discovered(&self) -> &Mutex<Discovered>;
    /// Allows one fetch of the metadata at a time.
    fn fetch_lock(&self) -> &TakeoverLock;
}

#[derive(Default)]
struct DiscoveryCells {
    discovered: Mutex<Discovered>,
    fetch_lock: TakeoverLock,
}

#[derive(Default)]
struct Discovered {
    endpoint: Option<Arc<EndpointUri>>,
    /// The end of the first fetch of metadata, or the start of a later one.
    fetched_at: Option<Instant>,
}

impl Discovery for DiscoveryCells {
    fn discovered(&self) -> &Mutex<Discovered> {
        &self.discovered
    }

    fn fetch_lock(&self) -> &TakeoverLock {
        &self.fetch_lock
    }
}

impl Server {
    pub(super) fn endpoint(&self) -> Option<Arc<EndpointUri>> {
        match self {
            Self::TokenEndpoint(endpoint) => Some(endpoint.clone()),
            Self::Issuer(issuer) => issuer.endpoint(),
            Self::Custom(_) => None,
        }
    }

    pub(super) fn issuer(&self) -> Option<&str> {
        match self {
            Self::TokenEndpoint(endpoint) => endpoint.issuer(),
            Self::Issuer(issuer) => Some(&issuer.text),
            Self::Custom(_) => None,
        }
    }

    /// Adds the data that distinguishes the server from others.
    pub(super) fn identify(&self, identity: &mut Identity) {
        match self {
            Self::TokenEndpoint(endpoint) => {
                let path = endpoint.uri.path_and_query().map_or("/", |path| path.as_str());
                identity.part("endpoint").part(endpoint.origin.to_string()).part(path);
                // Metadata may name the token endpoint of another issuer. That must not be a way
                // to a token that was requested for the other one.
                match endpoint.issuer() {
                    Some(issuer) => identity.part(issuer),
                    None => identity,
                }
            }
            Self::Issuer(issuer) => identity.part("issuer").part(issuer.text.as_bytes()),
            Self::Custom(name) => identity.part("name").part(name.as_bytes()),
        };
    }
}

impl EndpointUri {
    pub(super) fn parse(text: &str) -> Result<Self, ConfigError> {
        const ENDPOINT: &str = "token endpoint";
        let uri = parse_absolute(text, ENDPOINT)?;
        let origin = Origin::from_uri(&uri).ok_or_else(|| {
            ConfigError::new(ENDPOINT, "needs a scheme and a host").with_url(text)
        })?;
        let text = text.into();
        Ok(Self { uri, text, origin, issuer: None, takes_secret_in_form: false })
    }

    /// Creates the URI of an endpoint that the metadata of `issuer` names.
    pub(crate) fn from_metadata(issuer: &str, text: &str) -> Result<Self, ConfigError> {
        Ok(Self { issuer: Some(issuer.into()), ..Self::parse(text)? })
    }

    /// Says whether the server takes a client secret in the form only.
    pub(crate) fn with_secret_in_form(mut self, takes_secret_in_form: bool) -> Self {
        self.takes_secret_in_form = takes_secret_in_form;
        self
    }

    pub(crate) fn takes_secret_in_form(&self) -> bool {
        self.takes_secret_in_form
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    pub(crate) fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }
}

impl IssuerUri {
    pub(super) fn parse(text: &str) -> Result<Self, ConfigError> {
        const ISSUER: &str = "issuer";
        let uri = parse_absolute(text, ISSUER)?;
        let invalid = |problem| ConfigError::new(ISSUER, problem).with_url(text);
        if text.contains('?') {
            return Err(invalid("must not have a query"));
        }
        let origin = Origin::from_uri(&uri).ok_or_else(|| invalid("needs a scheme and a host"))?;
        let scheme = uri.scheme_str().unwrap_or_default();
        let is_http = ["https", "http"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
        if !is_http || !origin.is_secure() {
            return Err(invalid("must use https or a loopback address"));
        }
        Ok(Self { text: text.into(), uri, origin, discovery: Arc::<DiscoveryCells>::default() })
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Returns the token endpoint, once the metadata has been fetched.
    pub(crate) fn endpoint(&self) -> Option<Arc<EndpointUri>> {
        self.discovery.discovered().lock_unpoisoned().endpoint.clone()
    }

    /// Keeps the token endpoint of the metadata, which have just been fetched.
    pub(crate) fn set_endpoint(&self, endpoint: &Arc<EndpointUri>) {
        let mut discovered = self.discovery.discovered().lock_unpoisoned();
        *discovered =
            Discovered { endpoint: Some(endpoint.clone()), fetched_at: Some(Instant::now()) };
    }

    /// Returns whether the metadata may be fetched again.
    ///
    /// After it has returned `true`, it returns `false` for a minute.
    pub(crate) fn may_fetch_again(&self) -> bool {
        let mut discovered = self.discovery.discovered().lock_unpoisoned();
        let is_over = discovered.fetched_at.is_none_or(|at| at.elapsed() >= MIN_FETCH_INTERVAL);
        if is_over {
            discovered.fetched_at = Some(Instant::now());
        }
        is_over
    }

    /// Returns the lock for fetching the metadata.
    pub(crate) fn fetch_lock(&self) -> &TakeoverLock {
        self.discovery.fetch_lock()
    }
}

/// Shows the server's origin, or the name of a custom source.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TokenEndpoint(endpoint) => endpoint.origin.fmt(f),
            Self::Issuer(issuer) => match issuer.endpoint() {
                Some(endpoint) => endpoint.origin.fmt(f),
                None => issuer.origin.fmt(f),
            },
            Self::Custom(name) => Printable(name).fmt(f),
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
