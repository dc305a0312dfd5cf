use http::{Request, StatusCode};
use http_body_util::Full;
use tower::ServiceExt;
use tower_oauth2::{
    ClientAuth, Credentials, OAuth2Layer, Origins, RequestExt, TokenEndpoint, TokenErrorKind,
    TokenRequest, Tokens,
};

use super::{kind, layer_for, only, request, send, status, token_response};
use crate::support::{Api, SECRET, credentials_at};

// X1
#[tokio::test]
async fn a_request_in_clear_text_is_refused_before_anything_is_sent() {
    const INSECURE: &[&str] = &[
        "http://api.test/",
        "http://api.test:443/",
        "HTTP://API.TEST/",
        "http://127.0.0.1.api.test/",
        "http://localhost.api.test/",
        "http://10.0.0.1/",
        "http://0.0.0.0/",
        "http://[::2]/",
        "http://localhost@api.test/",
        "ws://api.test/",
    ];
    for uri in INSECURE {
        let (layer, source) = layer_for(Origins::any());
        let api = Api::always(200);
        let refused = send(&layer, &api, request(uri)).await;
        assert_eq!(kind(refused), TokenErrorKind::InsecureUri, "{uri}");
        assert_eq!((api.count(), source.count()), (0, 0), "{uri}");
    }
    // A URI with a host and without a scheme.
    let (layer, source) = layer_for(Origins::any());
    let api = Api::always(200);
    let no_scheme = Request::get("api.test:443").body(Full::default()).unwrap();
    assert_eq!(kind(send(&layer, &api, no_scheme).await), TokenErrorKind::InsecureUri);
    assert_eq!((api.count(), source.count()), (0, 0));
}

// X1
#[tokio::test]
async fn a_request_in_clear_text_is_refused_with_a_cached_token_too() {
    let (layer, source) = layer_for(only(&["http://api.test", "https://api.test"]));
    let api = Api::always(200);
    assert_eq!(status(send(&layer, &api, request("https://api.test/")).await), StatusCode::OK);
    let refused = send(&layer, &api, request("http://api.test/")).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "no token for http://api.test: the URI must use https or a loopback address; check the scheme, or \
         dangerously_allow_http"
    );
    assert_eq!((api.count(), source.count()), (1, 1));
}

// X1
#[tokio::test]
async fn loopback_addresses_may_use_clear_text() {
    for uri in [
        "http://localhost/",
        "http://LOCALHOST:8080/",
        "http://127.0.0.1:1/",
        "http://127.9.9.9/",
        "http://[::1]:8080/",
    ] {
        let (layer, _) = layer_for(Origins::any());
        let api = Api::always(200);
        assert_eq!(status(send(&layer, &api, request(uri)).await), StatusCode::OK);
        assert_eq!(api.tokens(), ["token-1"], "{uri}");
    }
}

// X1
#[tokio::test]
async fn dangerously_allow_http_of_a_layer_allows_clear_text() {
    let (layer, _) = layer_for(only(&["http://api.mesh"]));
    let layer = layer.dangerously_allow_http();
    let api = Api::always(200);
    assert_eq!(status(send(&layer, &api, request("http://api.mesh/")).await), StatusCode::OK);
    // The origins still apply.
    assert_eq!(status(send(&layer, &api, request("http://other.mesh/")).await), StatusCode::OK);
    assert_eq!(api.tokens(), ["token-1", ""]);
}

// X1
#[tokio::test]
async fn a_token_endpoint_in_clear_text_gets_no_request() {
    for endpoint in ["http://auth.test/token", "http://localhost.auth.test/", "ftp://auth.test/"] {
        let auth_server = Api::new(|_| token_response("t"));
        let tokens = Tokens::new(credentials_at(endpoint), TokenEndpoint::new(auth_server.clone()));
        let api = Api::always(200);
        let layer = OAuth2Layer::new(tokens, Origins::any());
        let refused = send(&layer, &api, request("https://api.test/")).await;
        assert_eq!(kind(refused), TokenErrorKind::InsecureUri, "{endpoint}");
        assert_eq!((api.count(), auth_server.count()), (0, 0), "{endpoint}");
    }
}

// X1
#[tokio::test]
async fn a_token_endpoint_in_clear_text_needs_loopback_or_opt_out() {
    for (endpoint, opt_out) in [
        ("http://localhost:8080/token", false),
        ("http://[::1]/token", false),
        ("http://auth.mesh/token", true),
    ] {
        let auth_server = Api::new(|_| token_response("t"));
        let mut source = TokenEndpoint::new(auth_server.clone());
        if opt_out {
            source = source.dangerously_allow_http();
        }
        let token = source.oneshot(TokenRequest::new(credentials_at(endpoint))).await.unwrap();
        assert_eq!((token.secret(), auth_server.count()), ("t", 1), "{endpoint}");
    }

    // The opt-out of the layer does not apply to the endpoint.
    let auth_server = Api::new(|_| token_response("t"));
    let tokens = Tokens::new(
        credentials_at("http://auth.mesh/token"),
        TokenEndpoint::new(auth_server.clone()),
    );
    let layer = OAuth2Layer::new(tokens, Origins::any()).dangerously_allow_http();
    let refused = layer.layer(Api::always(200)).oneshot(request("http://api.mesh/")).await;
    assert_eq!(kind(refused), TokenErrorKind::InsecureUri);
    assert_eq!(auth_server.count(), 0);
}

// X1, W1
#[test]
fn an_endpoint_is_an_absolute_uri_without_user_or_fragment() {
    for (endpoint, why) in [
        ("/token", "needs a scheme and a host"),
        ("auth.test/token", "needs a scheme and a host: auth.test..."),
        ("auth.test:443", "needs a scheme and a host: auth.test:443"),
        (
            "https://user:pw@auth.test/token",
            "must not have user information: https://...@auth.test/token",
        ),
        ("https://auth.test/token#here", "must not have a fragment: https://auth.test/token#..."),
        ("", "needs a scheme and a host"),
        ("https://a b/", "is not a valid URI: https://a..."),
    ] {
        let auth = ClientAuth::client_secret_basic("client-id", SECRET);
        let error = Credentials::new(endpoint, auth).unwrap_err();
        assert_eq!(error.to_string(), format!("token endpoint {why}"), "{endpoint}");
    }
}

// X4
#[tokio::test]
async fn only_allowed_endpoints_get_token_requests() {
    const ALLOWED: &str = "https://auth.test/token?tenant=1";
    for (endpoint, allowed) in [
        (ALLOWED, true),
        ("https://AUTH.test/token?tenant=1", true),
        ("https://auth.test/token", false),
        ("https://auth.test/token?tenant=2", false),
        ("https://auth.test/token?tenant=1&more", false),
        ("https://auth.test/", false),
        ("https://auth.test:8443/token?tenant=1", false),
        ("https://auth.test.evil.test/token?tenant=1", false),
        ("https://169.254.169.254/latest/", false),
        ("http://localhost/token?tenant=1", false),
    ] {
        let auth_server = Api::new(|_| token_response("t"));
        let source = TokenEndpoint::new(auth_server.clone()).allowed_endpoints([ALLOWED]).unwrap();
        let result = source.oneshot(TokenRequest::new(credentials_at(endpoint))).await;
        assert_eq!(result.is_ok(), allowed, "{endpoint}");
        assert_eq!(auth_server.count(), usize::from(allowed), "{endpoint}");
        if let Err(error) = result {
            assert_eq!(error.kind(), TokenErrorKind::EndpointNotAllowed, "{endpoint}");
            assert!(!error.is_transient());
        }
    }
}

// X4
#[tokio::test]
async fn an_empty_list_of_allowed_endpoints_allows_none() {
    let auth_server = Api::new(|_| token_response("t"));
    let source = TokenEndpoint::new(auth_server.clone()).allowed_endpoints(Vec::<String>::new());
    let request = TokenRequest::new(credentials_at("https://auth.test/token"));
    let error = source.unwrap().oneshot(request).await.unwrap_err();
    assert_eq!(error.kind(), TokenErrorKind::EndpointNotAllowed);
    assert_eq!(auth_server.count(), 0);
    assert!(TokenEndpoint::new(auth_server).allowed_endpoints(["/token"]).is_err());
}

// X4
#[tokio::test]
async fn a_tenant_cannot_send_token_requests_to_other_hosts() {
    let auth_server = Api::new(|_| token_response("t"));
    let source = TokenEndpoint::new(auth_server.clone())
        .allowed_endpoints(["https://auth.test/token"])
        .unwrap();
    let layer = OAuth2Layer::per_request(only(&["https://api.test"]));
    let api = Api::always(200);
    let tokens = Tokens::new(credentials_at("https://internal.test/admin"), source);
    let request = request("https://api.test/").tokens(&tokens);
    assert_eq!(kind(send(&layer, &api, request).await), TokenErrorKind::EndpointNotAllowed);
    assert_eq!((api.count(), auth_server.count()), (0, 0));
}
