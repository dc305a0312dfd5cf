//! The causes of an HTTP client's error in a token error.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use tower::{BoxError, ServiceExt, service_fn};
use tower_oauth2::grant::{RefreshToken, TokenExchange, TokenType};
use tower_oauth2::metadata::Metadata;
use tower_oauth2::{ClientAuth, Credentials, Secret, TokenError, TokenErrorKind, TokenRequest};

use crate::support::*;

/// An error with a text and a source.
#[derive(Debug)]
struct Layered(String, Option<BoxError>);

impl fmt::Display for Layered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for Layered {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.1.as_ref().map(|source| &**source as _)
    }
}

/// Returns an error with these texts, the outermost first.
fn layered<T: AsRef<str>>(texts: &[T]) -> BoxError {
    let layers = texts.iter().rev();
    let error = layers.fold(None, |source: Option<BoxError>, text| {
        Some(Box::new(Layered(text.as_ref().to_owned(), source)))
    });
    error.unwrap()
}

fn client_that_fails(error: BoxError) -> ScriptedEndpoint {
    let error = Mutex::new(Some(error));
    scripted(move |_| Err(error.lock().unwrap().take().unwrap()))
}

async fn failed(error: impl Into<BoxError>) -> TokenError {
    let endpoint = single_try(client_that_fails(error.into()));
    endpoint.oneshot(TokenRequest::new(credentials())).await.unwrap_err()
}

#[track_caller]
fn assert_shows(error: &TokenError, causes: &str) {
    let text = error.to_string();
    assert!(text.contains(&format!("arrived ({causes}); check")), "{text}");
    assert!(format!("{error:?}").contains(&format!("{text:?}")), "{error:?}");
}

// W5
#[tokio::test]
async fn the_causes_of_a_failed_connection_are_shown() {
    let unknown = io::Error::other("invalid peer certificate: UnknownIssuer");
    let unknown = Layered("client error (Connect)".to_owned(), Some(unknown.into()));
    let error = failed(unknown).await;
    assert_eq!(error.kind(), TokenErrorKind::Transport);
    assert_shows(&error, "client error (Connect): invalid peer certificate: UnknownIssuer");

    let dns = "failed to lookup address information: Name or service not known";
    assert_shows(&failed(layered(&["dns error", dns])).await, &format!("dns error: {dns}"));
    assert_shows(&failed(io::Error::from(io::ErrorKind::TimedOut)).await, "timed out");
}

// W5
#[tokio::test]
async fn a_cause_that_repeats_its_source_is_shown_once() {
    let error =
        failed(layered(&["connect: refused", "connect: refused", "refused", "", "x"])).await;
    assert_shows(&error, "connect: refused: x");
}

// W5
#[tokio::test]
async fn causes_are_one_line_of_at_most_300_characters() {
    let noise = "\u{1b}[31m\r\n\u{202e}".repeat(1000);
    for error in [
        layered(&[&noise]),
        layered(&["x".repeat(301)]),
        layered(&["x".repeat(1 << 20)]),
        layered(&(0..100).map(|n| format!("cause {n}")).collect::<Vec<_>>()),
    ] {
        let text = failed(error).await.to_string();
        let causes = text.split_once(" arrived (").unwrap().1.rsplit_once("); check").unwrap().0;
        assert!((200..=300).contains(&causes.chars().count()), "{text}");
        let is_hidden = |c: char| c.is_control() || c == '\u{202e}';
        assert!(!text.contains(is_hidden), "{text}");
    }
    // The last causes say most.
    let error = failed(layered(&["outer ".repeat(60), "the root".to_owned()])).await;
    assert_shows(&error, "the root");
}

// W5
#[tokio::test]
async fn an_error_that_is_its_own_source_is_shown_once() {
    #[derive(Debug)]
    struct Circular;

    impl fmt::Display for Circular {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("circular")
        }
    }

    impl StdError for Circular {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            Some(self)
        }
    }

    assert_shows(&failed(Circular).await, "circular");
}

/// Returns the ways in which the error of a client may quote a request.
async fn quotes(request: Request<Full<Bytes>>) -> Vec<String> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let text = String::from_utf8(body.to_vec()).unwrap();
    let mut quotes = vec![
        text.clone(),
        format!("{body:?}"),
        format!("{text:?}"),
        format!("Full {{ data: Some({body:?}) }}"),
        format!("error sending request for url ({})", head.uri),
        format!("{head:?}"),
    ];
    for (name, value) in form_urlencoded::parse(&body) {
        quotes.push(format!("{name} = {value:?}"));
        quotes.push(format!("{name}={value}"));
        // Some clients cut what they quote.
        let beginning: String = value.chars().take(value.chars().count() * 2 / 3).collect();
        quotes.push(format!("{name}={beginning}..."));
    }
    for (name, value) in &head.headers {
        let value = std::str::from_utf8(value.as_bytes()).unwrap();
        quotes.push(format!("{name}: {value}"));
        let credentials = value.split(' ').next_back().unwrap();
        quotes.push(credentials.to_owned());
        let decoded = BASE64_STANDARD.decode(credentials).unwrap_or_default();
        if let Ok(decoded) = String::from_utf8(decoded) {
            for (decoded, _) in form_urlencoded::parse(decoded.as_bytes()) {
                quotes.push(decoded.into_owned());
            }
            quotes.push(decoded);
        }
    }
    quotes
}

const HIDDEN: [&str; 4] = ["s3cr3t", "czNjcjN0", "YTphOn", "client-id-of-a-tenant"];

/// Returns credentials with secrets in every part of the request.
fn secretive() -> Vec<Credentials> {
    const ID: &str = "client-id-of-a-tenant";
    const URL: &str = "https://auth.test/token?key=s3cr3t-of-the-url";
    let secret = "s3cr3t \"with\" + ümlaut\\s3cr3t";
    let auths = [
        ClientAuth::client_secret_basic(ID, secret),
        ClientAuth::client_secret_basic_raw(ID, secret),
        ClientAuth::client_secret_post(ID, secret),
        ClientAuth::client_assertion(ID, "s3cr3t.of.an-assertion"),
        ClientAuth::client_secret_post(ID, "s3cr3t"),
    ];
    let refresh =
        || RefreshToken::new("user", "s3cr3t-refresh-token", |_| async { Ok::<_, BoxError>(()) });
    let grants = |auth: &ClientAuth| {
        let credentials = Credentials::new(URL, auth.clone()).unwrap();
        let exchange = TokenExchange::new("s3cr3t-subject", TokenType::JWT);
        [
            credentials.clone().parameter("custom", "s3cr3t-parameter"),
            credentials.clone().grant(refresh()),
            credentials.grant(exchange.actor("s3cr3t-actor", TokenType::JWT)),
        ]
    };
    auths.iter().flat_map(grants).collect()
}

// W5, X3
#[tokio::test]
async fn causes_do_not_show_secrets_of_the_request() {
    for credentials in secretive() {
        for n in 0.. {
            let is_last = Arc::new(Mutex::new(false));
            let flag = is_last.clone();
            let http = service_fn(move |request: Request<Full<Bytes>>| {
                let flag = flag.clone();
                async move {
                    let quotes = quotes(request).await;
                    *flag.lock().unwrap() = n + 1 == quotes.len();
                    let quote = &quotes[n];
                    let texts = ["broken pipe".to_owned(), format!("while sending {quote} now")];
                    Err::<Response<Full<Bytes>>, _>(layered(&texts))
                }
            });
            let request = TokenRequest::new(credentials.clone());
            let error = single_try(http).oneshot(request).await.unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(text.contains("(broken pipe: while sending "), "{text}");
            for hidden in HIDDEN {
                assert!(!text.contains(hidden), "quote {n}: {text}");
            }
            if *is_last.lock().unwrap() {
                break;
            }
        }
    }
}

// W5, X3
#[tokio::test]
async fn causes_do_not_show_secrets_that_only_the_client_knows() {
    for secret in [
        "proxy http://user:s3cr3t@proxy.test:3128 failed",
        "\"proxy-authorization\": \"Basic s3cr3t==\"",
        "Authorization: Bearer s3cr3t",
        "token eyJhbGciOiJub25lIn0.s3cr3t.",
    ] {
        let error = failed(layered(&["tunnel error", secret])).await;
        assert!(error.to_string().contains("(tunnel error: "), "{error}");
        assert!(!format!("{error} {error:?}").contains("s3cr3t"), "{error}");
    }
}

// W5
#[tokio::test]
async fn a_short_secret_hides_no_part_of_a_word() {
    let auth = ClientAuth::client_secret_post("id", "e");
    let credentials = Credentials::new("https://auth.test/token", auth).unwrap();
    let http = client_that_fails("refused, secret e, code 111".into());
    let request = TokenRequest::new(credentials);
    let error = single_try(http).oneshot(request).await.unwrap_err();
    assert_shows(&error, "refused, secret **redacted** code 111");
}

// W5
#[tokio::test]
async fn the_causes_of_a_body_that_breaks_off_are_shown() {
    let http = service_fn(|_: Request<Full<Bytes>>| async {
        let error = layered(&["error reading a body", "unexpected EOF", SECRET]);
        let frames = [Ok(Frame::data(Bytes::from("{"))), Err(error)];
        Ok::<_, BoxError>(Response::new(StreamBody::new(futures_util::stream::iter(frames))))
    });
    let error = single_try(http).oneshot(TokenRequest::new(credentials())).await.unwrap_err();
    let expected = "the response is incomplete (error reading a body: unexpected EOF: \
                    **redacted**); check";
    assert!(error.to_string().contains(expected), "{error}");
}

// W5
#[tokio::test]
async fn metadata_errors_show_the_causes_too() {
    let refused = "invalid peer certificate: UnknownIssuer";
    let http = scripted(move |_| Err(layered(&["client error (Connect)", refused])));
    let error = Metadata::fetch("https://auth.test", http).await.unwrap_err();
    assert_shows(&error, &format!("client error (Connect): {refused}"));
}

// W5
#[tokio::test]
async fn other_errors_show_invalid_settings_and_system_errors_only() {
    let source = |error: BoxError| {
        let error = Mutex::new(Some(error));
        let source = ScriptedSource::new(move |_, _| {
            let error = error.lock().unwrap().take().unwrap();
            async move { Err(error) }
        });
        async move { tokens(&source).get().await.unwrap_err().to_string() }
    };
    let invalid = Credentials::new("auth.test", ClientAuth::none("id")).unwrap_err();
    let shown = "(token endpoint needs a scheme and a host: auth.test)";
    assert!(source(invalid.into()).await.contains(shown));
    let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
    assert!(source(refused.into()).await.contains("tokens failed (connection refused); check"));
    assert!(source("s3cr3t".into()).await.contains("the source of tokens failed; check"));
}

// W5
#[tokio::test]
async fn a_secret_file_that_cannot_be_read_is_named() {
    let auth = ClientAuth::client_secret_post("id", Secret::file("/no/such/file"));
    let credentials = Credentials::new("https://auth.test/token", auth).unwrap();
    let request = TokenRequest::new(credentials);
    let error = single_try(Api::always(200)).oneshot(request).await.unwrap_err().to_string();
    let expected = "could not authenticate (\"/no/such/file\": cannot be read: No such file";
    assert!(error.contains(expected), "{error}");
}
