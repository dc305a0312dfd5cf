use std::fmt;

/// Says which kind of failure a [`TokenError`](super::TokenError) is.
///
/// # Example
///
/// ```
/// use tower_oauth2::{TokenError, TokenErrorKind};
///
/// /// Returns whether the configuration is wrong.
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
    /// The token request, or the wait for its token, took too long.
    Timeout,
    /// The response ended within its body.
    IncompleteResponse,
    /// The response's body is larger than 1 MiB.
    ResponseTooLarge,
    /// The token endpoint answered with a redirect, which this crate does not follow.
    ///
    /// The error has the response, unless a `reqwest::Client` has followed the redirect.
    Redirect,
    /// The token endpoint answered with an error (RFC 6749 section 5.2).
    ErrorResponse,
    /// The token endpoint answered with success, but not with a JSON object.
    MalformedResponse,
    /// The response has no `access_token`, or one that cannot be sent in a header.
    InvalidAccessToken,
    /// The response has a `token_type` that is not supported (RFC 6749 section 7.1).
    UnsupportedTokenType,
    /// The client could not authenticate: its secret could not be read or cannot be sent.
    ClientAuthentication,
    /// The DPoP proof for a request could not be created (RFC 9449).
    Proof,
    /// The token request, or the request itself, would send a secret in clear text.
    InsecureUri,
    /// The token endpoint is not among the allowed ones.
    EndpointNotAllowed,
    /// The credentials have no token endpoint, because they are only named.
    ///
    /// [`Credentials::named`](crate::Credentials::named) are for custom sources. They were used
    /// with a [`TokenEndpoint`](crate::TokenEndpoint).
    NoTokenEndpoint,
    /// The issuer is not a valid URI for fetching metadata (RFC 8414 section 2).
    InvalidIssuer,
    /// The issuer's metadata is invalid, or belongs to another issuer (RFC 8414 section 3.3).
    InvalidMetadata,
    /// A custom source of tokens, or a layer around it, failed.
    Source,
    /// Each token that arrived was rejected before this caller could use it.
    Rejected,
    /// The token request ended without a result.
    ///
    /// The source of tokens panicked twice in a row, or the caller started two token requests whose
    /// runtime ended.
    Interrupted,
    /// A request names no tokens, and its layer has no default ones.
    NoTokens,
    /// The request names no host, and its tokens are not for all listed origins.
    ///
    /// A URI without a host stands for all origins that the layer lists.
    /// [`Tokens::only_for`](crate::Tokens::only_for) allows the tokens at some of them only.
    /// Nothing is sent.
    UnknownOrigin,
    /// The caller waits for a token outside of a tokio runtime with a timer.
    ///
    /// `Builder::enable_time` enables the timer.
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
                | Self::NoTokenEndpoint
                | Self::Proof
                | Self::InvalidIssuer
                | Self::InvalidMetadata
                | Self::NoTokens
                | Self::UnknownOrigin
        )
    }
}

impl fmt::Display for TokenErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Transport => "the request failed before a response arrived",
            Self::Timeout => "the request timed out",
            Self::IncompleteResponse => "the response is incomplete",
            Self::ResponseTooLarge => "the response is larger than 1 MiB",
            Self::Redirect => "the endpoint redirects, and redirects are not followed",
            Self::ErrorResponse => "the endpoint answered with an error",
            Self::MalformedResponse => "the response is not a JSON object",
            Self::InvalidAccessToken => "the response has no usable access_token",
            Self::UnsupportedTokenType => "the response has a token_type that is not supported",
            Self::ClientAuthentication => "the client could not authenticate",
            Self::Proof => "a DPoP proof could not be created",
            Self::InsecureUri => "the URI must use https or a loopback address",
            Self::EndpointNotAllowed => "this endpoint is not allowed",
            Self::NoTokenEndpoint => "the credentials have no token endpoint",
            Self::InvalidIssuer => "the URL of the issuer is invalid",
            Self::InvalidMetadata => "the metadata is invalid",
            Self::Source => "the source of tokens failed",
            Self::Rejected => "each new token was rejected before it could be used",
            Self::Interrupted => "the token request ended without a result",
            Self::NoTokens => "the request names no tokens, and the layer has none of its own",
            Self::UnknownOrigin => {
                "the URI names no host, and the tokens are for certain hosts only"
            }
            Self::NoRuntime => "a token request needs a tokio runtime with a timer",
        })
    }
}
