use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, Response, StatusCode};

use crate::protocol::challenge;

/// Says which responses reject a token, so that the request is replayed with another one.
///
/// # Example
///
/// ```
/// use tower_oauth2::replay::ReplayPolicy;
///
/// let default = ReplayPolicy::unauthorized();
/// let grpc_too = ReplayPolicy::unauthorized().or(ReplayPolicy::grpc_unauthenticated());
/// let laravel = ReplayPolicy::statuses([401, 419]);
/// let by_header = ReplayPolicy::when(|status, headers| {
///     status == 403 && headers.get("x-reason").is_some_and(|reason| reason == "token-expired")
/// });
/// # let _ = (default, grpc_too, laravel, by_header);
/// ```
#[derive(Clone)]
pub struct ReplayPolicy(Repr);

type IsRejection = dyn Fn(StatusCode, &HeaderMap) -> bool + Send + Sync;

#[derive(Clone)]
enum Repr {
    Unauthorized(Recipient),
    InvalidToken(Recipient),
    GrpcUnauthenticated,
    Statuses(Arc<[u16]>),
    When(Arc<IsRejection>),
    /// At least two policies, none of which is `AnyOf` or `Never`.
    AnyOf(Arc<[ReplayPolicy]>),
    Never,
}

/// Says which party the token is for, and so which status and challenge reject it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recipient {
    /// The API, or a gateway in front of it. It answers with 401.
    Api,
    /// A proxy, which answers with 407.
    Proxy,
    /// Either of them.
    Any,
}

impl Recipient {
    #[inline]
    fn has_rejected(self, status: StatusCode) -> bool {
        match status {
            StatusCode::UNAUTHORIZED => self != Self::Proxy,
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => self != Self::Api,
            _ => false,
        }
    }
}

impl ReplayPolicy {
    /// Matches each 401 (RFC 9110 section 15.5.2). This is the default.
    ///
    /// In a layer whose [header](crate::OAuth2Layer::header_name) is `Proxy-Authorization`, it
    /// matches each 407 instead (RFC 9110 section 15.5.8), because a 401 comes from the API behind
    /// the proxy. For a gateway that answers with 401, use `.or(ReplayPolicy::statuses([401]))`.
    #[doc(alias("401", "407"))]
    pub fn unauthorized() -> Self {
        Self(Repr::Unauthorized(Recipient::Api))
    }

    /// Matches a 401 whose challenge says `invalid_token` (RFC 6750 section 3.1).
    ///
    /// The challenge is one for Bearer or DPoP in `WWW-Authenticate`. Use it for APIs that answer
    /// with 401 for other reasons too. In a layer whose [header](crate::OAuth2Layer::header_name)
    /// is `Proxy-Authorization`, it matches a 407 with such a challenge in `Proxy-Authenticate`
    /// instead.
    #[doc(alias("WWW-Authenticate", "RFC 6750", "401"))]
    pub fn invalid_token() -> Self {
        Self(Repr::InvalidToken(Recipient::Api))
    }

    /// Matches `grpc-status: 16` (`UNAUTHENTICATED`) in the headers.
    ///
    /// A gRPC server sends it there when it refuses a call before it begins.
    pub fn grpc_unauthenticated() -> Self {
        Self(Repr::GrpcUnauthenticated)
    }

    /// Matches each of these statuses.
    pub fn statuses(statuses: impl IntoIterator<Item = u16>) -> Self {
        Self(Repr::Statuses(statuses.into_iter().collect()))
    }

    /// Matches responses for which `is_rejection` returns true.
    ///
    /// The function gets the status and the headers.
    pub fn when(
        is_rejection: impl Fn(StatusCode, &HeaderMap) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self(Repr::When(Arc::new(is_rejection)))
    }

    /// Matches no response.
    ///
    /// No part of a request is kept for a resend, and a token is used until it expires.
    pub fn never() -> Self {
        Self(Repr::Never)
    }

    /// Matches the responses of `other` too.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match (self.0, other.0) {
            (Repr::Never, only) | (only, Repr::Never) => Self(only),
            (one, other) => {
                let parts = |repr| match repr {
                    Repr::AnyOf(policies) => policies.to_vec(),
                    repr => vec![Self(repr)],
                };
                Self(Repr::AnyOf([parts(one), parts(other)].concat().into()))
            }
        }
    }

    /// Returns the policy of a layer whose token is for `recipient`.
    pub(crate) fn for_recipient(self, recipient: Recipient) -> Self {
        Self(match self.0 {
            Repr::Unauthorized(_) => Repr::Unauthorized(recipient),
            Repr::InvalidToken(_) => Repr::InvalidToken(recipient),
            Repr::AnyOf(policies) => {
                let policies = policies.iter().cloned();
                Repr::AnyOf(policies.map(|policy| policy.for_recipient(recipient)).collect())
            }
            repr => repr,
        })
    }

    #[inline]
    pub(crate) fn is_never(&self) -> bool {
        matches!(self.0, Repr::Never)
    }

    #[inline]
    pub(crate) fn is_rejection<B>(&self, response: &Response<B>) -> bool {
        match &self.0 {
            Repr::Unauthorized(recipient) => recipient.has_rejected(response.status()),
            Repr::InvalidToken(recipient) => {
                recipient.has_rejected(response.status())
                    && challenge::says_invalid_token(response.status(), response.headers())
            }
            Repr::GrpcUnauthenticated => {
                response.headers().get("grpc-status").is_some_and(|status| status == "16")
            }
            Repr::Statuses(statuses) => statuses.contains(&response.status().as_u16()),
            Repr::When(is_rejection) => is_rejection(response.status(), response.headers()),
            Repr::AnyOf(policies) => policies.iter().any(|policy| policy.is_rejection(response)),
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
            Repr::Unauthorized(_) => f.write_str("ReplayPolicy::unauthorized()"),
            Repr::InvalidToken(_) => f.write_str("ReplayPolicy::invalid_token()"),
            Repr::GrpcUnauthenticated => f.write_str("ReplayPolicy::grpc_unauthenticated()"),
            Repr::Statuses(statuses) => write!(f, "ReplayPolicy::statuses({statuses:?})"),
            Repr::When(_) => f.write_str("ReplayPolicy::when(..)"),
            Repr::AnyOf(policies) => {
                write!(f, "{:?}", policies[0])?;
                policies[1..].iter().try_for_each(|policy| write!(f, ".or({policy:?})"))
            }
            Repr::Never => f.write_str("ReplayPolicy::never()"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, grpc_status: &'static str) -> Response<()> {
        Response::builder().status(status).header("grpc-status", grpc_status).body(()).unwrap()
    }

    // R7
    #[test]
    fn combined_policies_match_what_each_of_them_matches() {
        let policy = ReplayPolicy::unauthorized()
            .or(ReplayPolicy::grpc_unauthenticated())
            .or(ReplayPolicy::never())
            .or(ReplayPolicy::statuses([419]).or(ReplayPolicy::when(|status, _| status == 440)));
        for (status, grpc_status, is_rejection) in [
            (401, "", true),
            (200, "16", true),
            (419, "", true),
            (440, "", true),
            (403, "7", false),
        ] {
            assert_eq!(policy.is_rejection(&response(status, grpc_status)), is_rejection);
        }
        assert_eq!(
            format!("{policy:?}"),
            "ReplayPolicy::unauthorized().or(ReplayPolicy::grpc_unauthenticated())\
             .or(ReplayPolicy::statuses([419])).or(ReplayPolicy::when(..))"
        );
    }

    #[test]
    fn never_stays_never_only_without_another_policy() {
        let never = ReplayPolicy::never;
        assert!(never().or(never()).is_never());
        assert!(!never().or(ReplayPolicy::unauthorized()).is_never());
        assert!(!ReplayPolicy::unauthorized().or(never()).is_never());
    }
}
