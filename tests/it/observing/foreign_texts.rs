//! Texts from requests, servers and stores in log events.

use std::io;
use std::time::Duration;

use http::{Response, StatusCode};
use http_body_util::Full;
use tower::{BoxError, Layer, ServiceExt};
use tower_oauth2::metadata::Metadata;
use tower_oauth2::store::{StoredValue, TokenStore, TokenStoreLayer};
use tower_oauth2::{OAuth2Layer, Origins, Tokens};

use crate::support::{Api, ScriptedSource, Trace, credentials, credentials_at, hour, single_try};

/// Asserts that all lines are short and printable.
#[track_caller]
fn assert_harmless(trace: &Trace, count: usize) {
    let lines = trace.lines();
    assert!(lines.len() >= count, "{} lines", lines.len());
    for line in lines {
        assert!(line.len() < 2_000, "{} bytes: {}...", line.len(), &line[..200]);
        assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}'), "{line:?}");
    }
}

/// Returns the longest URL that is accepted.
fn long_url(path: &str) -> String {
    format!("https://{}.test{path}", "a".repeat(60_000))
}

// O
#[tokio::test(start_paused = true)]
async fn long_hosts_of_requests_are_cut_in_events() {
    let (trace, _guard) = Trace::start();
    let tokens = Tokens::new(credentials(), ScriptedSource::tokens(hour));
    let layer = OAuth2Layer::new(tokens, Origins::only(["https://api.test"]).unwrap());
    let request = http::Request::get(long_url("/")).body(Full::default()).unwrap();
    layer.layer(Api::always(200)).oneshot(request).await.unwrap();
    assert_harmless(&trace, 1);
}

// O
#[tokio::test(start_paused = true)]
async fn long_hosts_of_token_endpoints_are_cut_in_events() {
    let (trace, _guard) = Trace::start();
    let credentials = credentials_at(long_url("/token"));
    let tokens = Tokens::new(credentials, single_try(Api::always(503)));
    tokens.get().await.unwrap_err();
    assert_harmless(&trace, 3);
}

// O
#[tokio::test(start_paused = true)]
async fn long_hosts_of_issuers_are_cut_in_events() {
    let (trace, _guard) = Trace::start();
    let issuer = long_url("");
    let document = format!(r#"{{"issuer":"{issuer}","token_endpoint":"https://auth.test/token"}}"#);
    let server = Api::new(move |_| {
        let mut response = Response::new(Full::from(document.clone()));
        *response.status_mut() = StatusCode::OK;
        response
    });
    Metadata::builder(&issuer).unwrap().fetch(server).await.unwrap();
    assert_harmless(&trace, 1);
}

/// A store whose errors contain terminal codes, line breaks and a long text.
#[derive(Clone)]
struct Rude;

fn rude_error() -> BoxError {
    let source = io::Error::other("x".repeat(100_000));
    let text = "\u{1b}[31mdown\r\nWARN everything is fine \u{202e}".to_owned();
    Box::new(Chained { text, source })
}

#[derive(Debug)]
struct Chained {
    text: String,
    source: io::Error,
}

impl std::fmt::Display for Chained {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Chained {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

impl TokenStore for Rude {
    async fn get(&self, _key: &str) -> Result<Option<StoredValue>, BoxError> {
        Err(rude_error())
    }

    async fn set(&self, _key: &str, _value: &[u8], _for: Duration) -> Result<(), BoxError> {
        Err(rude_error())
    }
}

// O, S6
#[tokio::test(start_paused = true)]
async fn error_texts_of_stores_are_cut_and_escaped_in_events() {
    let (trace, _guard) = Trace::start();
    let source = TokenStoreLayer::new(Rude).layer(ScriptedSource::tokens(hour));
    Tokens::new(credentials(), source).get().await.unwrap();
    assert_harmless(&trace, 4);
    let lines = trace.lines();
    let failed = lines.iter().find(|line| line.contains("the token store failed")).unwrap();
    let shown = r"error=\u{1b}[31mdown\r\nWARN everything is fine \u{202e}: xxx";
    assert!(failed.contains(shown), "{failed}");
    assert!(failed.contains("xxx... "), "{failed}");
}
