//! Fetches the document from its well-known URI.
//!
//! RFC 8414 section 3 and OpenID Connect Discovery 1.0 section 4 define the URIs.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::response::Parts;
use http::{Request, StatusCode, Uri};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};
use tower::ServiceExt;

use super::document::{self, Decoded, Rules};
use super::{Metadata, invalid_issuer};
use crate::error::{ConfigError, TokenError, TokenErrorKind};
use crate::protocol::http_client::{self, BoxedBody, BoxedClient, HttpClient};
use crate::protocol::origin::{Origin, parse_absolute};
use crate::protocol::request_secrets::RequestSecrets;
use crate::protocol::{body, headers};
use crate::util::limits::MAX_LIFETIME;
use crate::util::printable::Printable;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Configures and runs a fetch of [`Metadata`].
///
/// [`Metadata::builder`] creates it.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use tower_oauth2::metadata::{Metadata, WellKnown};
///
/// let builder = Metadata::builder("https://login.example.com/tenant/v2.0")?
///     .well_known(WellKnown::OpenidConfiguration)
///     .timeout(Duration::from_secs(5));
/// # let _ = builder;
/// assert!(Metadata::builder("https://login.example.com/?tenant=1").is_err());
/// # Ok::<(), tower_oauth2::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct MetadataBuilder {
    issuer: String,
    /// The issuer as an address.
    address: Address,
    timeout: Duration,
    only: Option<WellKnown>,
    /// The address of the document, instead of the well-known ones.
    document: Option<Address>,
    allow_http: bool,
}

#[derive(Clone)]
struct Address {
    uri: Uri,
    origin: Origin,
}

/// Shows the origin, because a query may be a secret.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.origin.fmt(f)
    }
}

impl Address {
    fn parse(text: &str, setting: &'static str) -> Result<Self, ConfigError> {
        let uri = parse_absolute(text, setting)?;
        let invalid = |problem| ConfigError::new(setting, problem).with_url(text);
        if !document::is_https(&uri) && !document::is_http(&uri) {
            return Err(invalid("must begin with https://"));
        }
        let origin = Origin::from_uri(&uri).ok_or_else(|| invalid("needs a host"))?;
        Ok(Self { uri, origin })
    }
}

/// Names a well-known document with an issuer's metadata (RFC 8615 section 3.1).
///
/// # Example
///
/// See [`MetadataBuilder`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WellKnown {
    /// Names `oauth-authorization-server`, before the issuer's path (RFC 8414 section 3.1).
    ///
    /// The address is `https://host/.well-known/oauth-authorization-server/path`.
    OauthAuthorizationServer,
    /// Names `openid-configuration`, after the issuer's path.
    ///
    /// The address is `https://host/path/.well-known/openid-configuration` (OpenID Connect
    /// Discovery 1.0 section 4).
    OpenidConfiguration,
}

impl MetadataBuilder {
    pub(super) fn new(issuer: &str) -> Result<Self, ConfigError> {
        const SETTING: &str = "issuer";
        // The fault of a query is reported before that of another scheme.
        parse_absolute(issuer, SETTING)?;
        if issuer.contains('?') {
            return Err(ConfigError::new(SETTING, "must not have a query").with_url(issuer));
        }
        let builder = Self {
            issuer: issuer.to_owned(),
            address: Address::parse(issuer, SETTING)?,
            timeout: DEFAULT_TIMEOUT,
            only: None,
            document: None,
            allow_http: false,
        };
        // The issuer may be so long that no path can be added.
        builder.document_uri(WellKnown::OauthAuthorizationServer)?;
        builder.document_uri(WellKnown::OpenidConfiguration)?;
        Ok(builder)
    }

    /// Sets the time limit for the whole fetch, with both documents.
    ///
    /// The default is 30 seconds. The maximum is a year.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Requests the document at this address instead of the well-known ones.
    ///
    /// Use it if the server has an internal address beside its public issuer, such as that of a
    /// service in Kubernetes. The document must still name exactly the issuer. The setting
    /// [`well_known`](Self::well_known) has no effect then.
    ///
    /// The connection to that address decides where client secrets are sent, so plain HTTP needs
    /// [`dangerously_allow_http`](Self::dangerously_allow_http) unless the address is on loopback.
    ///
    /// # Errors
    ///
    /// Returns an error if the address is not an absolute `https` or `http` URI, or has user
    /// information or a fragment.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_oauth2::metadata::Metadata;
    ///
    /// let builder = Metadata::builder("https://sso.example.com/realms/main")?.document(
    ///     "https://keycloak.sso.svc:8443/realms/main/.well-known/openid-configuration",
    /// )?;
    /// # let _ = builder;
    /// # Ok::<(), tower_oauth2::ConfigError>(())
    /// ```
    pub fn document(mut self, address: impl AsRef<str>) -> Result<Self, ConfigError> {
        self.document = Some(Address::parse(address.as_ref(), "metadata document")?);
        Ok(self)
    }

    /// Requests only this document.
    #[must_use]
    pub fn well_known(mut self, well_known: WellKnown) -> Self {
        self.only = Some(well_known);
        self
    }

    /// Allows plain HTTP for the issuer, the document and the endpoints it names.
    ///
    /// Loopback addresses need no permission. On other machines, anyone on the network path can
    /// then decide where client secrets are sent. Use it only in networks that encrypt below HTTP,
    /// such as a service mesh. A [`TokenEndpoint`](crate::TokenEndpoint::dangerously_allow_http)
    /// over plain HTTP needs its own permission.
    #[must_use]
    pub fn dangerously_allow_http(mut self) -> Self {
        self.allow_http = true;
        self
    }

    /// Fetches the metadata.
    ///
    /// It requests `oauth-authorization-server` first. It requests `openid-configuration` if the
    /// first response is no metadata: a 4xx, a 5xx, a redirect, a page of HTML, JSON without an
    /// `issuer`, a body that breaks off or has no end, or no response in time. Each is one `GET`
    /// request. It follows no redirect, requests no compression, and reads at most 1 MiB. The first
    /// document gets at most half of the time, so that there is time for the second one. Configure
    /// the HTTP client to follow no redirects either.
    ///
    /// A 429 counts too, because gateways limit the requests to paths that they do not know. A
    /// server that limits all requests gets one more.
    ///
    /// # Errors
    ///
    /// * [`TokenErrorKind::InsecureUri`] for an issuer, or the address of a
    ///   [document](Self::document), that is neither `https` nor loopback, before anything is sent.
    /// * [`TokenErrorKind::InvalidMetadata`] for a document whose `issuer` is not exactly the
    ///   requested one, or whose `token_endpoint`, or its alias for mutual TLS, is not an
    ///   absolute URI over TLS or has user information or a fragment. An endpoint on loopback in
    ///   clear text passes if the document is on loopback too. The text shows the issuer that was
    ///   found, without user information, query and fragment. Other malformed members are
    ///   ignored.
    /// * The kinds that a token request ends with. If neither document is available, the error is
    ///   that of the first one, unless it is a 404.
    pub async fn fetch<M>(self, http: impl HttpClient<M>) -> Result<Metadata, TokenError> {
        self.fetch_boxed(http_client::boxed(http)).await
    }

    pub(crate) async fn fetch_boxed(self, http: BoxedClient) -> Result<Metadata, TokenError> {
        let metadata =
            self.find(http).await.map_err(|error| error.with_issuer(&self.asked().origin))?;
        tracing::debug!(issuer = %Printable(&self.asked().origin), "metadata arrived");
        Ok(metadata)
    }

    /// Returns the address of the server that receives the requests.
    fn asked(&self) -> &Address {
        self.document.as_ref().unwrap_or(&self.address)
    }

    async fn find(&self, http: BoxedClient) -> Result<Metadata, TokenError> {
        if !self.asked().origin.is_secure() && !self.allow_http {
            return Err(TokenError::new(TokenErrorKind::InsecureUri, ""));
        }
        if Handle::try_current().is_err() {
            return Err(TokenError::new(TokenErrorKind::NoRuntime, ""));
        }
        let deadline = Instant::now() + self.timeout.min(MAX_LIFETIME);
        let only = match (&self.document, self.only) {
            (Some(document), _) => Some(document.uri.clone()),
            (None, Some(only)) => Some(self.document_uri(only).map_err(invalid_issuer)?),
            (None, None) => None,
        };
        if let Some(only) = only {
            return match self.fetch_document(only, http, deadline).await? {
                Decoded::Metadata(metadata) => Ok(metadata),
                Decoded::NoDocument(error) => Err(error),
            };
        }
        let both = [WellKnown::OauthAuthorizationServer, WellKnown::OpenidConfiguration];
        let [first, second] = both.map(|which| self.document_uri(which).map_err(invalid_issuer));
        // A response that does not end must leave time for the second document.
        let first = self.fetch_document(first?, http.clone(), body::halfway_to(deadline)).await?;
        let first = match first {
            Decoded::Metadata(metadata) => return Ok(metadata),
            Decoded::NoDocument(error) => error,
        };
        let second = self.fetch_document(second?, http, deadline).await;
        let second = match second {
            Ok(Decoded::Metadata(metadata)) => return Ok(metadata),
            Ok(Decoded::NoDocument(error)) => error,
            // The document exists, so its error is more helpful.
            Err(error) if error.kind() == TokenErrorKind::InvalidMetadata => return Err(error),
            Err(error) => error,
        };
        Err(match (is_not_found(&first), is_not_found(&second)) {
            (true, true) => second.with_note(
                "the issuer has neither oauth-authorization-server nor openid-configuration",
            ),
            (true, false) => second,
            (false, _) => first,
        })
    }

    /// Requests a document and decodes the response.
    ///
    /// Returns an error if the other document need not be requested.
    async fn fetch_document(
        &self,
        uri: Uri,
        http: BoxedClient,
        deadline: Instant,
    ) -> Result<Decoded, TokenError> {
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = uri;
        headers::set_defaults(request.headers_mut());
        let secrets = RequestSecrets::of(&request);
        let response = async {
            let (head, body) = send(request, http, deadline).await?;
            let body = body::read(head.status, body, deadline).await?;
            Ok((head, body))
        };
        let response = response.await;
        match response.map_err(|error: TokenError| error.with_causes(|text| secrets.scrub(text))) {
            Ok((head, body)) => self.decode(head, &body),
            Err(error) if is_no_response(&error) => Ok(Decoded::NoDocument(error)),
            Err(error) => Err(error),
        }
    }

    fn decode(&self, head: Parts, body: &[u8]) -> Result<Decoded, TokenError> {
        let rules = Rules {
            issuer: &self.issuer,
            is_from_loopback: document::is_loopback(&self.asked().uri),
            allow_http: self.allow_http,
        };
        document::decode(head, body, &rules)
    }

    /// Returns the URI of a document.
    ///
    /// Slashes at the end of the issuer's path are removed (RFC 8414 section 3.1).
    fn document_uri(&self, which: WellKnown) -> Result<Uri, ConfigError> {
        let Address { origin, uri } = &self.address;
        let path = uri.path().trim_end_matches('/');
        let uri = match which {
            WellKnown::OauthAuthorizationServer => {
                format!("{origin}/.well-known/oauth-authorization-server{path}")
            }
            WellKnown::OpenidConfiguration => {
                format!("{origin}{path}/.well-known/openid-configuration")
            }
        };
        let too_long =
            |_| ConfigError::new("issuer", "is too long for a URI").with_url(&self.issuer);
        uri.parse().map_err(too_long)
    }
}

/// Returns the response before its body is read.
async fn send(
    request: Request<Bytes>,
    http: BoxedClient,
    deadline: Instant,
) -> Result<(Parts, BoxedBody), TokenError> {
    match timeout_at(deadline, http.oneshot(request)).await {
        Ok(Ok(response)) => Ok(response.into_parts()),
        Ok(Err(error)) => Err(TokenError::from_transport(error)),
        Err(elapsed) => Err(TokenError::with_source(TokenErrorKind::Timeout, elapsed.into())),
    }
}

/// Returns whether no complete response of the server arrived.
///
/// The response was late, too large or incomplete, or it was that of a redirect's target.
///
/// Another location of the same server may answer. Without a connection, it does not.
fn is_no_response(error: &TokenError) -> bool {
    use TokenErrorKind::{IncompleteResponse, Redirect, ResponseTooLarge, Timeout};

    matches!(error.kind(), Timeout | ResponseTooLarge | IncompleteResponse | Redirect)
}

fn is_not_found(error: &TokenError) -> bool {
    error.status() == Some(StatusCode::NOT_FOUND)
}
