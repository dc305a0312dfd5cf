use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;
use serde_json::json;
use tower::BoxError;
use tower_oauth2::client_auth::{ClientAuthentication, Identity, TokenRequestParts};
use tower_oauth2::{ClientAuth, Credentials, TokenErrorKind};

use crate::support::*;

type Change = fn(Credentials) -> Credentials;

const PLAIN: &str = "grant_type=client_credentials";

/// Returns the head and the body of a token request to `target`.
async fn arrives(target: &str, auth: ClientAuth, change: Change) -> String {
    let endpoint = RawEndpoint::answering(response(200, &[], r#"{"access_token":"t"}"#)).await;
    let credentials = change(Credentials::new(endpoint.url(target), auth).unwrap());
    assert_eq!(ask(credentials).await.unwrap().secret(), "t");
    assert_eq!(endpoint.count(), 1);
    let request = endpoint.requests()[0].replace(&endpoint.address.to_string(), "ADDRESS");
    let user_agent = concat!("tower-oauth2/", env!("CARGO_PKG_VERSION"), "\r\n");
    request.replace(&format!("user-agent: {user_agent}"), "user-agent: USER-AGENT\r\n")
}

/// Returns the expected request. `proof` contains whole header lines.
fn expected(target: &str, proof: &str, body: &str) -> String {
    format!(
        "POST {target} HTTP/1.1\r\n\
         {proof}\
         accept: application/json\r\n\
         accept-encoding: identity\r\n\
         user-agent: USER-AGENT\r\n\
         content-type: application/x-www-form-urlencoded\r\n\
         host: ADDRESS\r\n\
         content-length: {}\r\n\
         \r\n\
         {body}",
        body.len()
    )
}

fn basic(user_pass: &str) -> String {
    format!("authorization: Basic {}\r\n", BASE64_STANDARD.encode(user_pass))
}

fn unchanged(credentials: Credentials) -> Credentials {
    credentials
}

/// Authenticates with a header and a parameter, after a delay.
struct Proof;

impl ClientAuthentication for Proof {
    fn method(&self) -> &str {
        "proof"
    }

    fn identify(&self, _: &mut Identity) {}

    async fn authenticate(&self, request: &mut TokenRequestParts) -> Result<(), BoxError> {
        tokio::task::yield_now().await;
        let about = format!(
            "{} {}",
            request.endpoint().path(),
            request.parameter("grant_type").unwrap_or_default()
        );
        request.headers_mut().insert("proof", HeaderValue::try_from(about)?);
        request.set_parameter("client_assertion", "a.b.c");
        Ok(())
    }
}

// W1, alf 1
#[tokio::test]
async fn a_plain_request_has_basic_authentication_and_grant_type_only() {
    let auth = ClientAuth::client_secret_basic("client-id", "s3cr3t");
    assert_eq!(
        arrives("/token", auth, unchanged).await,
        "POST /token HTTP/1.1\r\n\
         authorization: Basic Y2xpZW50LWlkOnMzY3IzdA==\r\n\
         accept: application/json\r\n\
         accept-encoding: identity\r\n\
         user-agent: USER-AGENT\r\n\
         content-type: application/x-www-form-urlencoded\r\n\
         host: ADDRESS\r\n\
         content-length: 29\r\n\
         \r\n\
         grant_type=client_credentials"
    );
}

// W1, W2
#[tokio::test]
async fn each_method_authenticates_in_one_way_only() {
    let body = |more: &str| format!("{PLAIN}{more}");
    for (auth, proof, body) in [
        (ClientAuth::client_secret_basic("id", "pw"), basic("id:pw"), body("")),
        (ClientAuth::client_secret_basic_raw("id", "pw"), basic("id:pw"), body("")),
        (
            ClientAuth::client_secret_post("id", "pw"),
            String::new(),
            body("&client_id=id&client_secret=pw"),
        ),
        (ClientAuth::none("id"), String::new(), body("&client_id=id")),
        (
            ClientAuth::custom(Proof),
            "proof: /token client_credentials\r\n".to_owned(),
            body("&client_assertion=a.b.c"),
        ),
    ] {
        let arrived = arrives("/token", auth.clone(), unchanged).await;
        assert_eq!(arrived, expected("/token", &proof, &body), "{auth:?}");
    }
}

// W1, alf 2, alf 3
#[tokio::test]
async fn the_form_contains_the_settings_that_are_not_empty() {
    let cases: [(Change, &str); 13] = [
        (|c| c.scope("read write"), "&scope=read+write"),
        (
            |c| c.audience("https://api.example.com/my-api/"),
            "&audience=https%3A%2F%2Fapi.example.com%2Fmy-api%2F",
        ),
        (|c| c.resource("https://a.test"), "&resource=https%3A%2F%2Fa.test"),
        (|c| c.resource("urn:b").resource("urn:a"), "&resource=urn%3Ab&resource=urn%3Aa"),
        (|c| c.parameter("organization", "org 1&2"), "&organization=org+1%262"),
        (
            |c| c.parameter("z", "3").resource("urn:a").audience("b").scope("s"),
            "&scope=s&audience=b&resource=urn%3Aa&z=3",
        ),
        (
            |c| c.authorization_details(json!([{ "type": "a", "actions": ["r"] }])).unwrap(),
            "&authorization_details=%5B%7B%22actions%22%3A%5B%22r%22%5D%2C%22type%22%3A%22a%22%7D%5D",
        ),
        (
            |c| {
                let c = c.authorization_details(json!([{ "type": "a" }])).unwrap();
                c.authorization_details(json!([])).unwrap()
            },
            "",
        ),
        (|c| c.scope("").audience("").resource("").parameter("p", ""), ""),
        (|c| c.scope(" \t\n "), ""),
        (|c| c.scope("s").scope(""), ""),
        (|c| c.audience("b").audience("").audience("a").audience("b"), "&audience=b&audience=a"),
        (
            |c| c.scope("лес").parameter("naïve", "=&"),
            "&scope=%D0%BB%D0%B5%D1%81&na%C3%AFve=%3D%26",
        ),
    ];
    for (change, more) in cases {
        let auth = ClientAuth::client_secret_basic("id", "pw");
        let arrived = arrives("/token", auth, change).await;
        assert_eq!(arrived, expected("/token", &basic("id:pw"), &format!("{PLAIN}{more}")));

        // The parameters of client authentication come last.
        let arrived = arrives("/token", ClientAuth::none("id"), change).await;
        assert_eq!(arrived, expected("/token", "", &format!("{PLAIN}{more}&client_id=id")));
    }
}

// W12, RFC 9396 section 2
#[test]
fn authorization_details_must_be_objects_with_a_type() {
    for (details, expected) in [
        (json!(null), "must be a JSON array of objects"),
        (json!("text"), "must be a JSON array of objects"),
        (json!({ "type": "a" }), "must be a JSON array of objects"),
        (json!(["a"]), "must be a JSON array of objects"),
        (json!([{ "type": "a" }, null]), "must be a JSON array of objects"),
        (json!([{}]), "needs a type in each object"),
        (json!([{ "type": "" }]), "needs a type in each object"),
        (json!([{ "type": 7 }]), "needs a type in each object"),
        (json!([{ "type": "a" }, { "Type": "b" }]), "needs a type in each object"),
    ] {
        let error = credentials().authorization_details(details).unwrap_err();
        assert_eq!(error.to_string(), format!("authorization_details {expected}"));
    }
    let details = json!([{ "type": "s3cr3t", "amount": 7 }]);
    let credentials = credentials().authorization_details(details).unwrap();
    assert!(!format!("{credentials:?}").contains("s3cr3t"), "{credentials:?}");
    let parameters = credentials.parameters();
    assert!(
        parameters.contains(&(
            "authorization_details".into(),
            r#"[{"amount":7,"type":"s3cr3t"}]"#.into()
        ))
    );
}

// W1, alf 3
#[test]
fn empty_settings_make_no_difference() {
    let plain = credentials();
    let empty = plain.clone().scope(" ").audience("").resource("").parameter("p", "");
    assert_eq!(empty, plain);
    let expected = [("grant_type".into(), "client_credentials".into())];
    assert_eq!(empty.parameters(), expected);
}

// W1
#[tokio::test]
async fn only_resource_and_audience_are_repeated() {
    let cases: [(Change, &str); 7] = [
        (|c| c.parameter("p", "1").parameter("p", "2"), "&p=2"),
        (|c| c.parameter("p", "1").parameter("p", ""), ""),
        (|c| c.scope("read").scope("write"), "&scope=write"),
        (|c| c.scope("read write read"), "&scope=read+write"),
        (|c| c.scope("read").parameter("scope", "write"), "&scope=write"),
        (|c| c.audience("a").audience("b").parameter("audience", "c"), "&audience=c"),
        (
            |c| c.resource("urn:a").resource("urn:b").resource("urn:a"),
            "&resource=urn%3Aa&resource=urn%3Ab",
        ),
    ];
    for (change, more) in cases {
        let auth = ClientAuth::client_secret_basic("id", "pw");
        let arrived = arrives("/token", auth, change).await;
        assert_eq!(arrived, expected("/token", &basic("id:pw"), &format!("{PLAIN}{more}")));
    }

    let auth = ClientAuth::client_secret_post("id", "pw");
    let arrived = arrives("/token", auth, |c| {
        c.parameter("client_id", "another").parameter("client_secret", "another")
    });
    let body = format!("{PLAIN}&client_id=id&client_secret=pw");
    assert_eq!(arrived.await, expected("/token", "", &body));
}

// W2, alf 8
#[tokio::test]
async fn id_and_secret_may_be_any_text() {
    let (id, secret) = ("a:b+c%d ü~*-._", "p@ss: + % 日本");
    let (encoded_id, encoded_secret) =
        ("a%3Ab%2Bc%25d+%C3%BC%7E*-._", "p%40ss%3A+%2B+%25+%E6%97%A5%E6%9C%AC");

    // Some servers read `+` as itself there, and all read `%20` as a space.
    let arrived = arrives("/", ClientAuth::client_secret_basic(id, secret), unchanged).await;
    let proof = basic(&format!("{encoded_id}:{encoded_secret}").replace('+', "%20"));
    assert_eq!(arrived, expected("/", &proof, PLAIN));

    let id_without_colon = id.replace(':', "");
    let auth = ClientAuth::client_secret_basic_raw(&id_without_colon, secret);
    let proof = basic(&format!("{id_without_colon}:{secret}"));
    assert_eq!(arrives("/", auth, unchanged).await, expected("/", &proof, PLAIN));

    let arrived = arrives("/", ClientAuth::client_secret_post(id, secret), unchanged).await;
    let body = format!("{PLAIN}&client_id={encoded_id}&client_secret={encoded_secret}");
    assert_eq!(arrived, expected("/", "", &body));
}

// W2, W12, alf 8
#[test]
fn a_raw_id_with_a_colon_is_an_error_and_nothing_is_sent() {
    let auth = ClientAuth::client_secret_basic_raw("client:id", "s3cr3t");
    let error = Credentials::new("https://auth.test", auth).unwrap_err();
    assert!(error.to_string().contains("colon"), "{error}");
}

// W2
#[tokio::test]
async fn failed_client_authentication_is_an_error_and_nothing_is_sent() {
    struct Broken;

    impl ClientAuthentication for Broken {
        fn method(&self) -> &str {
            "broken"
        }

        fn identify(&self, _: &mut Identity) {}

        async fn authenticate(&self, _request: &mut TokenRequestParts) -> Result<(), BoxError> {
            tokio::task::yield_now().await;
            Err("no such file".into())
        }
    }

    let endpoint = RawEndpoint::answering(response(200, &[], r#"{"access_token":"t"}"#)).await;
    let auth = ClientAuth::custom(Broken);
    let error = ask(Credentials::new(endpoint.url("/"), auth).unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), TokenErrorKind::ClientAuthentication);
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "no such file");
    assert_eq!(endpoint.count(), 0);
}

// W1
#[tokio::test]
async fn the_endpoints_own_query_is_kept() {
    for (given, sent) in [
        ("/token?tenant=a%20b&x", "/token?tenant=a%20b&x"),
        ("/a//b/../c?grant_type=other", "/a//b/../c?grant_type=other"),
        ("", "/"),
        ("?only=query", "/?only=query"),
    ] {
        let arrived = arrives(given, ClientAuth::none("id"), unchanged).await;
        assert_eq!(arrived, expected(sent, "", &format!("{PLAIN}&client_id=id")));
    }
}

// W1
#[test]
fn an_endpoint_with_a_fragment_or_user_information_is_refused() {
    for (endpoint, why) in [
        (
            "https://a.test/token#part",
            "token endpoint must not have a fragment: https://a.test/token#...",
        ),
        (
            "https://a.test/token#",
            "token endpoint must not have a fragment: https://a.test/token#...",
        ),
        (
            "https://id:pw@a.test/token",
            "token endpoint must not have user information: https://...@a.test/token",
        ),
        (
            "https://@a.test/token",
            "token endpoint must not have user information: https://...@a.test/token",
        ),
        ("/token", "token endpoint needs a scheme and a host"),
        ("https://a b/token", "token endpoint is not a valid URI: https://a..."),
    ] {
        let refused = Credentials::new(endpoint, ClientAuth::none("id")).unwrap_err();
        assert_eq!(refused.to_string(), why, "{endpoint}");
    }
}

/// Names another user agent.
struct OtherUserAgent;

impl ClientAuthentication for OtherUserAgent {
    fn method(&self) -> &str {
        "other"
    }

    fn identify(&self, _: &mut Identity) {}

    async fn authenticate(&self, request: &mut TokenRequestParts) -> Result<(), BoxError> {
        request.headers_mut().insert("user-agent", HeaderValue::from_static("my-service/1"));
        Ok(())
    }
}

// W1
#[tokio::test]
async fn client_authentication_may_set_another_user_agent() {
    let arrived = arrives("/token", ClientAuth::custom(OtherUserAgent), unchanged).await;
    assert!(arrived.contains("\r\nuser-agent: my-service/1\r\n"), "{arrived}");
}
