use std::convert::Infallible;
use std::future::pending;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Request;
use http_body::{Body, Frame};
use http_body_util::Either;
use tokio::time::{Instant, Sleep, sleep, timeout};
use tower::limit::ConcurrencyLimit;
use tower::{BoxError, service_fn};
use tower_oauth2::TokenErrorKind::{NoRuntime, Timeout};
use tower_oauth2::metadata::{MetadataBuilder, WellKnown};

use super::*;

type Answer = Result<Response<Full<Bytes>>, BoxError>;

async fn times_out_after(set: Option<Duration>, expected: Duration) {
    // Each document may be slow, in its head or in its body.
    let silent = service_fn(|_| pending::<Answer>());
    let slow_both = service_fn(|_| async {
        sleep(Duration::from_secs(20)).await;
        Answer::Ok(answer(404, ""))
    });
    let endless = service_fn(|_| async {
        Ok::<_, BoxError>(Response::new(Endless(Box::pin(sleep(Duration::ZERO)))))
    });
    let builder = || {
        let builder = Metadata::builder(ISSUER).unwrap();
        match set {
            Some(set) => builder.timeout(set),
            None => builder,
        }
    };
    for attempt in [
        Box::pin(builder().fetch(silent)) as Pin<Box<dyn Future<Output = _>>>,
        Box::pin(builder().fetch(slow_both)),
        Box::pin(builder().fetch(endless)),
    ] {
        let start = Instant::now();
        let error: TokenError =
            timeout(Duration::from_secs(86_400), attempt).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), Timeout);
        assert!(error.is_transient());
        // The clock of tokio counts whole milliseconds.
        let waited = start.elapsed();
        assert!((expected..expected + Duration::from_millis(3)).contains(&waited), "{waited:?}");
    }
}

/// A body that yields a space every second.
struct Endless(Pin<Box<Sleep>>);

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        ready!(self.0.as_mut().poll(cx));
        self.0 = Box::pin(sleep(Duration::from_secs(1)));
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b" ")))))
    }
}

// W7
#[tokio::test(start_paused = true)]
async fn metadata_take_at_most_30_seconds_by_default() {
    times_out_after(None, Duration::from_secs(30)).await;
}

// W7
#[tokio::test(start_paused = true)]
async fn metadata_take_at_most_the_timeout() {
    times_out_after(Some(Duration::from_millis(250)), Duration::from_millis(250)).await;
    times_out_after(Some(Duration::ZERO), Duration::ZERO).await;
    let forever = Metadata::builder(ISSUER).unwrap().timeout(Duration::MAX);
    forever.fetch(always(200, document().to_string())).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn documents_within_the_timeout_are_read() {
    let slow = service_fn(|request: Request<Full<Bytes>>| async move {
        sleep(Duration::from_secs(14)).await;
        let is_second = request.uri().path().contains("openid");
        Answer::Ok(if is_second { answer(200, document().to_string()) } else { answer(404, "") })
    });
    let task = tokio::spawn(Metadata::fetch(ISSUER, slow));
    assert_eq!(task.await.unwrap().unwrap().issuer(), ISSUER);
}

/// Creates a server with an endless body at the first place, and `second` elsewhere.
async fn endless_then(
    status: u16,
    second: (u16, String),
    builder: MetadataBuilder,
) -> (Result<Metadata, TokenError>, Duration) {
    let http = service_fn(move |request: Request<Full<Bytes>>| {
        let (second_status, body) = second.clone();
        async move {
            let is_second = request.uri().path().contains("openid");
            let (status, body) = match is_second {
                true => (second_status, Either::Right(Full::<Bytes>::from(body))),
                false => (status, Either::Left(Endless(Box::pin(sleep(Duration::ZERO))))),
            };
            Ok::<_, BoxError>(Response::builder().status(status).body(body).unwrap())
        }
    });
    let start = Instant::now();
    let result = builder.fetch(http).await;
    (result, start.elapsed())
}

// W7
#[tokio::test(start_paused = true)]
async fn an_endless_first_document_leaves_time_for_the_second() {
    for status in [200, 302, 400, 404] {
        let builder = Metadata::builder(ISSUER).unwrap();
        let (found, waited) = endless_then(status, (200, document().to_string()), builder).await;
        assert_eq!(found.unwrap().issuer(), ISSUER, "{status}");
        assert!(waited <= Duration::from_secs(16), "{status}: {waited:?}");
    }
    // If the other document does not exist either, the error is that of the first place.
    let builder = Metadata::builder(ISSUER).unwrap();
    let (found, _) = endless_then(200, (404, String::new()), builder).await;
    assert_eq!(found.unwrap_err().kind(), Timeout);
    let builder = Metadata::builder(ISSUER).unwrap();
    let (found, _) = endless_then(403, (404, String::new()), builder).await;
    assert_eq!(found.unwrap_err().status().unwrap(), 403);
}

// W7
#[tokio::test(start_paused = true)]
async fn a_single_document_has_the_whole_timeout() {
    let builder = Metadata::builder(ISSUER).unwrap();
    let only = builder.well_known(WellKnown::OauthAuthorizationServer);
    let (found, waited) = endless_then(200, (404, String::new()), only.clone()).await;
    assert_eq!(found.unwrap_err().kind(), Timeout);
    assert!(waited >= Duration::from_secs(30), "{waited:?}");
    let (found, waited) = endless_then(404, (404, String::new()), only).await;
    assert_eq!(found.unwrap_err().status().unwrap(), 404);
    assert!(waited <= Duration::from_secs(16), "{waited:?}");
}

// R5
#[tokio::test(start_paused = true)]
async fn a_client_without_concurrency_fetches_both_documents() {
    let http = ConcurrencyLimit::new(always(404, ""), 1);
    let error = Metadata::fetch(ISSUER, http).await.unwrap_err();
    assert_eq!(error.status().unwrap(), 404);
}

#[test]
fn a_fetch_without_a_runtime_is_a_typed_error() {
    let http = always(200, document().to_string());
    let only = Metadata::builder(ISSUER).unwrap().well_known(WellKnown::OpenidConfiguration);
    let Poll::Ready(result) = tokio_test::task::spawn(only.fetch(http.clone())).poll() else {
        panic!("the fetch waits for a runtime");
    };
    assert_eq!((result.unwrap_err().kind(), http.count()), (NoRuntime, 0));
}

// W7
#[tokio::test(start_paused = true)]
async fn a_silent_first_location_leaves_time_for_the_second() {
    let http = |status: u16| {
        service_fn(move |request: Request<Full<Bytes>>| async move {
            if request.uri().path().contains("openid") {
                return Answer::Ok(answer(status, document().to_string()));
            }
            pending().await
        })
    };
    let start = Instant::now();
    assert_eq!(Metadata::fetch(ISSUER, http(200)).await.unwrap().issuer(), ISSUER);
    assert!(start.elapsed() <= Duration::from_secs(16), "{:?}", start.elapsed());
    let error = Metadata::fetch(ISSUER, http(404)).await.unwrap_err();
    assert_eq!(error.kind(), Timeout);
}
