//! Token endpoints that differ from the standard.

use std::convert::Infallible;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE};
use http::{HeaderValue, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::util::BoxCloneService;
use tower::{BoxError, ServiceBuilder, ServiceExt};
use tower_http::compression::{CompressionBody, CompressionLayer};
use tower_http::decompression::DecompressionLayer;
use tower_oauth2::client_auth::{ClientAuthentication, Identity, TokenRequestParts};
use tower_oauth2::grant::Grant;
use tower_oauth2::source::TokenRetry;
use tower_oauth2::{
    AccessToken, ClientAuth, Credentials, TokenEndpoint, TokenError, TokenErrorKind, TokenRequest,
};

use crate::support::*;

const TOKEN: &str = r#"{"access_token":"t"}"#;

fn answering(body: impl Into<Bytes>) -> Api {
    let body = body.into();
    Api::new(move |_| Response::new(Full::from(body.clone())))
}

async fn sent(
    endpoint: TokenEndpoint,
    credentials: Credentials,
) -> Result<AccessToken, TokenError> {
    endpoint.retry(TokenRetry::none()).oneshot(TokenRequest::new(credentials)).await
}

/// Returns the body of the only request.
async fn body(api: &Api) -> String {
    let [request]: [_; 1] = api.requests().try_into().unwrap();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

// W1
#[tokio::test]
async fn parameters_can_be_sent_as_a_json_object() {
    let api = answering(TOKEN);
    let auth = ClientAuth::client_secret_post("client \"id\"", SECRET);
    let credentials = Credentials::new("https://auth.test/token", auth)
        .unwrap()
        .scope("read write")
        .audience("a")
        .audience("b")
        .audience("c")
        .resource("urn:one")
        .parameter("organization", "ü\n&=\u{1}");
    sent(TokenEndpoint::new(api.clone()).json_body(), credentials).await.unwrap();
    assert_eq!(api.requests()[0].headers()[CONTENT_TYPE], "application/json");
    assert_eq!(
        serde_json::from_str::<Value>(&body(&api).await).unwrap(),
        json!({
            "grant_type": "client_credentials",
            "client_id": "client \"id\"",
            "client_secret": SECRET,
            "scope": "read write",
            "audience": ["a", "b", "c"],
            "resource": "urn:one",
            "organization": "ü\n&=\u{1}",
        })
    );
}

// W5
#[tokio::test]
async fn an_error_shows_no_secret_of_a_json_body() {
    const QUOTED: &str = "qu\"oted\\secret";
    let cause =
        format!("sent {SECRET} and {QUOTED} and {} and {}", Value::from(QUOTED), &SECRET[..10]);
    let http = ScriptedEndpoint::new(move |_| Reply::connection_error(cause.clone()));
    let auth = ClientAuth::client_secret_post("client-id", SECRET);
    let credentials = Credentials::new("https://auth.test/token", auth).unwrap();
    let credentials = credentials.parameter("password", QUOTED).parameter("list", "in-a-list");
    let error = sent(TokenEndpoint::new(http).json_body(), credentials).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("(sent **redacted** and **redacted** and **redacted**"), "{text}");
    assert!(!text.contains("s3cr3t") && !text.contains("oted"), "{text}");
}

/// Sends a header of its own.
struct WithKey;

impl ClientAuthentication for WithKey {
    fn method(&self) -> &str {
        "with_key"
    }

    fn identify(&self, _: &mut Identity) {}

    async fn authenticate(&self, request: &mut TokenRequestParts) -> Result<(), BoxError> {
        request.headers_mut().insert("x-api-key", HeaderValue::from_static("of the client"));
        Ok(())
    }
}

// W1, X3
#[tokio::test]
async fn additional_headers_are_sent_and_never_shown() {
    let api = answering(TOKEN);
    let endpoint = TokenEndpoint::new(api.clone())
        .header("x-api-key", "replaced")
        .and_then(|endpoint| endpoint.header("X-Api-Key", SECRET))
        .and_then(|endpoint| endpoint.header("user-agent", String::from("my-service/1")))
        .and_then(|endpoint| endpoint.header("accept", "application/json;v=2"))
        .unwrap();
    sent(endpoint.clone(), credentials()).await.unwrap();
    let request = api.requests().remove(0);
    let values: Vec<_> = request.headers().get_all("x-api-key").iter().collect();
    assert_eq!(values, [SECRET]);
    assert!(values[0].is_sensitive());
    assert_eq!(request.headers()["user-agent"], "my-service/1");
    assert_eq!(request.headers()["accept"], "application/json;v=2");
    assert_eq!(request.headers()["accept-encoding"], "identity");
    assert!(request.headers().contains_key("authorization"));
    assert!(!format!("{endpoint:?}").contains("s3cr3t"), "{endpoint:?}");

    let auth = ClientAuth::custom(WithKey);
    sent(endpoint, Credentials::new("https://auth.test/token", auth).unwrap()).await.unwrap();
    assert_eq!(api.requests()[1].headers()["x-api-key"], "of the client");

    let http =
        ScriptedEndpoint::new(|_| Reply::connection_error(format!("header {SECRET} is invalid")));
    let endpoint = TokenEndpoint::new(http).header("x-api-key", SECRET).unwrap();
    let text = sent(endpoint, credentials()).await.unwrap_err().to_string();
    assert!(text.contains("(header **redacted** is invalid)"), "{text}");
}

// W12
#[test]
fn a_header_that_callers_must_not_set_is_a_config_error() {
    let with = |name: &str, value: &str| TokenEndpoint::new(Api::always(200)).header(name, value);
    for name in [
        "authorization",
        "Authorization",
        "Connection",
        "Content-Encoding",
        "Content-Length",
        "Content-Type",
        "DPoP",
        "Expect",
        "Host",
        "Keep-Alive",
        "Proxy-Authorization",
        "Proxy-Connection",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
    ] {
        assert_eq!(
            with(name, SECRET).unwrap_err().to_string(),
            format!(
                "token request header must not be one that this crate or the HTTP client sets: {}",
                name.to_lowercase()
            )
        );
    }
    for (name, value, expected) in [
        ("", "v", "has an invalid name"),
        ("two words", "v", "has an invalid name"),
        ("a:b\r\n", "v", "has an invalid name"),
        ("x-key", "", "has an empty value: x-key"),
        ("x-key", "a\r\nb: c", "has a value that cannot be sent in a header: x-key"),
        ("x-key", "a\0", "has a value that cannot be sent in a header: x-key"),
    ] {
        let error = with(name, value).unwrap_err();
        assert_eq!(error.to_string(), format!("token request header {expected}"));
    }
}

// W3
#[tokio::test]
async fn a_token_type_alias_is_accepted_where_it_is_set() {
    let answer =
        |token_type: &str| format!(r#"{{"access_token":"t","token_type":"{token_type}"}}"#);
    let apigee = |api: Api| TokenEndpoint::new(api).token_type_alias("BearerToken");
    for token_type in ["BearerToken", "bearertoken", "Bearer"] {
        let token = sent(apigee(answering(answer(token_type))), credentials()).await.unwrap();
        assert_eq!(token.header_value(), "Bearer t");
    }
    for endpoint in [
        TokenEndpoint::new(answering(answer("BearerToken"))),
        apigee(answering(answer("BearerTokens"))),
        apigee(answering(answer("N_A"))),
        apigee(answering(answer("DPoP"))).token_type_alias("DPoP"),
    ] {
        let error = sent(endpoint, credentials()).await.unwrap_err();
        assert_eq!(error.kind(), TokenErrorKind::UnsupportedTokenType);
        let text = error.to_string();
        let is_dpop = error.body().is_some_and(|body| body.ends_with(b"\"DPoP\"}"));
        assert!(is_dpop || text.contains("TokenEndpoint::token_type_alias"), "{text}");
    }
}

#[cfg(feature = "jwt")]
#[tokio::test]
async fn an_alias_does_not_stand_for_a_bound_token() {
    let bound = credentials().dpop(tower_oauth2::jwt::DpopKey::generate().unwrap());
    let api = answering(r#"{"access_token":"t","token_type":"BearerToken"}"#);
    let endpoint = TokenEndpoint::new(api).token_type_alias("BearerToken");
    let error = sent(endpoint, bound).await.unwrap_err();
    assert_eq!(error.kind(), TokenErrorKind::UnsupportedTokenType);
}

type Compressing =
    BoxCloneService<Request<Full<Bytes>>, Response<UnsyncBoxBody<Bytes, BoxError>>, Infallible>;

/// Replaces `Accept-Encoding`, which must be the default.
fn accept_gzip(mut request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
    let replaced = request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    assert_eq!(replaced.unwrap(), "identity");
    request
}

/// Returns a server that compresses responses if they are accepted so.
fn compressing(api: &Api) -> Compressing {
    ServiceBuilder::new()
        .boxed_clone()
        .map_response(|response: Response<_>| {
            response.map(|body: CompressionBody<_>| body.map_err(Into::into).boxed_unsync())
        })
        .layer(CompressionLayer::new())
        .service(api.clone())
}

fn long() -> Api {
    answering(format!(r#"{{"access_token":"t","padding":"{}"}}"#, "p".repeat(100)))
}

// W4
#[tokio::test]
async fn a_layer_around_the_client_decodes_the_response() {
    // This server compresses without being asked.
    let server = ServiceBuilder::new().map_request(accept_gzip).service(compressing(&long()));
    let http = server.clone();
    let error = sent(TokenEndpoint::new(http), credentials()).await.unwrap_err();
    assert_eq!(error.kind(), TokenErrorKind::MalformedResponse);
    assert!(error.to_string().contains("did not decode its Content-Encoding"), "{error}");
    assert_eq!(error.headers().unwrap()["content-encoding"], "gzip");

    let http = ServiceBuilder::new().layer(DecompressionLayer::new()).service(server);
    assert_eq!(sent(TokenEndpoint::new(http), credentials()).await.unwrap().secret(), "t");
}

// W1, W4
#[tokio::test]
async fn a_layer_can_replace_the_accepted_encoding() {
    let api = long();
    let http = ServiceBuilder::new()
        .map_request(accept_gzip)
        .layer(DecompressionLayer::new())
        .service(compressing(&api));
    assert_eq!(sent(TokenEndpoint::new(http), credentials()).await.unwrap().secret(), "t");
    assert_eq!(api.requests()[0].headers()[ACCEPT_ENCODING], "gzip");
}

// W7
#[tokio::test(start_paused = true)]
async fn slow_down_is_not_retried_while_a_grant_is_polled() {
    for (grant_type, tries) in [
        ("urn:ietf:params:oauth:grant-type:device_code", 1),
        ("urn:openid:params:grant-type:ciba", 1),
        ("account_credentials", 3),
    ] {
        for grant in [
            credentials().grant(Grant::custom(grant_type)),
            credentials().parameter("grant_type", grant_type),
        ] {
            for code in ["slow_down", "temporarily_unavailable", "server_error"] {
                let http = ScriptedEndpoint::in_order([Reply::error(400, code)]);
                let request = TokenRequest::new(grant.clone());
                let error = TokenEndpoint::new(http.clone()).oneshot(request).await.unwrap_err();
                assert_eq!((error.is_transient(), http.count()), (tries > 1, tries), "{code}");
            }
        }
    }
}

// Zoom requires its own grant type with HTTP Basic.
#[tokio::test]
async fn a_grant_of_the_server_is_sent_with_its_parameters() {
    let api = answering(TOKEN);
    let auth = ClientAuth::client_secret_basic("client-id", SECRET);
    let credentials = Credentials::new("https://zoom.us/oauth/token", auth)
        .unwrap()
        .grant(Grant::custom("account_credentials"))
        .parameter("account_id", "17");
    sent(TokenEndpoint::new(api.clone()), credentials).await.unwrap();
    assert!(api.requests()[0].headers()["authorization"].as_bytes().starts_with(b"Basic "));
    assert_eq!(body(&api).await, "grant_type=account_credentials&account_id=17");
}
