use http::Response;
use http_body_util::Full;
use tokio::time::advance;

use super::*;

/// The depth of nested JSON that overflows a recursive parser.
const DEPTH: usize = 10_000;

async fn assert_refused(answer: Vec<u8>, kind: TokenErrorKind, name: &str) -> TokenError {
    let endpoint = RawEndpoint::answering(answer).await;
    let error = refused(&endpoint.url("/token"), LONG, name).await;
    assert_eq!(error.kind(), kind, "{name}");
    assert_eq!(endpoint.count(), 1, "{name}");
    error
}

fn nested(open: &str, close: &str) -> String {
    format!("{}{}", open.repeat(DEPTH), close.repeat(DEPTH))
}

// W3, alf 19
#[tokio::test]
async fn a_success_without_a_json_object_is_malformed() {
    let text = |start: &str, end: &str| format!("{start}{TEXT} {TOKEN} {SECRET}{end}").into_bytes();
    let invalid = [br#"{"access_token":"t","more":""#, b"\xff\xc3\x28".as_slice(), b"\"}"].concat();
    for (name, body) in [
        ("HTML", text("<html>", "</html>")),
        ("an array", text("[\"", "\"]")),
        ("a string", text("\"", "\"")),
        ("an array of a token", format!(r#"[{{"access_token":"{TOKEN}"}}]"#).into_bytes()),
        ("nothing", Vec::new()),
        ("white space", b" \r\n\t".to_vec()),
        ("null", b"null".to_vec()),
        ("half an object", text("{\"access_token\":\"", "")),
        ("more than an object", text(r#"{"access_token":"t"} "#, "")),
        ("two objects", br#"{"access_token":"t"}{"access_token":"t"}"#.to_vec()),
        ("a form", text("access_token=", "")),
        ("a key that is broken", text(r#"{"access_token":"t","\ud800":""#, "\"}")),
        ("invalid UTF-8", invalid),
        ("UTF-16", "{\"access_token\":\"t\"}".bytes().flat_map(|b| [b, 0]).collect()),
        ("10,000 arrays", nested("[", "]").into_bytes()),
        ("10,000 arrays without an end", nested("[", "").into_bytes()),
        ("10,000 objects without an end", nested(r#"{"a":"#, "").into_bytes()),
        ("compressed", b"\x1f\x8b\x08\x00\x00\x00\x00\x00".to_vec()),
    ] {
        let error = assert_refused(echoing(200, &body), MalformedResponse, name).await;
        assert_eq!(error.status().unwrap(), 200);
        assert!(error.body().unwrap() == &body, "{name}");
    }
    for status in [204, 205] {
        let name = "no content";
        assert_refused(head(status, &["Content-Length: 0"]), MalformedResponse, name).await;
    }
}

// W3, alf 19
#[tokio::test]
async fn an_access_token_that_cannot_be_sent_is_invalid() {
    let deep = nested("[", "]");
    for access_token in [
        r#""""#,
        r#"" ""#,
        r#""t0k3n-of-the-server\r\nx-injected: 1""#,
        r#""t0k3n-of-the-server\n""#,
        r#""t0k3n-of-the-server\u0000""#,
        r#""t0k3n-of-the-server\u001b[2J""#,
        r#""t0k3n-of-the-server\u007f""#,
        r#""t0k3n-of-the-server\u0085""#,
        r#""t0k3n-of-the-server ü""#,
        r#""t0k3n-of-the-server日本""#,
        r#""t0k3n-of-the-server\ud800""#,
        r#""Bearer t0k3n-of-the-server""#,
        "7",
        "1e400",
        "null",
        "true",
        r#"["t0k3n-of-the-server"]"#,
        r#"{"t0k3n-of-the-server":1}"#,
        &deep,
    ] {
        let body = format!(r#"{{"access_token":{access_token},"token_type":"Bearer"}}"#);
        assert_refused(echoing(200, body), InvalidAccessToken, access_token).await;
    }
    for (name, body) in [
        ("missing", format!(r#"{{"token":"{TOKEN}","scope":"{SECRET}"}}"#)),
        ("another case", format!(r#"{{"Access_Token":"{TOKEN}"}}"#)),
        ("10,000 objects", format!("{}0{}", r#"{"a":"#.repeat(DEPTH), "}".repeat(DEPTH))),
    ] {
        assert_refused(echoing(200, body), InvalidAccessToken, name).await;
    }
}

// W3, alf 12
#[tokio::test]
async fn a_token_of_another_type_is_not_used() {
    for token_type in ["mac", "DPoP", SECRET, TOKEN] {
        let body = format!(r#"{{"access_token":"{TOKEN}","token_type":"{token_type}"}}"#);
        assert_refused(echoing(200, body), UnsupportedTokenType, token_type).await;
    }
}

// W4, W5
#[tokio::test]
async fn a_body_is_read_up_to_the_limit() {
    let page = format!(r#"{{"access_token":"{TOKEN}","more":"{}"}}"#, TEXT.repeat(70_000));
    assert!(page.len() > 1 << 20);
    assert_refused(echoing(200, &page), ResponseTooLarge, "1 MiB").await;

    let error = assert_refused(echoing(500, &page), ErrorResponse, "1 MiB of an error").await;
    assert_eq!(error.body().unwrap(), &page[..64 * 1024]);
}

// W4, alf 9
#[tokio::test]
async fn a_redirect_is_not_followed() {
    for status in [300, 301, 302, 303, 304, 307, 308] {
        let body = format!(r#"{{"access_token":"{TOKEN}","error":"{SECRET}"}}"#);
        let error = assert_refused(echoing(status, body), Redirect, "redirect").await;
        assert_eq!(error.status().unwrap(), status);
    }
}

// W5, alf 40, alf 41
#[tokio::test]
async fn an_error_response_shows_only_its_status_and_registered_code() {
    let all = format!(
        r#"{{"error":"{SECRET}","error_description":"{TOKEN} {SECRET}","error_uri":"{TEXT}"}}"#
    );
    let registered = format!(r#"{{"error":"invalid_client","error_description":"{SECRET}"}}"#);
    let page = format!("<html>{TEXT} {TOKEN} {SECRET}</html>");
    for status in [200, 400, 401, 403, 404, 429, 500, 503, 599] {
        let error = assert_refused(echoing(status, &all), ErrorResponse, "all").await;
        assert_eq!(error.status().unwrap(), status);
        // The body is available by a method.
        assert_eq!(error.error_code(), Some(SECRET));
        assert_eq!(error.error_description().unwrap(), format!("{TOKEN} {SECRET}"));
        assert_eq!(error.error_uri(), Some(TEXT));
        assert_eq!(error.body().unwrap(), &all);

        let error = assert_refused(echoing(status, &registered), ErrorResponse, "code").await;
        let text = format!("(status {status}, invalid_client); check ");
        assert!(error.to_string().contains(&text), "{error}");
        if status != 200 {
            let error = assert_refused(echoing(status, &page), ErrorResponse, "page").await;
            let text = format!("(status {status}); check ");
            assert!(error.to_string().contains(&text), "{error}");
        }
    }
}

const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// `Retry-After` beside that date, its value in seconds, and the wait that follows.
const RETRY_AFTER: [(&str, u64, u64); 4] = [
    ("17", 17, 17),
    ("Sun, 06 Nov 1994 08:50:07 GMT", 30, 30),
    ("86400", 86_400, 60),
    ("Sun, 06 Nov 1994 09:49:37 GMT", 3600, 60),
];

// W5, C9
#[tokio::test]
async fn no_request_is_sent_before_retry_after_in_both_forms() {
    for (status, (retry_after, reported, obeyed)) in
        RETRY_AFTER.iter().flat_map(|case| [(429, case), (503, case)])
    {
        let headers = [format!("Retry-After: {retry_after}"), format!("Date: {DATE}")];
        let headers = headers.each_ref().map(String::as_str);
        let body = format!(r#"{{"error":"{SECRET}"}}"#);
        let endpoint = RawEndpoint::answering(response(status, &headers, body)).await;
        let stack = Stack::new(&endpoint.url("/token"), LONG);
        for _ in 0..3 {
            let error = stack.call().await.unwrap_err();
            assert_hides_secrets(&texts(&*error).join("\n"), retry_after);
            let error = error.downcast_ref::<TokenError>().unwrap();
            assert_eq!(error.kind(), ErrorResponse);
            assert_eq!(error.status().unwrap(), status);
            assert_eq!(error.retry_after(), Some(Duration::from_secs(*reported)));
            assert!(error.retry_in().unwrap() <= Duration::from_secs(*obeyed));
        }
        assert_eq!((endpoint.count(), stack.api.count()), (1, 0), "{retry_after}");
    }
}

// W5, C9
#[tokio::test(start_paused = true)]
async fn retry_after_is_obeyed_up_to_a_minute() {
    for (status, (retry_after, _, obeyed)) in
        RETRY_AFTER.iter().flat_map(|case| [(429, case), (503, case)])
    {
        let http = scripted(move |_| {
            let response = Response::builder().status(status).header("date", DATE);
            Ok(response.header("retry-after", *retry_after).body(Full::default()).unwrap())
        });
        let tokens = Tokens::new(credentials(), single_try(http.clone()));
        let obeyed = Duration::from_secs(*obeyed);
        assert_eq!(tokens.get().await.unwrap_err().retry_in(), Some(obeyed));

        advance(obeyed - Duration::from_millis(10)).await;
        tokens.get().await.unwrap_err();
        assert_eq!(http.count(), 1, "{retry_after}");

        advance(Duration::from_millis(20)).await;
        tokens.get().await.unwrap_err();
        assert_eq!(http.count(), 2, "{retry_after}");
    }
}

// W3, alf 16
#[tokio::test]
async fn odd_but_usable_responses_work() {
    let arrays = nested("[", "]");
    let objects = format!("{}0{}", r#"{"a":"#.repeat(DEPTH), "}".repeat(DEPTH));
    for more in [
        format!(r#""deep":{arrays}"#),
        format!(r#""deep":{objects}"#),
        format!(r#""scope":{arrays}"#),
        format!(r#""expires_in":{arrays}"#),
        r#""expires_in":"3600""#.to_owned(),
        r#""expires_in":3600.9"#.to_owned(),
        r#""expires_in":-1"#.to_owned(),
        r#""expires_in":0"#.to_owned(),
        r#""expires_in":null"#.to_owned(),
        r#""expires_in":1e400"#.to_owned(),
        format!(r#""expires_in":1{}"#, "0".repeat(30)),
        r#""token_type":"bEaReR""#.to_owned(),
        r#""token_type":null"#.to_owned(),
        r#""error":null"#.to_owned(),
        r#""lone":"\ud800""#.to_owned(),
        format!(r#""refresh_token":"{SECRET}""#),
        format!(r#""id_token":"{TEXT}""#),
    ] {
        let name = &more[..more.len().min(40)];
        let body = format!(r#"{{"access_token":"{TOKEN}",{more}}}"#);
        let endpoint = RawEndpoint::answering(echoing(200, body)).await;
        assert_used(&endpoint, name).await;
    }
}

// X3: the scope in a response may be any text.
#[tokio::test]
async fn debug_of_a_token_does_not_show_its_scope() {
    let body = format!(r#"{{"access_token":"t","scope":"{SECRET} {TOKEN}"}}"#);
    let endpoint = RawEndpoint::answering(response(200, &[], body)).await;
    let token = ask(credentials_at(endpoint.url("/token"))).await.unwrap();
    assert_hides_secrets(&format!("{token:?}"), "scope");
}
