//! Finds the token endpoint of credentials that name an issuer (RFC 8414).

use std::sync::Arc;

use http::StatusCode;
use tokio::time::{Instant, timeout_at};

use super::limits::EndpointLimits;
use crate::client_auth::ClientAuthentication;
use crate::credentials::request::TokenRequest;
use crate::credentials::{EndpointUri, IssuerUri};
use crate::error::{TokenError, TokenErrorKind};
use crate::metadata::{Metadata, invalid_issuer};
use crate::protocol::body::halfway_to;
use crate::protocol::http_client::BoxedClient;
use crate::util::liveness::Liveness;
use crate::util::printable::Printable;

/// Finds the token endpoint of a request, and fetches the issuer's metadata if necessary.
///
/// The limits are checked for the issuer before anything is sent, and for the token endpoint.
pub(super) struct Discovery<'a> {
    pub(super) request: &'a TokenRequest,
    pub(super) limits: &'a EndpointLimits,
    pub(super) deadline: Instant,
}

impl Discovery<'_> {
    /// Returns the token endpoint.
    pub(super) async fn endpoint(&self, http: BoxedClient) -> Result<Arc<EndpointUri>, TokenError> {
        let credentials = self.request.credentials();
        let endpoint = match (credentials.endpoint(), credentials.issuer_to_discover()) {
            (Some(endpoint), _) => endpoint,
            (None, Some(issuer)) => {
                self.limits.check(issuer.uri(), issuer.origin())?;
                match timeout_at(self.deadline, self.fetch_once(http, issuer)).await {
                    Ok(found) => found?,
                    Err(elapsed) => {
                        let timeout = TokenErrorKind::Timeout;
                        let error = TokenError::with_source(timeout, elapsed.into());
                        return Err(error.with_issuer(issuer.origin()));
                    }
                }
            }
            (None, None) => return Err(TokenError::new(TokenErrorKind::NoTokenEndpoint, "")),
        };
        self.limits.check(endpoint.uri(), endpoint.origin())?;
        Ok(endpoint)
    }

    /// Returns the token endpoint in the issuer's current metadata, if it has changed.
    ///
    /// `error` is the response of the endpoint `used`. It decides whether the metadata are fetched
    /// again.
    ///
    /// The metadata are fetched again at most once a minute, within half of the time that is left.
    pub(super) async fn changed_endpoint(
        &self,
        http: BoxedClient,
        used: &EndpointUri,
        error: &TokenError,
    ) -> Result<Option<Arc<EndpointUri>>, TokenError> {
        let issuer = self.request.credentials().issuer_to_discover();
        let Some(issuer) = issuer.filter(|_| may_be_outdated(error)) else {
            return Ok(None);
        };
        // The other half of the time is for another token request. If the metadata cannot be
        // fetched, the error of the token endpoint is more helpful.
        let half = Self { deadline: halfway_to(self.deadline), ..*self };
        let found = half.fetch_again(http, issuer, used);
        let found = timeout_at(half.deadline, found).await.unwrap_or(Ok(None))?;
        if let Some(endpoint) = &found {
            self.limits.check(endpoint.uri(), endpoint.origin())?;
            tracing::info!(
                label = self.request.credentials().label_field(),
                "metadata have changed; the token request is sent again"
            );
        }
        Ok(found)
    }

    /// Fetches the metadata, unless another request for the same issuer does so first.
    ///
    /// If the runtime of that other request no longer polls it, this one takes over (C3).
    async fn fetch_once(
        &self,
        http: BoxedClient,
        issuer: &IssuerUri,
    ) -> Result<Arc<EndpointUri>, TokenError> {
        let liveness = Arc::new(Liveness::part_of(self.request.liveness()));
        let _guard = issuer.fetch_lock().acquire(&liveness).await;
        match issuer.endpoint() {
            Some(endpoint) => Ok(endpoint),
            None => liveness.during(self.fetch(http, issuer)).await,
        }
    }

    /// Returns the endpoint in current metadata, if it differs from `used`.
    ///
    /// Fails only if the metadata name an endpoint that must not be called.
    async fn fetch_again(
        &self,
        http: BoxedClient,
        issuer: &IssuerUri,
        used: &EndpointUri,
    ) -> Result<Option<Arc<EndpointUri>>, TokenError> {
        let liveness = Arc::new(Liveness::part_of(self.request.liveness()));
        let _guard = issuer.fetch_lock().acquire(&liveness).await;
        let differs = |endpoint: &Arc<EndpointUri>| **endpoint != *used;
        // Another request may have fetched them while this one waited.
        let known = issuer.endpoint().filter(differs);
        if known.is_some() || !issuer.may_fetch_again() {
            return Ok(known);
        }
        match liveness.during(self.fetch(http, issuer)).await {
            Ok(endpoint) => Ok(Some(endpoint).filter(differs)),
            Err(error) if is_forbidden(&error) => Err(error),
            Err(error) => {
                let label = self.request.credentials().label_field();
                tracing::debug!(
                    label,
                    error = %Printable(error),
                    "metadata could not be fetched again"
                );
                Ok(None)
            }
        }
    }

    /// Fetches the metadata, and keeps the token endpoint if it may be called.
    async fn fetch(
        &self,
        http: BoxedClient,
        issuer: &IssuerUri,
    ) -> Result<Arc<EndpointUri>, TokenError> {
        let builder = Metadata::builder(issuer.text()).map_err(invalid_issuer)?;
        let left = self.deadline.saturating_duration_since(Instant::now());
        let metadata = builder.timeout(left).fetch_boxed(http).await?;
        let auth = self.request.credentials().client_auth();
        let endpoint = metadata.endpoint_for(auth.method()).map_err(|error| {
            TokenError::with_source(TokenErrorKind::InvalidMetadata, error.into())
                .with_issuer(issuer.origin())
        })?;
        // An endpoint that may not be called is not kept, because it would never answer, and
        // nothing would cause a search for another one.
        let checked = self.limits.check(endpoint.uri(), endpoint.origin());
        checked.map_err(|error| error.at(endpoint.origin()))?;
        let endpoint = Arc::new(endpoint);
        issuer.set_endpoint(&endpoint);
        Ok(endpoint)
    }
}

/// Returns whether an endpoint was found that must not be called.
fn is_forbidden(error: &TokenError) -> bool {
    matches!(error.kind(), TokenErrorKind::EndpointNotAllowed | TokenErrorKind::InsecureUri)
}

/// Returns whether a token endpoint answers as if it or its clients had moved.
fn may_be_outdated(error: &TokenError) -> bool {
    error.kind() == TokenErrorKind::ErrorResponse
        && (error.error_code() == Some("invalid_client")
            || matches!(error.status(), Some(StatusCode::NOT_FOUND | StatusCode::GONE)))
}
