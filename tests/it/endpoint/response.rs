use std::time::Duration;

use serde_json::{Value, json};
use tower_oauth2::{AccessToken, TokenError, TokenErrorKind};

use crate::support::*;

async fn answered(status: u16, body: impl AsRef<[u8]>) -> Result<AccessToken, TokenError> {
    let endpoint = RawEndpoint::answering(response(status, &[], body)).await;
    ask(credentials_at(endpoint.url("/token"))).await
}

async fn token(body: impl AsRef<[u8]>) -> AccessToken {
    answered(200, body).await.unwrap()
}

// W3, alf 20
#[tokio::test]
async fn any_2xx_status_is_a_success() {
    for status in [200, 201, 202, 203, 206, 226, 299] {
        let token = answered(status, r#"{"access_token":"t"}"#).await.unwrap();
        assert_eq!(token.secret(), "t", "{status}");
    }
}

// W3
#[tokio::test]
async fn all_members_of_a_response_can_be_read() {
    let token = token(
        r#" {
            "access_token": "2YotnFZFEjr1zCsicMWpAA",
            "token_type": "Bearer",
            "expires_in": 3600,
            "refresh_in": 1800,
            "scope": "read write",
            "refresh_token": "do-not-keep-me",
            "instance_url": "https://eu1.example.com",
            "nested": {"list": [1, null, "ü"]}
        } "#,
    )
    .await;
    assert_eq!(token.secret(), "2YotnFZFEjr1zCsicMWpAA");
    assert_eq!(token.header_value(), "Bearer 2YotnFZFEjr1zCsicMWpAA");
    assert!(token.header_value().is_sensitive());
    assert_eq!(token.lifetime(), Some(Duration::from_secs(3600)));
    assert_eq!(token.refresh_in(), Some(Duration::from_secs(1800)));
    assert_eq!(token.scope(), Some("read write"));
    assert_eq!(token.extra("instance_url"), Some(Value::from("https://eu1.example.com")));
    assert_eq!(token.extra("nested"), Some(json!({"list": [1, null, "ü"]})));
    assert_eq!(token.extra("absent"), None);
    // An ID token is a secret that this crate does not use.
    assert_eq!(token.extra("refresh_token"), None);
}

// W3
#[tokio::test]
async fn extra_members_that_are_too_large_are_dropped_with_one_event() {
    let (trace, _guard) = Trace::start();
    let large = "l".repeat(64 * 1024);
    let body = format!(
        r#"{{"access_token":"t","a_large":"{large}","b":{{"c":[1]}},"d_large":"{large}","e":"f"}}"#
    );
    let token = token(body).await;
    assert_eq!(token.extra("a_large"), None);
    assert_eq!(token.extra("d_large"), None);
    assert_eq!(token.extra("b"), Some(json!({"c": [1]})));
    assert_eq!(token.extra("e"), Some(json!("f")));
    let lines = trace.lines();
    let dropped: Vec<_> = lines.iter().filter(|line| line.contains("dropped")).collect();
    assert_eq!(dropped.len(), 1, "{lines:?}");
    assert!(dropped[0].starts_with("DEBUG") && dropped[0].contains("dropped=2"), "{dropped:?}");
    assert!(!lines.iter().any(|line| line.contains("large\"") || line.contains("lll")));
}

// W3
#[tokio::test]
async fn an_extra_member_is_read_as_it_was_sent() {
    let token = token(
        r#"{"access_token":"t", "n\u0061me" : { "a" : 1.50 } ,"twice":1,"twice":2,"odd":1e400}"#,
    )
    .await;
    assert_eq!(token.extra("name"), Some(json!({"a": 1.5})));
    assert_eq!(token.extra("twice"), Some(json!(2)));
    assert_eq!(token.extra("odd"), None);
    let more = token.with_extra("twice", 3).with_extra("new", json!([null]));
    assert_eq!(more.extra("twice"), Some(json!(3)));
    assert_eq!(more.extra("new"), Some(json!([null])));
    assert_eq!(more.extra("name"), Some(json!({"a": 1.5})));
}

// W3, alf 16, alf 17, alf 18
#[tokio::test]
async fn odd_lifetimes_are_read_clamped_or_ignored() {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    let seconds = |seconds| Some(Duration::from_secs_f64(seconds));
    for (expires_in, lifetime) in [
        ("3600", seconds(3600.0)),
        ("\"3600\"", seconds(3600.0)),
        ("3600.9", seconds(3600.9)),
        ("\"3600.5\"", seconds(3600.5)),
        ("3.6e3", seconds(3600.0)),
        ("0", seconds(0.0)),
        ("-0.0", seconds(0.0)),
        ("-1", seconds(0.0)),
        ("\"-3600\"", seconds(0.0)),
        ("-1e400", seconds(0.0)),
        ("1e-400", seconds(0.0)),
        ("1e400", Some(YEAR)),
        ("\"1e400\"", Some(YEAR)),
        ("1000000000000000000", Some(YEAR)),
        ("1000000000000000000000000000000", Some(YEAR)),
        ("31536001", Some(YEAR)),
        ("null", None),
        ("\"\"", None),
        ("\"soon\"", None),
        ("\"NaN\"", None),
        ("\"infinity\"", None),
        ("true", None),
        ("[3600]", None),
        ("{\"seconds\":3600}", None),
    ] {
        let body = format!(r#"{{"access_token":"t","expires_in":{expires_in}}}"#);
        assert_eq!(token(body).await.lifetime(), lifetime, "{expires_in}");
    }
    assert_eq!(token(r#"{"access_token":"t"}"#).await.lifetime(), None);
}

// W3, alf 12
#[tokio::test]
async fn a_token_type_ignores_case_and_defaults_to_bearer() {
    for odd in
        ["", r#","token_type":"bEaReR""#, r#","token_type":"BEARER""#, r#","token_type":null"#]
    {
        let token = token(format!(r#"{{"access_token":"t"{odd}}}"#)).await;
        assert_eq!(token.header_value(), "Bearer t", "{odd}");
    }
}

// W3, alf 12
#[tokio::test]
async fn an_unknown_token_type_is_an_error() {
    for odd in [
        r#""mac""#,
        r#""DPoP""#,
        r#""N_A""#,
        r#""""#,
        r#"" Bearer""#,
        r#""Bearer mac""#,
        "7",
        "[\"Bearer\"]",
        "{}",
        "false",
    ] {
        let body = format!(r#"{{"access_token":"t","token_type":{odd}}}"#);
        let error = answered(200, body).await.expect_err(odd);
        assert_eq!(error.kind(), TokenErrorKind::UnsupportedTokenType, "{odd}");
        assert_eq!(error.status().unwrap(), 200);
    }
}

// W3
#[tokio::test]
async fn a_malformed_token_type_is_an_error() {
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    for odd in [r#""\ud800""#, "1e400", &deep] {
        let body = format!(r#"{{"access_token":"t","token_type":{odd}}}"#);
        let error = answered(200, body).await.expect_err(odd);
        assert_eq!(error.kind(), TokenErrorKind::UnsupportedTokenType, "{odd}");
    }
}

// W3
#[tokio::test]
async fn an_error_string_in_a_success_is_an_error() {
    for (error, code) in [
        (r#""invalid_scope""#, "invalid_scope"),
        (r#""temporarily_unavailable""#, "temporarily_unavailable"),
    ] {
        let body = format!(r#"{{"access_token":"t","error":{error}}}"#);
        let refused = answered(200, body).await.expect_err(error);
        assert_eq!(refused.kind(), TokenErrorKind::ErrorResponse);
        assert_eq!(refused.status().unwrap(), 200);
        assert_eq!(refused.error_code(), Some(code));
    }
    let empty = [r#""""#, r#"" ""#];
    for none in ["null", "false", "0", "[]", r#"{"code":"invalid_scope"}"#].into_iter().chain(empty)
    {
        let body = format!(r#"{{"access_token":"t","error":{none}}}"#);
        assert_eq!(token(body).await.secret(), "t", "{none}");
    }
}

// W3
#[tokio::test]
async fn an_error_with_an_invalid_escape_is_an_error() {
    let refused = answered(200, r#"{"access_token":"t","error":"\ud800"}"#).await;
    assert_eq!(refused.unwrap_err().kind(), TokenErrorKind::ErrorResponse);
}

// W4, alf 9
#[tokio::test]
async fn a_redirect_is_an_error_and_not_followed() {
    let good = r#"{"access_token":"t"}"#;
    for status in [300, 301, 302, 303, 307, 308] {
        let elsewhere = RawEndpoint::answering(response(200, &[], good)).await;
        let location = format!("Location: {}", elsewhere.url("/token"));
        let endpoint = RawEndpoint::answering(response(status, &[&location], good)).await;
        let error = ask(credentials_at(endpoint.url("/token"))).await.unwrap_err();
        assert_eq!(error.kind(), TokenErrorKind::Redirect, "{status}");
        assert_eq!(error.status().unwrap(), status);
        assert_eq!(error.headers().unwrap()["location"], elsewhere.url("/token"));
        assert!(!error.is_transient());
        assert_eq!((endpoint.count(), elsewhere.count()), (1, 0), "{status}");
    }
}

// W4
#[tokio::test]
async fn a_response_is_read_up_to_one_mebibyte() {
    let of = |length: usize| {
        let mut body = String::from(r#"{"access_token":"t"}"#);
        body.push_str(&" ".repeat(length - body.len()));
        body
    };
    assert_eq!(token(of(1 << 20)).await.secret(), "t");
    let error = answered(200, of((1 << 20) + 1)).await.unwrap_err();
    assert_eq!(error.kind(), TokenErrorKind::ResponseTooLarge);
}

// W3
#[tokio::test]
async fn a_body_in_chunks_with_trailers_is_read_as_one() {
    let mut answer = head(200, &["Transfer-Encoding: chunked", "Trailer: X-Checksum"]);
    answer.extend_from_slice(
        b"10\r\n{\"access_token\":\r\n4\r\n\"t\"}\r\n0\r\nX-Checksum: 7\r\n\r\n",
    );
    let endpoint = RawEndpoint::answering(answer).await;
    let credentials = credentials_at(endpoint.url("/token"));
    assert_eq!(ask(credentials).await.unwrap().secret(), "t");
}

// W3, W5
#[tokio::test]
async fn a_byte_order_mark_before_json_is_skipped() {
    assert_eq!(token("\u{feff}{\"access_token\":\"t\"}").await.secret(), "t");
    let error = answered(400, "\u{feff}{\"error\":\"invalid_scope\"}").await.unwrap_err();
    assert_eq!(error.error_code(), Some("invalid_scope"));
}

async fn encoded(status: u16, encoding: &str, body: &str) -> Result<AccessToken, TokenError> {
    let header = format!("Content-Encoding: {encoding}");
    let endpoint = RawEndpoint::answering(response(status, &[&header], body)).await;
    ask(credentials_at(endpoint.url("/token"))).await
}

// W4
#[tokio::test]
async fn an_error_names_an_encoding_that_was_not_decoded() {
    for encoding in ["gzip", "br", "GZIP", "identity, zstd"] {
        for (status, kind) in
            [(200, TokenErrorKind::MalformedResponse), (400, TokenErrorKind::ErrorResponse)]
        {
            let error = encoded(status, encoding, "\u{1f}compressed").await.unwrap_err();
            assert_eq!(error.kind(), kind);
            let expected = format!(
                "(status {status}): the HTTP client did not decode its Content-Encoding; check"
            );
            assert!(error.to_string().contains(&expected), "{encoding}: {error}");
            assert_eq!(error.headers().unwrap()["content-encoding"], encoding);
        }
    }
    // Nothing is encoded, or the client has decoded it.
    for encoding in ["identity", "", "gzip"] {
        let token = encoded(200, encoding, r#"{"access_token":"t"}"#).await.unwrap();
        assert_eq!(token.secret(), "t", "{encoding}");
    }
    for encoding in ["identity", ""] {
        let error = encoded(200, encoding, "<html>").await.unwrap_err();
        assert!(!error.to_string().contains("Content-Encoding"), "{error}");
    }
}
