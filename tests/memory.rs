//! Bounds on the memory that is kept of a server's text.
#![allow(missing_docs)]

use std::future::{Future, Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use allocation_counter::measure;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::Full;
use serde_json::Value;
use tower::{BoxError, Service, ServiceExt, service_fn};
use tower_oauth2::metadata::Metadata;
use tower_oauth2::{
    AccessToken, ConfigError, OAuth2Layer, Origins, TokenEndpoint, TokenError, TokenErrorKind,
    TokenRequest, Tokens,
};
use tower_oauth2_testkit::credentials;

type HttpResponse = Response<Full<Bytes>>;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The most that is read of a response.
const LIMIT: usize = MIB;

/// The fixed part of a token, of an error or of metadata.
const FIXED: usize = 2 * KIB;

/// Returns an HTTP client that gets a new response to each request.
fn answering(
    answer: impl Fn() -> HttpResponse + Clone + Send + 'static,
) -> impl Service<
    Request<Full<Bytes>>,
    Response = HttpResponse,
    Error = BoxError,
    Future = Ready<Result<HttpResponse, BoxError>>,
> + Clone
+ Send
+ 'static {
    service_fn(move |_: Request<Full<Bytes>>| ready(Ok(answer())))
}

/// Returns the result, and how many bytes it keeps.
fn kept<T>(work: impl Future<Output = T>) -> (T, usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut result = None;
    let counts = measure(|| result = Some(runtime.block_on(work)));
    (result.unwrap(), usize::try_from(counts.bytes_current).unwrap())
}

/// Returns a JSON object of many small members, with `start` at its beginning.
fn small_members(start: &str) -> String {
    let mut json = format!("{{{start}");
    for n in 0.. {
        let member = format!(",\"m{n}\":{{\"a\":{{\"a\":0}}}}");
        if json.len() + member.len() + 1 > LIMIT {
            break;
        }
        json.push_str(&member);
    }
    json.push('}');
    json
}

fn respond(status: u16, body: &str) -> HttpResponse {
    Response::builder().status(status).body(Full::from(body.to_owned())).unwrap()
}

/// Adds header fields, of which up to 40 have a name of their own.
fn with_headers(mut response: HttpResponse, count: usize, size: usize) -> HttpResponse {
    for n in 0..count {
        let name = HeaderName::try_from(format!("x-{}", n % 40)).unwrap();
        let value = HeaderValue::try_from("v".repeat(size)).unwrap();
        response.headers_mut().append(name, value);
    }
    response
}

async fn refused(body: Arc<str>, fields: usize, size: usize) -> TokenError {
    let http = answering(move || with_headers(respond(400, &body), fields, size));
    TokenEndpoint::new(http).oneshot(TokenRequest::new(credentials())).await.unwrap_err()
}

// W5
#[test]
fn an_error_keeps_at_most_80_kib() {
    let long = "d".repeat(300 * KIB);
    let members = format!(r#""error":"{long}","error_description":"{long}","error_uri":"{long}""#);
    for (body, fields, size) in [
        (format!("{{{members}}}"), 0, 0),
        (format!("{{{members}}}"), 200, 4 * KIB),
        (format!("{{{members}}}"), 40, 1),
        (format!("{{{members}}}"), 5_000, 1),
        (small_members(&members), 1, 500 * KIB),
        ("x".repeat(LIMIT), 200, 4 * KIB),
        ("x".repeat(40 * KIB), 0, 0),
    ] {
        let body: Arc<str> = body.into();
        let (error, kept) = kept(refused(body.clone(), fields, size));
        assert_eq!(error.kind(), TokenErrorKind::ErrorResponse);
        assert!(kept <= 80 * KIB, "{kept} bytes with {fields} fields of {size} bytes");
        for member in [error.error_code(), error.error_description(), error.error_uri()] {
            assert!(member.unwrap_or_default().len() <= 4 * KIB);
        }
    }
}

// W5, R2
#[test]
fn an_error_with_the_apis_response_keeps_at_most_80_kib() {
    let failing = async {
        let count = Arc::new(AtomicUsize::new(0));
        let source = service_fn(move |request: TokenRequest| {
            let is_first = count.fetch_add(1, Ordering::Relaxed) == 0;
            async move {
                if is_first {
                    return Ok::<_, BoxError>(AccessToken::new("token-1")?);
                }
                let long = "d".repeat(300 * KIB);
                let body = format!(
                    r#"{{"error":"{long}","error_description":"{long}","error_uri":"{long}"}}"#
                );
                let http = answering(move || with_headers(respond(400, &body), 200, KIB));
                Ok(TokenEndpoint::new(http).oneshot(request).await?)
            }
        });
        let tokens = Tokens::new(credentials(), source);
        let api = answering(|| with_headers(respond(401, ""), 200, 4 * KIB));
        let layer = OAuth2Layer::new(tokens, Origins::any());
        let request = Request::get("https://api.test/").body(Full::default()).unwrap();
        layer.layer(api).oneshot(request).await.unwrap_err()
    };
    let (error, kept) = kept(failing);
    let error = TokenError::find_in(&*error).unwrap();
    assert_eq!(error.rejected_response().unwrap().status(), 401);
    assert!(kept <= 80 * KIB, "{kept}");
}

// W3
#[test]
fn a_token_keeps_at_most_64_kib_of_extra_members() {
    for start in [
        r#""access_token":"t""#.to_owned(),
        format!(r#""access_token":"t","large":"{}""#, "l".repeat(600 * KIB)),
    ] {
        let body: Arc<str> = small_members(&start).into();
        let text = body.clone();
        let (token, kept) = kept(async move {
            let http = answering(move || respond(200, &text));
            TokenEndpoint::new(http).oneshot(TokenRequest::new(credentials())).await
        });
        assert_eq!(token.unwrap().secret(), "t");
        assert!(kept <= 64 * KIB + FIXED, "{kept}");
    }
}

// W3
#[test]
fn extra_members_of_other_sources_have_the_same_bound() {
    let (token, kept) = kept(async {
        let token = AccessToken::new("t")?.with_extra("large", vec![Value::from(1); 50_000]);
        Ok::<_, ConfigError>(token.with_extra("small", "s"))
    });
    let token = token.unwrap();
    assert!(token.extra("small").is_some() && token.extra("large").is_none());
    assert!(kept <= 64 * KIB + FIXED, "{kept}");
}

// W4
#[test]
fn metadata_keep_a_document_as_text() {
    let ends = r#""issuer":"https://auth.test","token_endpoint":"https://auth.test/token""#;
    let list = format!(r#"{ends},"scopes_supported":["s"{}]"#, r#","s""#.repeat(240_000));
    for body in [small_members(ends), format!("{{{list}}}")] {
        let body: Arc<str> = body.into();
        let text = body.clone();
        let (metadata, kept) = kept(async move {
            let http = answering(move || respond(200, &text));
            Metadata::fetch("https://auth.test", http).await
        });
        assert_eq!(metadata.unwrap().issuer(), "https://auth.test");
        assert!(kept <= 3 * MIB, "{kept}");
    }
}
