//! Limits which endpoints may be called, and for how long.

use std::sync::Arc;
use std::time::Duration;

use http::Uri;

use crate::error::{ConfigError, TokenError, TokenErrorKind};
use crate::protocol::origin::{Origin, parse_absolute};
use crate::util::one_or_many::OneOrMany;

pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// The limits of a token endpoint.
#[derive(Clone)]
pub(super) struct EndpointLimits {
    pub(super) timeout: Duration,
    pub(super) allow_http: bool,
    /// `None` allows all.
    allowed: Option<Arc<[AllowedEndpoint]>>,
}

struct AllowedEndpoint {
    origin: Origin,
    path: String,
}

impl Default for EndpointLimits {
    fn default() -> Self {
        Self { timeout: DEFAULT_TIMEOUT, allow_http: false, allowed: None }
    }
}

impl EndpointLimits {
    pub(super) fn allow_only(&mut self, endpoints: impl OneOrMany) -> Result<(), ConfigError> {
        let allowed = endpoints.into_texts().into_iter();
        let allowed = allowed.map(|endpoint| AllowedEndpoint::parse(&endpoint));
        self.allowed = Some(allowed.collect::<Result<_, _>>()?);
        Ok(())
    }

    /// Returns an error if `uri`, whose origin is `origin`, must not be called.
    pub(super) fn check(&self, uri: &Uri, origin: &Origin) -> Result<(), TokenError> {
        if !origin.is_secure() && !self.allow_http {
            return Err(TokenError::new(TokenErrorKind::InsecureUri, ""));
        }
        let path = path_and_query(uri);
        let is_allowed =
            |allowed: &AllowedEndpoint| allowed.origin == *origin && allowed.path == path;
        match &self.allowed {
            Some(allowed) if !allowed.iter().any(is_allowed) => {
                Err(TokenError::new(TokenErrorKind::EndpointNotAllowed, ""))
            }
            _ => Ok(()),
        }
    }
}

impl AllowedEndpoint {
    fn parse(endpoint: &str) -> Result<Self, ConfigError> {
        const SETTING: &str = "allowed endpoint";
        let uri = parse_absolute(endpoint, SETTING)?;
        let origin = Origin::from_uri(&uri)
            .ok_or_else(|| ConfigError::new(SETTING, "needs a host").with_url(endpoint))?;
        Ok(Self { origin, path: path_and_query(&uri).to_owned() })
    }
}

/// Returns the path and the query.
fn path_and_query(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", |path| path.as_str())
}
