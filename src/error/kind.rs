use std::fmt;

/// What kind of failure a [`TokenError`](super::TokenError) is.
///
/// # Example
///
/// ```
/// use tower_oauth2::{TokenError, TokenErrorKind};
///
/// /// Whether somebody has to look at the configuration.
/// fn is_for_the_operator(error: &TokenError) -> bool {
///     matches!(
///         error.kind(),
///         TokenErrorKind::InsecureUri
///             | TokenErrorKind::EndpointNotAllowed
///             | TokenErrorKind::Redirect
///             | TokenErrorKind::UnsupportedTokenType
///     )
/// }
/// # let _ = is_for_the_operator;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenErrorKind {
    /// The HTTP client failed before a response arrived.
    Transport,
    /// It took too long.
    Timeout,
    /// The response broke off in its body.
    IncompleteResponse,
    /// The response's body is larger than 1 MiB.
    ResponseTooLarge,
    /// The token endpoint redirects, which this crate does not follow.
    Redirect,
    /// The token endpoint answered with an error (RFC 6749 section 5.2).
    ErrorResponse,
    /// The token endpoint answered with success, but not with a JSON object.
    MalformedResponse,
    /// The response has no `access_token`, or one that can not be sent.
    InvalidAccessToken,
    /// The response has a `token_type` that this crate does not know how to use (RFC 6749 section
    /// 7.1).
    UnsupportedTokenType,
    /// The client could not prove who it is: its secret could not be had or can not be sent.
    ClientAuthentication,
    /// No proof of possession could be made for a request (RFC 9449).
    Proof,
    /// The token endpoint, or the request itself, would send a secret over the network in clear
    /// text.
    InsecureUri,
    /// The token endpoint is not on the list of those that are allowed.
    EndpointNotAllowed,
    /// The issuer is no URI that can be asked for its metadata (RFC 8414 section 2).
    InvalidIssuer,
    /// The issuer's metadata are wrong, or another issuer's (RFC 8414 section 3.3).
    InvalidMetadata,
    /// A source of tokens of one's own, or a layer on the way to it, failed.
    Source,
    /// Each token that arrived was rejected before this caller could use it.
    Rejected,
    /// The source of tokens panicked twice in a row, or the caller started two token requests whose
    /// runtime ended.
    Interrupted,
    /// The caller has to wait for a token, and is not on a tokio runtime with a timer
    /// (`Builder::enable_time`).
    NoRuntime,
}

impl TokenErrorKind {
    pub(super) fn is_transient(self) -> bool {
        !matches!(
            self,
            Self::Redirect
                | Self::ErrorResponse
                | Self::InvalidAccessToken
                | Self::UnsupportedTokenType
                | Self::InsecureUri
                | Self::EndpointNotAllowed
                | Self::Proof
                | Self::InvalidIssuer
                | Self::InvalidMetadata
        )
    }
}

impl fmt::Display for TokenErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Transport => "the request failed before a response arrived",
            Self::Timeout => "it took too long",
            Self::IncompleteResponse => "the response broke off",
            Self::ResponseTooLarge => "the response is larger than 1 MiB",
            Self::Redirect => "the endpoint redirects, and redirects are not followed",
            Self::ErrorResponse => "the endpoint answered with an error",
            Self::MalformedResponse => "the response is not a JSON object",
            Self::InvalidAccessToken => "the response has no usable access_token",
            Self::UnsupportedTokenType => "the response has a token_type that is not supported",
            Self::ClientAuthentication => "the client could not authenticate",
            Self::Proof => "no proof of possession (DPoP) could be made",
            Self::InsecureUri => "it is neither https nor loopback",
            Self::EndpointNotAllowed => "this endpoint is not allowed",
            Self::InvalidIssuer => "the issuer can not be asked",
            Self::InvalidMetadata => "the metadata can not be used",
            Self::Source => "the source of tokens failed",
            Self::Rejected => "each new token was rejected before it could be used",
            Self::Interrupted => "the token request ended without a result",
            Self::NoRuntime => "a token request needs a tokio runtime with a timer",
        })
    }
}
