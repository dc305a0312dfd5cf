use std::io;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{Either, Full};
use tower::{BoxError, Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_oauth2::service::TokenErrorResponseLayer;
use tower_oauth2::{OAuth2Layer, Origins, TokenError, TokenErrorKind, Tokens};

use crate::support::*;

type Answered = Result<Response<Either<Full<Bytes>, Full<Bytes>>>, BoxError>;

/// Sends a request through a whole stack whose token endpoint is at `url`.
async fn answered(url: String, api: Api) -> Answered {
    let tokens = Tokens::new(credentials_at(url), single_try(client()));
    let origins = Origins::only(["https://api.test"]).unwrap();
    ServiceBuilder::new()
        .layer(TokenErrorResponseLayer::new())
        .layer(OAuth2Layer::new(tokens, origins))
        .service(api)
        .oneshot(get("/"))
        .await
}

// W6, alf 36
#[tokio::test]
async fn the_endpoints_error_response_is_the_response() {
    for status in [400, 401, 403, 404, 429, 451, 500, 503, 599] {
        let api = Api::always(200);
        let body = r#"{"error":"invalid_client","more":"ü"}"#;
        let headers = ["Content-Type: application/problem+json", "Retry-After: 7"];
        let endpoint = RawEndpoint::answering(response(status, &headers, body)).await;
        let response = answered(endpoint.url("/token"), api.clone()).await.unwrap();

        assert_eq!(response.status(), status);
        let fields = response.headers();
        assert_eq!(fields["content-type"], "application/problem+json");
        assert_eq!(fields["retry-after"], "7");
        let error = response.extensions().get::<TokenError>().unwrap();
        assert_eq!(error.error_code(), Some("invalid_client"));
        assert_eq!(text(response).await, body);
        assert_eq!((endpoint.count(), api.count()), (1, 0), "{status}");
    }
}

// W6
#[tokio::test]
async fn other_headers_are_not_forwarded() {
    let mut answer = head(
        400,
        &[
            "Content-Type: text/plain",
            "Retry-After: 7",
            "WWW-Authenticate: Basic realm=\"a\"",
            "WWW-Authenticate: Bearer",
            "Set-Cookie: session=1",
            "Clear-Site-Data: \"*\"",
            "Alt-Svc: h3=\"evil.test:443\"",
            "Location: https://evil.test/",
            "Content-Encoding: identity",
            "Strict-Transport-Security: max-age=0",
            "Content-Security-Policy: sandbox",
            "Access-Control-Allow-Origin: *",
            "Cache-Control: max-age=31536000",
            "Date: Sun, 06 Nov 1994 08:49:37 GMT",
            "Transfer-Encoding: chunked",
            "Connection: keep-alive",
            "Keep-Alive: timeout=5",
            "Trailer: X-Checksum",
            "Upgrade: h2c",
            "X-Other: yes",
        ],
    );
    answer.extend_from_slice(b"5\r\nsorry\r\n0\r\n\r\n");
    let endpoint = RawEndpoint::answering(answer).await;
    let response = answered(endpoint.url("/token"), Api::always(200)).await.unwrap();
    let fields = response.headers();
    let mut names: Vec<_> = fields.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-type", "retry-after", "www-authenticate"]);
    let challenges: Vec<_> = fields.get_all("www-authenticate").iter().collect();
    assert_eq!(challenges, ["Basic realm=\"a\"", "Bearer"]);
    // The `TokenError` has all headers.
    let error = response.extensions().get::<TokenError>().unwrap();
    assert_eq!(error.headers().unwrap()["location"], "https://evil.test/");
    assert_eq!(text(response).await, "sorry");
}

// W6
#[tokio::test]
async fn large_headers_leave_room_for_forwarded_headers() {
    let large: Vec<_> = (0..6).map(|n| format!("A-Large-{n}: {}", "l".repeat(8 * 1024))).collect();
    let mut headers: Vec<_> = large.iter().map(String::as_str).collect();
    headers.extend(["Content-Type: text/plain", "WWW-Authenticate: Bearer", "Retry-After: 7"]);
    let endpoint = RawEndpoint::answering(response(400, &headers, "sorry")).await;
    let response = answered(endpoint.url("/token"), Api::always(200)).await.unwrap();
    assert_eq!(response.headers().len(), 3, "{:?}", response.headers());
}

// W6, W5
#[tokio::test]
async fn a_truncated_body_has_the_right_length() {
    let page = "x".repeat(100_000);
    let endpoint = RawEndpoint::answering(response(500, &[], &page)).await;
    let response = answered(endpoint.url("/token"), Api::always(200)).await.unwrap();
    assert!(!response.headers().contains_key("content-length"));
    assert_eq!(response.body().size_hint().exact(), Some(65_536));
    assert_eq!(text(response).await, page[..65_536]);
}

// W6, alf 37
#[tokio::test]
async fn the_endpoints_error_response_is_the_result_after_a_401_too() {
    let http = scripted(|n| {
        let (status, body) = match n {
            1 => (200, r#"{"access_token":"t"}"#),
            _ => (503, "down"),
        };
        Ok(Response::builder().status(status).body(Full::from(body)).unwrap())
    });
    let api = Api::always(401);
    let tokens = Tokens::new(credentials(), single_try(http.clone()));
    let service = ServiceBuilder::new()
        .layer(TokenErrorResponseLayer::new())
        .layer(OAuth2Layer::new(tokens, Origins::any()))
        .service(api.clone());

    let response = service.oneshot(get("/")).await.unwrap();
    assert_eq!(response.status(), 503);
    let error = response.extensions().get::<TokenError>().unwrap();
    assert_eq!(error.rejected_response().unwrap().status(), 401);
    assert_eq!(text(response).await, "down");
    assert_eq!((http.count(), api.count()), (2, 1));
}

// W6
#[tokio::test]
async fn other_token_errors_pass_through() {
    for (answer, kind) in [
        (response(200, &[], "<html>Log in</html>"), TokenErrorKind::MalformedResponse),
        (response(200, &[], r#"{"error":"invalid_scope"}"#), TokenErrorKind::ErrorResponse),
        (response(200, &[], "{}"), TokenErrorKind::InvalidAccessToken),
        (response(302, &["Location: /elsewhere"], ""), TokenErrorKind::Redirect),
        (b"no HTTP\r\n".to_vec(), TokenErrorKind::Transport),
    ] {
        let api = Api::always(200);
        let endpoint = RawEndpoint::answering(answer).await;
        let error = answered(endpoint.url("/token"), api.clone()).await.unwrap_err();
        assert_eq!(error.downcast_ref::<TokenError>().unwrap().kind(), kind);
        assert_eq!(api.count(), 0);
    }
}

// W6
#[tokio::test]
async fn responses_of_the_inner_service_pass_through() {
    let endpoint = RawEndpoint::answering(response(200, &[], r#"{"access_token":"t"}"#)).await;
    let api = Api::new(|_| {
        let response = Response::builder().status(404).header("set-cookie", "a=b");
        response.body(Full::from("from the API")).unwrap()
    });
    let response = answered(endpoint.url("/token"), api).await.unwrap();
    assert_eq!(response.status(), 404);
    assert_eq!(response.headers()["set-cookie"], "a=b");
    assert!(response.extensions().get::<TokenError>().is_none());
    assert_eq!(text(response).await, "from the API");

    let down = service_fn(|_: Request<Full<Bytes>>| async {
        Err::<Response<Full<Bytes>>, _>(io::Error::from(io::ErrorKind::ConnectionAborted))
    });
    let service = TokenErrorResponseLayer::new().layer(down);
    let error = service.oneshot(get("/")).await.unwrap_err();
    let error = error.downcast_ref::<io::Error>().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
}
