//! A token endpoint that answers with this each time, through the whole stack: what callers see, what the layer
//! `TokenErrorResponseLayer` makes of it, and when it is asked again.
//!
//! The case is one response (`support/reply.rs`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Either, Full};
use tokio::time::Instant;
use tower::{BoxError, Layer, ServiceExt, service_fn};
use tower_oauth2::{
    OAuth2Layer, Origins, TokenCache, TokenEndpoint, TokenError, TokenErrorKind,
    TokenErrorResponseLayer,
};

use super::support::*;

type Body = Full<Bytes>;

pub fn run(data: &[u8]) {
    let reply = Reply::read(data);
    block_on(async {
        let asked = Arc::new(AtomicUsize::new(0));
        let http = {
            let (reply, asked) = (reply.clone(), asked.clone());
            http(move |_| {
                asked.fetch_add(1, Ordering::Relaxed);
                reply.response()
            })
        };
        let tokens = TokenCache::new(credentials(), TokenEndpoint::new(http));
        let api = service_fn(|request: Request<Body>| async move {
            assert!(request.headers().contains_key("authorization"), "no token, no request");
            Ok::<_, BoxError>(Response::new(Body::from("of the API")))
        });
        let layer = OAuth2Layer::new(tokens.clone(), Origins::any());
        let service = TokenErrorResponseLayer::new().layer(layer.layer(api));
        let get = || Request::get("https://api.test/").body(Body::default()).unwrap();

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
            assert_eq!(error.error(), json["error"].as_str());
            assert_eq!(error.error_description(), json["error_description"].as_str());
            assert_eq!(error.error_uri(), json["error_uri"].as_str());
        }
        // C9: as long as it says, nobody asks; then the next one does.
        let count = asked.load(Ordering::Relaxed);
        let Some(retry_in) = error.retry_in().filter(|retry_in| !retry_in.is_zero()) else {
            return;
        };
        assert!(retry_in <= Duration::from_secs(60));
        let end = Instant::now() + retry_in;
        until(end - Duration::from_millis(2).min(retry_in)).await;
        assert!(tokens.get().await.is_err());
        assert_eq!(asked.load(Ordering::Relaxed), count, "asked within {retry_in:?}");
        until(end + Duration::from_millis(2)).await;
        assert!(tokens.get().await.is_err());
        assert_eq!(asked.load(Ordering::Relaxed), count + 1, "not asked after {retry_in:?}");
    });
}

/// The API's, or the token endpoint's without what belonged to its connection.
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
    let dropped = dropped(&reply.headers);
    for (name, value) in &reply.headers {
        let is_there = head.headers.get_all(name).iter().any(|found| found == value);
        assert_eq!(is_there, !dropped.iter().any(|one| name == one.as_str()), "{name}");
    }
    assert!(head.headers.keys().all(|name| reply.headers.contains_key(name)));
}

/// What is not passed on, in small letters.
fn dropped(headers: &HeaderMap) -> Vec<String> {
    let fields = headers.get_all("connection").into_iter().filter_map(|field| field.to_str().ok());
    let named = fields.flat_map(|field| field.split(',')).map(|name| name.trim().to_lowercase());
    let always = [
        "connection",
        "content-length",
        "keep-alive",
        "proxy-connection",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    named.chain(always.map(str::to_owned)).collect()
}
