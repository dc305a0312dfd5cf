use std::error::Error as _;
use std::time::Duration;

use tower_oauth2::{ClientAuth, Credentials, TokenError, TokenErrorKind};

use crate::support::*;

/// The maximum size of an error's body.
const KEPT: usize = 64 * 1024;

async fn refused(response: Vec<u8>) -> (TokenError, String) {
    let endpoint = RawEndpoint::answering(response).await;
    let error = ask(credentials_at(endpoint.url("/token"))).await.unwrap_err();
    (error, endpoint.address.to_string())
}

// W5
#[tokio::test]
async fn an_error_contains_the_response_of_the_endpoint() {
    let body = r#"{
        "error": "invalid_client",
        "error_description": "No such client, or another secret.",
        "error_uri": "https://auth.example.com/errors/7",
        "more": 1
    }"#;
    let headers = [
        "WWW-Authenticate: Basic realm=\"tokens\"",
        "Retry-After: 17",
        "X-Request-Id: 1",
        "X-Request-Id: 2",
    ];
    let (error, address) = refused(response(401, &headers, body)).await;

    assert_eq!(error.kind(), TokenErrorKind::ErrorResponse);
    assert_eq!(error.status().unwrap(), 401);
    let fields = error.headers().unwrap();
    assert_eq!(fields["www-authenticate"], "Basic realm=\"tokens\"");
    assert_eq!(fields.get_all("x-request-id").iter().collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(error.body().unwrap(), body);
    assert_eq!(error.error_code(), Some("invalid_client"));
    assert_eq!(error.error_description(), Some("No such client, or another secret."));
    assert_eq!(error.error_uri(), Some("https://auth.example.com/errors/7"));
    assert_eq!(error.retry_after(), Some(Duration::from_secs(17)));
    assert!(error.rejected_response().is_none());
    assert!(error.source().is_none());
    assert_eq!(
        error.to_string(),
        format!(
            "no token from http://{address}: the endpoint answered with an error \
             (status 401, invalid_client); check client id, secret and authentication method; \
             the server's reason is in error_description()"
        )
    );
    assert_eq!(
        format!("{error:?}"),
        format!("TokenError {{ kind: ErrorResponse, text: \"{error}\", retry_after: 17s, .. }}")
    );
}

// W5
#[tokio::test]
async fn an_error_without_json_has_status_headers_and_body() {
    for body in ["<html>Bad Gateway</html>", "", "[]", "\"invalid_client\"", "{\"error\":"] {
        let (error, address) = refused(response(502, &["Server: proxy"], body)).await;
        assert_eq!(error.kind(), TokenErrorKind::ErrorResponse, "{body}");
        assert_eq!(error.status().unwrap(), 502);
        assert_eq!(error.headers().unwrap()["server"], "proxy");
        assert_eq!(error.body().unwrap(), body);
        assert_eq!(error.error_code(), None);
        assert_eq!(error.error_description(), None);
        assert_eq!(error.error_uri(), None);
        assert_eq!(error.retry_after(), None);
        assert_eq!(
            error.to_string(),
            format!(
                "no token from http://{address}: the endpoint answered with an error (status 502); \
                 check the state of that server"
            )
        );
    }
}

// W5
#[tokio::test]
async fn members_of_an_error_that_are_not_strings_are_absent() {
    let body = r#"{"error":{"code":1},"error_description":null,"error_uri":["https://a.test"]}"#;
    let (error, _) = refused(response(400, &[], body)).await;
    assert_eq!(error.kind(), TokenErrorKind::ErrorResponse);
    assert_eq!(
        (error.error_code(), error.error_description(), error.error_uri()),
        (None, None, None)
    );
}

// W5
#[tokio::test]
async fn at_most_64_kib_of_a_body_are_kept() {
    let page = "x".repeat(KEPT + 1);
    for status in [302, 400, 500] {
        let (error, _) = refused(response(status, &[], &page)).await;
        assert_eq!(error.status().unwrap(), status);
        assert_eq!(error.body().unwrap(), &page[..KEPT]);
    }
    let (error, _) = refused(response(200, &[], &page)).await;
    assert_eq!(error.kind(), TokenErrorKind::MalformedResponse);
    assert_eq!(error.body().unwrap(), &page[..KEPT]);

    // A success is read to its end, so the error has its members.
    let body = format!(r#"{{"padding":"{page}","error":"invalid_scope"}}"#);
    let (error, _) = refused(response(200, &[], &body)).await;
    assert_eq!(error.error_code(), Some("invalid_scope"));
    assert_eq!(error.body().unwrap(), &body[..KEPT]);

    let (error, _) = refused(response(400, &[], &page[..KEPT])).await;
    assert_eq!(error.body().unwrap(), &page[..KEPT]);
}

// W5, alf 40
#[tokio::test]
async fn only_registered_error_codes_are_shown() {
    let unknown = ("an unregistered code", "check body()");
    for (code, (shown, look_at)) in [
        ("invalid_scope", ("invalid_scope", "check the scopes that this client may request")),
        ("invalid_target", ("invalid_target", "check audience and resource")),
        (SECRET, unknown),
        ("INVALID_SCOPE", unknown),
        ("invalid_scope ", unknown),
        ("\\u001b[2J\\n", unknown),
    ] {
        let body = format!(r#"{{"error":"{code}","error_description":"{SECRET}"}}"#);
        let (error, address) = refused(response(400, &[], body)).await;
        assert_eq!(
            error.to_string(),
            format!(
                "no token from http://{address}: the endpoint answered with an error \
                 (status 400, {shown}); {look_at}; the server's reason is in error_description()"
            )
        );
        assert!(format!("{error:?}").contains(&format!("text: {:?}", error.to_string())));
    }
}

// W5
#[tokio::test]
async fn an_empty_error_code_is_absent() {
    for code in ["", " "] {
        let (error, _) = refused(response(400, &[], format!(r#"{{"error":"{code}"}}"#))).await;
        assert_eq!((error.kind(), error.error_code()), (TokenErrorKind::ErrorResponse, None));
        assert!(error.to_string().contains("(status 400);"), "{error}");
    }
}

// W5
#[tokio::test]
async fn texts_are_short_and_printable() {
    let (token, mac) = (r#"{"access_token":"\u0007"}"#, r#"{"token_type":"\u001b[1mmac"}"#);
    let noise = "\u{1b}[31m\r\n\u{0}".repeat(1000);
    for answer in [
        response(200, &[], token),
        response(200, &[], mac),
        response(200, &[], &noise),
        response(200, &[], "x".repeat((1 << 20) + 1)),
        response(302, &["Location: https://a.test/\u{fc}"], ""),
        response(400, &[], format!(r#"{{"error":"{}"}}"#, "\\u001b".repeat(1000))),
        response(599, &["Retry-After: 99999999999999999999"], &noise),
        b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(),
    ] {
        let (error, _) = refused(answer).await;
        for (text, longest) in [(error.to_string(), 200), (format!("{error:?}"), 300)] {
            assert!(text.len() < longest, "{text}");
            assert!(text.chars().all(|c| c == ' ' || c.is_ascii_graphic()), "{text:?}");
        }
    }
}

// W5: an endpoint may come from a tenant.
#[tokio::test]
async fn texts_are_short_even_if_the_endpoint_has_a_long_name() {
    let endpoint = format!("http://{}.test/token", "a".repeat(60_000));
    let error = ask(Credentials::new(endpoint, ClientAuth::none("id")).unwrap()).await;
    let error = error.unwrap_err();
    for text in [error.to_string(), format!("{error:?}")] {
        assert!(text.len() < 1000, "{} characters", text.len());
    }
}

// W5
#[tokio::test]
async fn retry_after_is_read_in_both_forms() {
    let date = "Date: Sun, 06 Nov 1994 08:49:37 GMT";
    for (headers, expected) in [
        (&["Retry-After: 120"] as &[&str], Some(120)),
        (&["Retry-After: 0"], Some(0)),
        (&["Retry-After: Sun, 06 Nov 1994 08:51:07 GMT", date], Some(90)),
        (&["Retry-After: Sunday, 06-Nov-94 08:51:07 GMT", date], Some(90)),
        (&["Retry-After: Sun, 06 Nov 1994 08:00:00 GMT", date], Some(0)),
        // This date is long ago by this machine's clock.
        (&["Retry-After: Sun, 06 Nov 1994 08:51:07 GMT"], Some(0)),
        (&["Retry-After: soon"], None),
        (&["Retry-After: -1"], None),
        (&[], None),
    ] {
        for status in [429, 503] {
            let (error, _) = refused(response(status, headers, "")).await;
            assert_eq!(error.retry_after(), expected.map(Duration::from_secs), "{headers:?}");
            assert!(error.is_transient());
        }
    }
}

// C9
#[tokio::test]
async fn transient_errors_differ_from_permanent_ones() {
    for (status, body, transient) in [
        (400, r#"{"error":"invalid_client"}"#, false),
        (401, "", false),
        (403, "", false),
        (404, "", false),
        (408, "", true),
        (418, "", false),
        (429, "", true),
        (500, r#"{"error":"invalid_client"}"#, true),
        (502, "", true),
        (599, "", true),
        (200, r#"{"error":"temporarily_unavailable"}"#, true),
        (200, r#"{"error":"server_error"}"#, true),
        (200, r#"{"error":"slow_down"}"#, true),
        (400, r#"{"error":"temporarily_unavailable"}"#, true),
        (400, r#"{"error":"server_error"}"#, true),
        (401, r#"{"error":"slow_down"}"#, true),
        (403, r#"{"error":"SLOW_DOWN"}"#, false),
        (200, r#"{"error":"invalid_client"}"#, false),
    ] {
        let (error, _) = refused(response(status, &[], body)).await;
        assert_eq!(error.is_transient(), transient, "{status} {body}");
    }
}

// alf 38
#[tokio::test]
async fn an_unreachable_endpoint_is_a_transport_error_with_its_cause() {
    let error = ask(credentials_at(unreachable_url().await)).await.unwrap_err();
    assert_eq!(error.kind(), TokenErrorKind::Transport);
    assert!(error.is_transient());
    assert!(error.status().is_none() && error.headers().is_none() && error.body().is_none());
    let mut cause = error.source().unwrap();
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let cause = cause.downcast_ref::<std::io::Error>().unwrap();
    assert_eq!(cause.kind(), std::io::ErrorKind::ConnectionRefused);
}
