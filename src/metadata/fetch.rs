//! Fetches the document from its well-known URI (RFC 8414 section 3, OpenID Connect Discovery 1.0
//! section 4).

use std::time::Duration;

use bytes::Bytes;
use http::header::ACCEPT;
use http::response::Parts;
use http::{HeaderValue, Request, StatusCode, Uri};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};
use tower::ServiceExt;

use super::document::{self, Decoded, Rules};
use super::{Metadata, invalid_issuer};
use crate::error::{ConfigError, TokenError, TokenErrorKind};
use crate::protocol::body;
use crate::protocol::http_client::{self, BoxedBody, BoxedClient, HttpClient};
use crate::protocol::origin::{Origin, parse_absolute};
use crate::util::limits::MAX_LIFETIME;
use crate::util::printable::Printable;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Configures a fetch of [`Metadata`]. [`Metadata::builder`] creates it.
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
    uri: Uri,
    origin: Origin,
    timeout: Duration,
    only: Option<WellKnown>,
    allow_http: bool,
}

/// A document with an issuer's metadata, by its registered name (RFC 8615 section 3.1).
///
/// # Example
///
/// See [`MetadataBuilder`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WellKnown {
    /// `oauth-authorization-server`, before the issuer's path:
    /// `https://host/.well-known/oauth-authorization-server/path` (RFC 8414 section 3.1).
    OauthAuthorizationServer,
    /// `openid-configuration`, after the issuer's path:
    /// `https://host/path/.well-known/openid-configuration` (OpenID Connect Discovery 1.0 section
    /// 4).
    OpenidConfiguration,
}

impl MetadataBuilder {
    pub(super) fn new(issuer: &str) -> Result<Self, ConfigError> {
        const SETTING: &str = "issuer";
        let uri = parse_absolute(issuer, SETTING)?;
        if issuer.contains('?') {
            return Err(ConfigError::new(SETTING, "must not have a query"));
        }
        if !document::is_https(&uri) && !document::is_http(&uri) {
            return Err(ConfigError::new(SETTING, "needs to begin with https://"));
        }
        let origin = Origin::from_uri(&uri).ok_or(ConfigError::new(SETTING, "needs a host"))?;
        let builder = Self {
            issuer: issuer.to_owned(),
            uri,
            origin,
            timeout: DEFAULT_TIMEOUT,
            only: None,
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

    /// Requests only this document.
    #[must_use]
    pub fn well_known(mut self, well_known: WellKnown) -> Self {
        self.only = Some(well_known);
        self
    }

    /// Allows plain HTTP on other machines, for the issuer and for the endpoints in its metadata.
    ///
    /// Anyone on the network path can then decide where client secrets are sent. Use it only in
    /// networks that encrypt below HTTP, such as a service mesh. A
    /// [`TokenEndpoint`](crate::TokenEndpoint::dangerously_allow_http) over plain HTTP needs its
    /// own permission.
    #[must_use]
    pub fn dangerously_allow_http(mut self) -> Self {
        self.allow_http = true;
        self
    }

    /// Fetches the metadata.
    ///
    /// It requests `oauth-authorization-server` first. It requests `openid-configuration` if the
    /// first response is something else: a 4xx other than 408 and 429, a redirect, a page of HTML,
    /// JSON without an `issuer`, or a body without an end. Each is one `GET` request. It follows no
    /// redirect, asks for no compression, and reads at most 1 MiB. The first body gets at most half
    /// of the time that is left, so that there is time for the second document. Configure the HTTP
    /// client to follow no redirects either.
    ///
    /// # Errors
    ///
    /// * [`TokenErrorKind::InsecureUri`] for an issuer that is neither `https` nor loopback, before
    ///   anything is sent.
    /// * [`TokenErrorKind::InvalidMetadata`] for a document whose `issuer` is not exactly the one
    ///   that was asked for, or whose `token_endpoint`, or its alias for mutual TLS, is not an
    ///   absolute URI over TLS or has user information or a fragment. An endpoint on loopback in
    ///   clear text passes if the issuer is on loopback too. Any other invalid member counts as
    ///   absent.
    /// * The kinds of a failed token request. If neither document exists, the error is that of the
    ///   response that is not a 404.
    pub async fn fetch<M>(self, http: impl HttpClient<M>) -> Result<Metadata, TokenError> {
        self.fetch_boxed(http_client::boxed(http)).await
    }

    pub(crate) async fn fetch_boxed(self, http: BoxedClient) -> Result<Metadata, TokenError> {
        let metadata = self.find(http).await.map_err(|error| error.with_issuer(&self.origin))?;
        tracing::debug!(issuer = %Printable(&self.origin), "metadata arrived");
        Ok(metadata)
    }

    async fn find(&self, http: BoxedClient) -> Result<Metadata, TokenError> {
        if !self.origin.is_secure() && !self.allow_http {
            return Err(TokenError::new(TokenErrorKind::InsecureUri, ""));
        }
        if Handle::try_current().is_err() {
            return Err(TokenError::new(TokenErrorKind::NoRuntime, ""));
        }
        let deadline = Instant::now() + self.timeout.min(MAX_LIFETIME);
        if let Some(only) = self.only {
            let (head, body) = self.request(only, http, deadline).await?;
            let body = body::read(head.status, body, deadline).await?;
            return match self.decode(head, &body)? {
                Decoded::Metadata(metadata) => Ok(metadata),
                Decoded::NoDocument(error) => Err(error),
            };
        }
        let first = WellKnown::OauthAuthorizationServer;
        let (head, body) = self.request(first, http.clone(), deadline).await?;
        // A body that does not end must leave time for the second document.
        let nothing = match body::read(head.status, body, body::halfway_to(deadline)).await {
            Ok(body) => match self.decode(head, &body)? {
                Decoded::Metadata(metadata) => return Ok(metadata),
                Decoded::NoDocument(error) => error,
            },
            Err(error) if is_too_long(&error) => error,
            Err(error) => return Err(error),
        };
        let (head, body) = self.request(WellKnown::OpenidConfiguration, http, deadline).await?;
        let body = body::read(head.status, body, deadline).await?;
        match self.decode(head, &body)? {
            Decoded::Metadata(metadata) => Ok(metadata),
            Decoded::NoDocument(other) => Err(match (is_not_found(&nothing), is_not_found(&other)) {
                (true, true) => other.with_note(
                    "the issuer has neither oauth-authorization-server nor openid-configuration",
                ),
                (false, true) => nothing,
                _ => other,
            }),
        }
    }

    /// Requests a document, and returns the response before its body is read.
    async fn request(
        &self,
        which: WellKnown,
        http: BoxedClient,
        deadline: Instant,
    ) -> Result<(Parts, BoxedBody), TokenError> {
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = self.document_uri(which).map_err(invalid_issuer)?;
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        match timeout_at(deadline, http.oneshot(request)).await {
            Ok(Ok(response)) => Ok(response.into_parts()),
            Ok(Err(error)) => Err(TokenError::from_transport(error)),
            Err(elapsed) => Err(TokenError::with_source(TokenErrorKind::Timeout, elapsed.into())),
        }
    }

    fn decode(&self, head: Parts, body: &[u8]) -> Result<Decoded, TokenError> {
        let rules = Rules {
            issuer: &self.issuer,
            issuer_is_loopback: document::is_loopback(&self.uri),
            allow_http: self.allow_http,
        };
        document::decode(head, body, &rules)
    }

    /// Returns the URI of a document.
    ///
    /// Slashes at the end of the issuer's path are removed (RFC 8414 section 3.1).
    fn document_uri(&self, which: WellKnown) -> Result<Uri, ConfigError> {
        let origin = &self.origin;
        let path = self.uri.path().trim_end_matches('/');
        let uri = match which {
            WellKnown::OauthAuthorizationServer => {
                format!("{origin}/.well-known/oauth-authorization-server{path}")
            }
            WellKnown::OpenidConfiguration => {
                format!("{origin}{path}/.well-known/openid-configuration")
            }
        };
        uri.parse().map_err(|_| ConfigError::new("issuer", "is not a valid URI"))
    }
}

/// Returns whether a body had no end within its time or size.
fn is_too_long(error: &TokenError) -> bool {
    matches!(error.kind(), TokenErrorKind::Timeout | TokenErrorKind::ResponseTooLarge)
}

fn is_not_found(error: &TokenError) -> bool {
    error.status() == Some(StatusCode::NOT_FOUND)
}
