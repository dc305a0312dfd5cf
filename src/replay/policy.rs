use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, Response, StatusCode};

use crate::protocol::challenge;

/// Which responses say that the token was rejected, so that the request is sent once more with
/// another one.
///
/// # Example
///
/// ```
/// use tower_oauth2::replay::ReplayPolicy;
///
/// let default = ReplayPolicy::unauthorized();
/// let laravel = ReplayPolicy::statuses([401, 419]);
/// let by_header = ReplayPolicy::when(|status, headers| {
///     status == 403 && headers.get("x-reason").is_some_and(|reason| reason == "token-expired")
/// });
/// # let _ = (default, laravel, by_header);
/// ```
#[derive(Clone)]
pub struct ReplayPolicy(Repr);

type IsRejection = dyn Fn(StatusCode, &HeaderMap) -> bool + Send + Sync;

#[derive(Clone)]
enum Repr {
    Unauthorized,
    InvalidToken,
    GrpcUnauthenticated,
    Statuses(Arc<[u16]>),
    When(Arc<IsRejection>),
    Never,
}

impl ReplayPolicy {
    /// Any 401 (RFC 9110 section 15.5.2). The default.
    pub fn unauthorized() -> Self {
        Self(Repr::Unauthorized)
    }

    /// A 401 with a Bearer or DPoP challenge that says `invalid_token`: expired, revoked or malformed (RFC 6750
    /// section 3.1). For APIs that answer 401 for other reasons too.
    pub fn invalid_token() -> Self {
        Self(Repr::InvalidToken)
    }

    /// `grpc-status: 16` (`UNAUTHENTICATED`) in the headers, as a gRPC server sends it that refuses a
    /// call before it begins.
    pub fn grpc_unauthenticated() -> Self {
        Self(Repr::GrpcUnauthenticated)
    }

    /// Any of these statuses.
    pub fn statuses(statuses: impl IntoIterator<Item = u16>) -> Self {
        Self(Repr::Statuses(statuses.into_iter().collect()))
    }

    /// Whatever `is_rejection` finds in status and headers.
    pub fn when(
        is_rejection: impl Fn(StatusCode, &HeaderMap) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self(Repr::When(Arc::new(is_rejection)))
    }

    /// None: every response is returned, and a token lives until it expires. Nothing of a request
    /// is kept.
    pub fn never() -> Self {
        Self(Repr::Never)
    }

    #[inline]
    pub(crate) fn is_never(&self) -> bool {
        matches!(self.0, Repr::Never)
    }

    #[inline]
    pub(crate) fn is_rejection<B>(&self, response: &Response<B>) -> bool {
        match &self.0 {
            Repr::Unauthorized => response.status() == StatusCode::UNAUTHORIZED,
            Repr::InvalidToken => {
                response.status() == StatusCode::UNAUTHORIZED
                    && challenge::says_invalid_token(response.headers())
            }
            Repr::GrpcUnauthenticated => {
                response.headers().get("grpc-status").is_some_and(|status| status == "16")
            }
            Repr::Statuses(statuses) => statuses.contains(&response.status().as_u16()),
            Repr::When(is_rejection) => is_rejection(response.status(), response.headers()),
            Repr::Never => false,
        }
    }
}

impl Default for ReplayPolicy {
    fn default() -> Self {
        Self::unauthorized()
    }
}

impl fmt::Debug for ReplayPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Unauthorized => f.write_str("ReplayPolicy::unauthorized()"),
            Repr::InvalidToken => f.write_str("ReplayPolicy::invalid_token()"),
            Repr::GrpcUnauthenticated => f.write_str("ReplayPolicy::grpc_unauthenticated()"),
            Repr::Statuses(statuses) => write!(f, "ReplayPolicy::statuses({statuses:?})"),
            Repr::When(_) => f.write_str("ReplayPolicy::when(..)"),
            Repr::Never => f.write_str("ReplayPolicy::never()"),
        }
    }
}
