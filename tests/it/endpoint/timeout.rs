use std::convert::Infallible;
use std::future::{Pending, pending};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::Full;
use tokio::time::{Instant, sleep, timeout};
use tower::{BoxError, Service, ServiceExt, service_fn};
use tower_oauth2::client_auth::{ClientAuthentication, Identity, TokenRequestParts};
use tower_oauth2::{
    AccessToken, ClientAuth, Credentials, TokenError, TokenErrorKind, TokenRequest,
};

use crate::support::*;

type Outcome = Result<AccessToken, TokenError>;
type Attempt = Pin<Box<dyn Future<Output = Outcome>>>;

/// A body that yields one byte a second, without an end.
struct Trickle(Pin<Box<tokio::time::Sleep>>);

impl Trickle {
    fn new() -> Self {
        Self(Box::pin(sleep(Duration::from_secs(1))))
    }
}

impl Body for Trickle {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        std::task::ready!(self.0.as_mut().poll(cx));
        *self = Self::new();
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b" ")))))
    }
}

/// A client that never becomes ready.
#[derive(Clone)]
struct NeverReady;

impl Service<Request<Full<Bytes>>> for NeverReady {
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = Pending<Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Pending
    }

    fn call(&mut self, _request: Request<Full<Bytes>>) -> Self::Future {
        panic!("called before it was ready");
    }
}

/// Client authentication that never completes.
struct NeverProves;

impl ClientAuthentication for NeverProves {
    fn method(&self) -> &str {
        "never"
    }

    fn identify(&self, _: &mut Identity) {}

    async fn authenticate(&self, _request: &mut TokenRequestParts) -> Result<(), BoxError> {
        pending().await
    }
}

async fn request_token<H, B>(
    http: H,
    timeout: Option<Duration>,
    credentials: Credentials,
) -> Outcome
where
    H: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + 'static,
    H::Error: Into<BoxError>,
    H::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let endpoint = single_try(http);
    let endpoint = match timeout {
        Some(timeout) => endpoint.timeout(timeout),
        None => endpoint,
    };
    endpoint.oneshot(TokenRequest::new(credentials)).await
}

/// Tests each part of a token request that may never complete.
async fn time_out(set: Option<Duration>, expected: Duration) {
    let silent = service_fn(|_| pending::<Result<Response<Full<Bytes>>, BoxError>>());
    let endless = service_fn(|_| async { Ok::<_, BoxError>(Response::new(Trickle::new())) });
    let good = scripted(|_| Ok(Response::new(Full::from(r#"{"access_token":"t"}"#))));
    let never_proves =
        Credentials::new("https://auth.test/token", ClientAuth::custom(NeverProves)).unwrap();
    let kind = TokenErrorKind::Timeout;
    let attempts: [(&str, TokenErrorKind, Attempt); 4] = [
        ("no response", kind, Box::pin(request_token(silent, set, credentials()))),
        ("no end", kind, Box::pin(request_token(endless, set, credentials()))),
        ("never ready", kind, Box::pin(request_token(NeverReady, set, credentials()))),
        // W9: the endpoint got no request.
        (
            "no proof",
            TokenErrorKind::ClientAuthentication,
            Box::pin(request_token(good, set, never_proves)),
        ),
    ];
    for (name, kind, attempt) in attempts {
        let start = Instant::now();
        let ended = timeout(Duration::from_secs(24 * 60 * 60), attempt).await.expect(name);
        let error = ended.expect_err(name);
        let waited = start.elapsed();
        assert_eq!(error.kind(), kind, "{name}");
        assert!(error.is_transient());
        // The clock of tokio counts whole milliseconds.
        let latest = expected + Duration::from_millis(2);
        assert!((expected..=latest).contains(&waited), "{name}: {waited:?}");
    }
}

// W7, alf 4
#[tokio::test(start_paused = true)]
async fn a_token_request_takes_at_most_30_seconds_by_default() {
    time_out(None, Duration::from_secs(30)).await;
}

// W7, alf 4
#[tokio::test(start_paused = true)]
async fn a_token_request_takes_at_most_the_timeout() {
    time_out(Some(Duration::from_millis(250)), Duration::from_millis(250)).await;
    time_out(Some(Duration::from_secs(90)), Duration::from_secs(90)).await;
}

// W7
#[tokio::test(start_paused = true)]
async fn a_response_within_the_timeout_is_used() {
    let slow = service_fn(|_| async {
        sleep(Duration::from_secs(29)).await;
        Ok::<_, BoxError>(Response::new(Full::<Bytes>::from(
            r#"{"access_token":"t","expires_in":100}"#,
        )))
    });
    let token = request_token(slow, None, credentials()).await.unwrap();
    assert_eq!(token.secret(), "t");
    // C5: the lifetime began with the request.
    assert_eq!(token.time_left(), Some(Duration::from_secs(71)));
}

// W7
#[tokio::test(start_paused = true)]
async fn the_body_of_an_error_takes_at_most_half_of_the_timeout() {
    let endless = service_fn(|_| async {
        let mut response = Response::new(Trickle::new());
        *response.status_mut() = http::StatusCode::BAD_REQUEST;
        Ok::<_, BoxError>(response)
    });
    let start = Instant::now();
    let error = request_token(endless, None, credentials()).await.unwrap_err();
    assert_eq!(error.status().unwrap(), 400);
    assert!(start.elapsed() <= Duration::from_secs(16), "{:?}", start.elapsed());
}

/// A body that always has an empty frame, and never an end.
struct EmptyFrames;

impl Body for EmptyFrames {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::new()))))
    }
}

// W7: frames that are always ready must keep neither other tasks nor the timer from running.
#[tokio::test(start_paused = true)]
async fn a_response_of_empty_frames_without_end_times_out() {
    for status in [200, 400] {
        let http = service_fn(move |_: Request<Full<Bytes>>| async move {
            Ok::<_, BoxError>(Response::builder().status(status).body(EmptyFrames).unwrap())
        });
        let request = TokenRequest::new(credentials());
        let asked = tokio::spawn(single_try(http).oneshot(request));
        settle().await;
        tokio::time::advance(secs(31)).await;
        let error = asked.await.unwrap().unwrap_err();
        let expected =
            if status == 200 { TokenErrorKind::Timeout } else { TokenErrorKind::ErrorResponse };
        assert_eq!(error.kind(), expected);
    }
}
