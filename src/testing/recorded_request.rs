use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Uri};
use http_body::Body;
use http_body_util::Full;
use tokio::time::Instant;

/// Holds an HTTP request that a [`ScriptedEndpoint`](super::ScriptedEndpoint) received.
///
/// `Debug` shows the method, the host and the path only, because the rest may have secrets.
///
/// # Example
///
/// ```
/// use tower::ServiceExt;
/// use tower_oauth2::testing::{Reply, ScriptedEndpoint};
/// use tower_oauth2::{ClientAuth, Credentials, TokenEndpoint, TokenRequest};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let http = ScriptedEndpoint::in_order([Reply::token("token-1")]);
/// let auth = ClientAuth::client_secret_post("client-id", "s3cr3t");
/// let credentials = Credentials::new("https://auth.test/token", auth)?;
/// TokenEndpoint::new(http.clone()).oneshot(TokenRequest::new(credentials)).await?;
///
/// let request = &http.requests()[0];
/// assert_eq!(request.method(), "POST");
/// assert_eq!(request.uri(), "https://auth.test/token");
/// assert_eq!(request.headers()["accept"], "application/json");
/// assert_eq!(request.parameter("grant_type").as_deref(), Some("client_credentials"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RecordedRequest {
    request: Request<Bytes>,
    received_at: Instant,
}

impl RecordedRequest {
    pub(super) fn new(request: Request<Full<Bytes>>) -> Self {
        Self { request: request.map(bytes_of), received_at: Instant::now() }
    }

    /// Returns the method: `POST` for token requests, `GET` for metadata.
    pub fn method(&self) -> &Method {
        self.request.method()
    }

    /// Returns the URI.
    pub fn uri(&self) -> &Uri {
        self.request.uri()
    }

    /// Returns the headers.
    pub fn headers(&self) -> &HeaderMap {
        self.request.headers()
    }

    /// Returns the body as it was sent.
    pub fn body(&self) -> &Bytes {
        self.request.body()
    }

    /// Returns the first form parameter of this name in the body, decoded.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let mut parameters = form_urlencoded::parse(self.body());
        parameters.find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
    }

    /// Returns all form parameters in the body, decoded and in order.
    ///
    /// Each item is the name and the value.
    pub fn parameters(&self) -> Vec<(String, String)> {
        form_urlencoded::parse(self.body()).into_owned().collect()
    }

    /// Returns when the request was received, on tokio's clock.
    pub fn received_at(&self) -> Instant {
        self.received_at
    }
}

impl fmt::Debug for RecordedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordedRequest")
            .field("method", self.method())
            .field("host", &self.uri().host())
            .field("path", &self.uri().path())
            .finish_non_exhaustive()
    }
}

/// Returns the content of a body that consists of one chunk.
fn bytes_of(mut body: Full<Bytes>) -> Bytes {
    let mut context = Context::from_waker(Waker::noop());
    match Pin::new(&mut body).poll_frame(&mut context) {
        Poll::Ready(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
        _ => Bytes::new(),
    }
}
