use std::error::Error;
use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Map, Value};
use tokio::time::sleep;
use tower::BoxError;

/// Describes a scripted reply of a [`ScriptedEndpoint`](super::ScriptedEndpoint).
///
/// A reply that cannot be sent, such as one with an invalid status, makes the request fail with a
/// connection error that names the first mistake. `Debug` shows neither headers nor the body.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use tower_oauth2::testing::Reply;
///
/// let replies = [
///     Reply::token("token-1").expires_in(Duration::from_secs(3600)).member("scope", "read"),
///     Reply::error(400, "invalid_grant").description("the user has logged out"),
///     Reply::error(429, "slow_down").header("retry-after", "30"),
///     Reply::response(502, "<html>Bad Gateway</html>").after(Duration::from_secs(5)),
///     Reply::connection_error("connection reset by peer"),
///     Reply::no_response(),
/// ];
/// # let _ = replies;
/// ```
#[derive(Clone)]
#[must_use = "a reply does nothing unless a `ScriptedEndpoint` sends it"]
pub struct Reply {
    outcome: Outcome,
    delay: Duration,
}

#[derive(Clone)]
enum Outcome {
    Response(StatusCode, HeaderMap, ReplyBody),
    ConnectionError(ScriptedError),
    NoResponse,
    /// The text of the first mistake in the script.
    Mistake(String),
}

/// Shares one scripted error between all requests that get a clone of its reply.
#[derive(Clone, Debug)]
struct ScriptedError(Arc<BoxError>);

#[derive(Clone)]
enum ReplyBody {
    Json(Map<String, Value>),
    Raw(Bytes),
}

impl Reply {
    /// Creates a response with a Bearer token and without a lifetime (RFC 6749 section 5.1).
    ///
    /// Add a lifetime with [`expires_in`](Self::expires_in), and a scope, a refresh token and other
    /// members with [`member`](Self::member).
    pub fn token(access_token: impl Into<String>) -> Self {
        Self::json(StatusCode::OK)
            .member("access_token", access_token.into())
            .member("token_type", "Bearer")
    }

    /// Creates an error response with this status and error code (RFC 6749 section 5.2).
    pub fn error(status: u16, code: impl Into<String>) -> Self {
        match StatusCode::from_u16(status) {
            Ok(status) => Self::json(status).member("error", code.into()),
            Err(error) => Self::mistake(format_args!("the status {status} is invalid: {error}")),
        }
    }

    /// Creates a response with this status and body, and without headers.
    pub fn response(status: u16, body: impl Into<Bytes>) -> Self {
        match StatusCode::from_u16(status) {
            Ok(status) => {
                Self::new(Outcome::Response(status, HeaderMap::new(), ReplyBody::Raw(body.into())))
            }
            Err(error) => Self::mistake(format_args!("the status {status} is invalid: {error}")),
        }
    }

    /// Creates a failure of the connection: the request fails with this error, without a response.
    ///
    /// The error that the client returns has the same text and causes, and another type.
    ///
    /// # Example
    ///
    /// ```
    /// use std::io;
    /// use tower_oauth2::testing::Reply;
    ///
    /// let refused = Reply::connection_error(io::Error::from(io::ErrorKind::ConnectionRefused));
    /// let reset = Reply::connection_error("connection reset by peer");
    /// # let _ = (refused, reset);
    /// ```
    pub fn connection_error(error: impl Into<BoxError>) -> Self {
        Self::new(Outcome::ConnectionError(ScriptedError(Arc::new(error.into()))))
    }

    /// Creates a reply that never comes.
    pub fn no_response() -> Self {
        Self::new(Outcome::NoResponse)
    }

    /// Sets `expires_in`, in seconds (RFC 6749 section 5.1).
    ///
    /// A duration that is not a whole number of seconds is sent as a fraction.
    pub fn expires_in(self, expires_in: Duration) -> Self {
        if expires_in.subsec_nanos() == 0 {
            self.member("expires_in", expires_in.as_secs())
        } else {
            self.member("expires_in", expires_in.as_secs_f64())
        }
    }

    /// Sets `error_description` (RFC 6749 section 5.2).
    pub fn description(self, description: impl Into<String>) -> Self {
        self.member("error_description", description.into())
    }

    /// Sets a member of the JSON object of a [`token`](Self::token) or [`error`](Self::error).
    pub fn member(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        match &mut self.outcome {
            Outcome::Response(_, _, ReplyBody::Json(members)) => {
                members.insert(name.into(), value.into());
                self
            }
            Outcome::Mistake(_) => self,
            _ => Self::mistake("only a token or error response has members"),
        }
    }

    /// Sets a header of the response.
    ///
    /// It replaces an earlier header of the same name.
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName, Error: Into<http::Error>>,
        V: TryInto<HeaderValue, Error: Into<http::Error>>,
    {
        let headers = match &mut self.outcome {
            Outcome::Response(_, headers, _) => headers,
            Outcome::Mistake(_) => return self,
            _ => return Self::mistake("only a response has headers"),
        };
        match (name.try_into().map_err(Into::into), value.try_into().map_err(Into::into)) {
            (Ok(name), Ok(value)) => {
                headers.insert(name, value);
                self
            }
            (Err(error), _) | (_, Err(error)) => {
                Self::mistake(format_args!("a header is invalid: {error}"))
            }
        }
    }

    /// Sets how long after the request the reply comes, on tokio's clock.
    ///
    /// By default, it comes at once.
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Creates a JSON response without members.
    fn json(status: StatusCode) -> Self {
        // RFC 6749 section 5.1 requires both headers of a token response.
        let headers = HeaderMap::from_iter([
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ]);
        Self::new(Outcome::Response(status, headers, ReplyBody::Json(Map::new())))
    }

    /// Creates a reply that makes the request fail, because the script has a mistake.
    fn mistake(text: impl fmt::Display) -> Self {
        Self::new(Outcome::Mistake(format!("the scripted reply cannot be sent: {text}")))
    }

    fn new(outcome: Outcome) -> Self {
        Self { outcome, delay: Duration::ZERO }
    }

    /// Waits, and then responds.
    pub(super) async fn send(self) -> Result<Response<Full<Bytes>>, BoxError> {
        if !self.delay.is_zero() {
            sleep(self.delay).await;
        }
        match self.outcome {
            Outcome::Response(status, headers, body) => {
                let mut response = Response::new(Full::new(body.into_bytes()));
                *response.status_mut() = status;
                *response.headers_mut() = headers;
                Ok(response)
            }
            Outcome::ConnectionError(error) => Err(error.into()),
            Outcome::NoResponse => pending().await,
            Outcome::Mistake(text) => Err(text.into()),
        }
    }
}

impl ReplyBody {
    fn into_bytes(self) -> Bytes {
        match self {
            Self::Json(members) => Value::Object(members).to_string().into(),
            Self::Raw(bytes) => bytes,
        }
    }
}

impl fmt::Display for ScriptedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for ScriptedError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut output = f.debug_struct("Reply");
        match &self.outcome {
            Outcome::Response(status, ..) => output.field("status", status),
            Outcome::ConnectionError(error) => output.field("connection_error", &error.0),
            Outcome::NoResponse => output.field("no_response", &true),
            Outcome::Mistake(text) => output.field("mistake", text),
        };
        output.field("delay", &self.delay).finish_non_exhaustive()
    }
}
