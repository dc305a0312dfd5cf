//! Fuzzes the responses of a token endpoint through the whole stack.
//!
//! Checks the errors that callers get, the responses of `TokenErrorResponseLayer`, and the time of
//! the next token request.
//!
//! The case is one response (`support/reply.rs`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Either, Full};
use tokio::time::Instant;
use tower::{BoxError, Layer, ServiceExt, service_fn};
use tower_oauth2::service::TokenErrorResponseLayer;
use tower_oauth2::{OAuth2Layer, Origins, TokenError, TokenErrorKind, Tokens};

use super::support::*;

type Body = Full<Bytes>;

pub fn run(data: &[u8]) {
    let reply = Reply::read(data);
    block_on(async {
        let calls = Arc::new(AtomicUsize::new(0));
        let http = {
            let (reply, calls) = (reply.clone(), calls.clone());
            http(move |_| {
                calls.fetch_add(1, Ordering::Relaxed);
                reply.response()
            })
        };
        let tokens = Tokens::new(credentials(), single_try(http));
        let api = service_fn(|request: Request<Body>| async move {
            assert!(request.headers().contains_key("authorization"), "no token, no request");
            Ok::<_, BoxError>(Response::new(Body::from("of the API")))
        });
        let layer = OAuth2Layer::new(tokens.clone(), Origins::any());
        let service = TokenErrorResponseLayer::new().layer(layer.layer(api));
        let get = || Request::get("https://api.test/").body(Body::default()).unwrap();

        let received_at = SystemTime::now();
        match service.clone().oneshot(get()).await {
            Ok(response) => assert_response(response, &reply).await,
            Err(error) => assert_error(TokenError::find_in(&*error).unwrap(), &reply),
        }
        assert_debug(&service);
        let Err(error) = tokens.get().await else { return };
        assert_error(&error, &reply);
        if let Some(json) =
            reply.json().filter(|_| reply.arrives() && !reply.status.is_redirection())
        {
            for (found, name) in [
                (error.error_code(), "error"),
                (error.error_description(), "error_description"),
                (error.error_uri(), "error_uri"),
            ] {
                // An empty `error` is no error code.
                let sent = json[name].as_str();
                let sent = sent.filter(|sent| name != "error" || !sent.trim().is_empty());
                assert_eq!(found.is_some(), sent.is_some(), "{name}");
                let (found, sent) = (found.unwrap_or_default(), sent.unwrap_or_default());
                let is_cut = (4 * 1024 - 3..=4 * 1024).contains(&found.len());
                assert!(found == sent || is_cut && sent.starts_with(found), "{name}");
            }
        }
        // C9: no token request is sent during the back-off, and one after it.
        let count = calls.load(Ordering::Relaxed);
        let Some(retry_in) = error.retry_in().filter(|retry_in| !retry_in.is_zero()) else {
            return;
        };
        assert!(retry_in <= Duration::from_secs(60));
        let end = Instant::now() + retry_in;
        until(end - Duration::from_millis(2).min(retry_in)).await;
        assert!(tokens.get().await.is_err());
        // The wall clock, which is not paused, ends the back-off too.
        let is_over = received_at.elapsed().is_ok_and(|elapsed| elapsed >= retry_in);
        let is_same = calls.load(Ordering::Relaxed) == count;
        assert!(is_same || is_over, "called within {retry_in:?}");
        if is_over {
            return;
        }
        until(end + Duration::from_millis(2)).await;
        assert!(tokens.get().await.is_err());
        assert_eq!(calls.load(Ordering::Relaxed), count + 1, "not called after {retry_in:?}");
    });
}

/// Checks a response of the API or of the layer, which forwards the token endpoint's.
async fn assert_response(response: Response<Either<Body, Full<Bytes>>>, reply: &Reply) {
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let Some(error) = head.extensions.get::<TokenError>() else {
        assert_eq!(body, "of the API");
        return;
    };
    // W6
    assert_error(error, reply);
    assert_eq!(error.kind(), TokenErrorKind::ErrorResponse);
    assert_eq!(head.status, reply.status);
    assert!(head.status.is_client_error() || head.status.is_server_error());
    assert_eq!(Some(&body), error.body());
    let forwarded = ["content-type", "retry-after", "www-authenticate"];
    assert!(head.headers.keys().all(|name| forwarded.contains(&name.as_str())));
    let sent = |name| reply.headers.get_all(name).iter().collect::<Vec<_>>();
    for name in forwarded {
        // An error keeps as many as fit into its bound.
        let found: Vec<_> = head.headers.get_all(name).iter().collect();
        assert!(found.iter().all(|value| sent(name).contains(value)), "{name}");
        let size: usize = reply.headers.values().map(|value| value.len() + 256).sum();
        assert!(size > 7 * 1024 || found == sent(name), "{name}");
    }
}
