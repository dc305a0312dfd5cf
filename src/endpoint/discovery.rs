//! Finds the token endpoint of credentials that name an issuer (RFC 8414).

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::limits::EndpointLimits;
use crate::credentials::request::TokenRequest;
use crate::credentials::{EndpointUri, IssuerUri};
use crate::error::{TokenError, TokenErrorKind};
use crate::metadata::{Metadata, invalid_issuer};
use crate::protocol::http_client::BoxedClient;
use crate::util::liveness::Liveness;

/// Returns the token endpoint for a request within `limit`, and fetches the issuer's metadata if
/// necessary.
///
/// The limits are checked for the issuer before anything is sent, and for the token endpoint.
pub(super) async fn discover<'a>(
    http: BoxedClient,
    request: &'a TokenRequest,
    limit: Duration,
    limits: &EndpointLimits,
) -> Result<&'a EndpointUri, TokenError> {
    let credentials = request.credentials();
    let endpoint = match (credentials.endpoint(), credentials.issuer_to_discover()) {
        (Some(endpoint), _) => endpoint,
        (None, Some(issuer)) => {
            limits.check(issuer.uri(), issuer.origin())?;
            let found = fetch_once(http, request, issuer, Instant::now() + limit);
            match timeout(limit, found).await {
                Ok(found) => found?,
                Err(elapsed) => {
                    let error = TokenError::with_source(TokenErrorKind::Timeout, elapsed.into());
                    return Err(error.with_issuer(issuer.origin()));
                }
            }
        }
        (None, None) => return Err(TokenError::new(TokenErrorKind::NoTokenEndpoint, "")),
    };
    limits.check(endpoint.uri(), endpoint.origin())?;
    Ok(endpoint)
}

/// Fetches the metadata, unless another request for the same issuer does so first.
///
/// If the runtime of that other request no longer polls it, this one takes over (C3).
async fn fetch_once<'a>(
    http: BoxedClient,
    request: &TokenRequest,
    issuer: &'a IssuerUri,
    deadline: Instant,
) -> Result<&'a EndpointUri, TokenError> {
    let liveness = Arc::new(Liveness::part_of(request.liveness()));
    let _guard = issuer.fetch_lock().acquire(&liveness).await;
    if let Some(endpoint) = issuer.endpoint() {
        return Ok(endpoint);
    }
    let auth = request.credentials().client_auth();
    let fetch = async {
        let builder = Metadata::builder(issuer.text()).map_err(invalid_issuer)?;
        let left = deadline.saturating_duration_since(Instant::now());
        let metadata = builder.timeout(left).fetch_boxed(http).await?;
        metadata.endpoint_for(auth).map_err(|error| {
            TokenError::with_source(TokenErrorKind::InvalidMetadata, error.into())
                .with_issuer(issuer.origin())
        })
    };
    Ok(issuer.set_endpoint(liveness.during(fetch).await?))
}
