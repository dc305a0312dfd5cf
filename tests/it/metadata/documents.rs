use tower_oauth2::TokenErrorKind::{self, *};

use super::*;

const OTHER_ISSUER: &str = "the issuer in the document is not exactly the configured one";
const NO_URI: &str = "token_endpoint is not an absolute URI without user information and fragment";
const INSECURE: &str = "token_endpoint is not https";
const LOOK_AT: &str = "check the issuer's URL and body()";

/// Returns the error for an invalid document at the first place. No other place is asked, although
/// the second has a valid document.
async fn refused(issuer: &str, body: impl Into<Bytes>, name: &str) -> TokenError {
    let body = body.into();
    let good = json!({ "issuer": issuer, "token_endpoint": ENDPOINT }).to_string();
    let http = Api::new(move |request| {
        let is_first = request.uri().path().contains("oauth-authorization-server");
        answer(200, if is_first { body.clone() } else { good.clone().into() })
    });
    let error = Metadata::fetch(issuer, http.clone()).await.expect_err(name);
    assert_eq!(http.count(), 1, "{name}");
    assert_shows_no_secret(&error, name);
    error
}

async fn assert_invalid(members: Value, note: &str) {
    let name = members.to_string();
    let error = refused(ISSUER, with(members), &name).await;
    assert_eq!(error.kind(), InvalidMetadata, "{name}");
    assert!(!error.is_transient());
    assert_eq!(
        error.to_string(),
        format!(
            "no metadata from {ISSUER}: the metadata is invalid (status 200): {note}; {LOOK_AT}"
        ),
    );
}

// RFC 8414 section 3.3
#[tokio::test]
async fn a_document_of_another_issuer_is_refused() {
    let long = format!("https://auth.test/{}", "a".repeat(100));
    for (issuer, shown) in [
        ("https://other.test", ", but https://other.test"),
        ("https://auth.test/", ", but https://auth.test/"),
        ("https://auth.test:443", ", but https://auth.test:443"),
        ("https://AUTH.test", ", but https://AUTH.test"),
        ("HTTPS://auth.test", ", but HTTPS://auth.test"),
        ("http://auth.test", ", but http://auth.test"),
        ("https://auth.test/tenant", ", but https://auth.test/tenant"),
        ("https://auth.test?", ", but https://auth.test?..."),
        ("https://auth.test/a?t3xt-of-the-server", ", but https://auth.test/a?..."),
        ("https://u:t3xt-of-the-server@auth.test", ", but https://...@auth.test"),
        ("https://auth.test/\u{1b}[2J\n", ", but https://auth.test/..."),
        (&long, &format!(", but {}...", &long[..77])),
        ("https://auth.test.other.test", ", but https://auth.test.other.test"),
        ("auth.test", ", but auth.test"),
        (" https://auth.test", ""),
        ("t3xt-of-the-server", ""),
        ("", ""),
    ] {
        assert_invalid(json!({ "issuer": issuer }), &format!("{OTHER_ISSUER}{shown}")).await;
    }
    for issuer in [json!(null), json!([ISSUER]), json!({ ISSUER: 1 }), json!(7)] {
        assert_invalid(json!({ "issuer": issuer }), "the issuer in the document is not a string")
            .await;
    }
}

// RFC 8414 section 3.3
#[tokio::test]
async fn an_issuer_with_a_slash_at_its_end_is_another_issuer() {
    for (configured, said, same) in [
        ("https://auth.test/", "https://auth.test", false),
        ("https://auth.test", "https://auth.test/", false),
        ("https://auth.test/", "https://auth.test/", true),
        ("https://auth.test/a", "https://auth.test/a/", false),
        ("https://auth.test/a/", "https://auth.test/a", false),
        ("https://auth.test/a/", "https://auth.test/a/", true),
        ("https://auth.test/%61", "https://auth.test/a", false),
    ] {
        let body = json!({ "issuer": said, "token_endpoint": ENDPOINT }).to_string();
        if same {
            let metadata = Metadata::fetch(configured, always(200, body)).await.unwrap();
            assert_eq!(metadata.issuer(), configured);
        } else {
            let error = refused(configured, body, configured).await;
            assert!(error.to_string().contains(OTHER_ISSUER), "{error}");
        }
    }
}

// X1
#[tokio::test]
async fn an_endpoint_in_clear_text_is_refused() {
    for endpoint in [
        "/token",
        "token",
        "",
        "//evil.test/token",
        "https:///token",
        "https:evil.test",
        "https://auth.test/token#",
        "https://auth.test/token#fragment",
        "https://auth.test@evil.test/token",
        "https://user:pw@auth.test/token",
        "https://auth.test:99999/token",
        "https://a b/",
        "https://auth.test/\r\nx: y",
        "mailto:auth@evil.test",
    ] {
        assert_invalid(json!({ "token_endpoint": endpoint }), NO_URI).await;
        let aliases = json!({ "mtls_endpoint_aliases": { "token_endpoint": endpoint } });
        let note = NO_URI.replace("point is", "point in mtls_endpoint_aliases is");
        assert_invalid(aliases, &note).await;
    }
    for endpoint in [
        "http://auth.test/token",
        "http://localhost.evil.test/token",
        "ftp://auth.test/token",
        "file://auth.test/token",
        "ws://localhost/token",
        // A remote server must not name a port of this machine.
        "http://localhost:8080/token",
        "http://127.0.0.1/token",
        "http://[::1]/token",
    ] {
        assert_invalid(json!({ "token_endpoint": endpoint }), INSECURE).await;
        let aliases = json!({ "mtls_endpoint_aliases": { "token_endpoint": endpoint } });
        let note = INSECURE.replace("point is", "point in mtls_endpoint_aliases is");
        assert_invalid(aliases, &note).await;
    }
    for odd in [json!(null), json!(7), json!([ENDPOINT]), json!({ ENDPOINT: ENDPOINT })] {
        assert_invalid(json!({ "token_endpoint": odd }), "token_endpoint is not a string").await;
    }
    let error = refused(ISSUER, json!({ "issuer": ISSUER }).to_string(), "no endpoint").await;
    let why = format!("the document has no token_endpoint; {LOOK_AT}");
    assert!(error.to_string().ends_with(&why), "{error}");
}

// X1
#[tokio::test]
async fn clear_text_needs_a_loopback_issuer_or_an_opt_out() {
    let fetch = |issuer: &'static str, endpoint: &'static str, opt_out: bool| async move {
        let http = always(200, json!({ "issuer": issuer, "token_endpoint": endpoint }).to_string());
        let builder = Metadata::builder(issuer).unwrap();
        let builder = if opt_out { builder.dangerously_allow_http() } else { builder };
        (builder.fetch(http.clone()).await.map_err(|error| error.kind()), http.count())
    };
    for (issuer, endpoint) in [
        ("http://localhost:8080", "http://localhost:8080/token"),
        ("http://127.0.0.1/realm", "https://auth.test/token"),
        ("http://[::1]", "http://LOCALHOST:1/token"),
        ("https://localhost", "http://127.0.0.1/token"),
    ] {
        let (fetched, _) = fetch(issuer, endpoint, false).await;
        assert_eq!(fetched.unwrap().token_endpoint(), endpoint);
    }
    let (fetched, _) = fetch("http://localhost", "http://auth.test/token", false).await;
    assert_eq!(fetched.unwrap_err(), InvalidMetadata);
    // Nothing is sent.
    let (fetched, sent) = fetch("http://auth.test", ENDPOINT, false).await;
    assert_eq!((fetched.unwrap_err(), sent), (InsecureUri, 0));

    for (issuer, endpoint) in [
        ("http://auth.test", "http://auth.test/token"),
        ("https://auth.test", "http://localhost/token"),
    ] {
        let (fetched, _) = fetch(issuer, endpoint, true).await;
        assert_eq!(fetched.unwrap().token_endpoint(), endpoint);
    }
    let (fetched, _) = fetch("http://auth.test", "ftp://auth.test/token", true).await;
    assert_eq!(fetched.unwrap_err(), InvalidMetadata);
}

// RFC 8414 section 3.3: the document has another address than the issuer.
#[tokio::test]
async fn a_document_can_have_an_internal_address() {
    const INTERNAL: &str = "https://sso.svc:8443/.well-known/openid-configuration?client=17";
    let http = always(200, document().to_string());
    let metadata = Metadata::fetch_at(INTERNAL, ISSUER, http.clone()).await.unwrap();
    assert_eq!((metadata.issuer(), uris(&http)), (ISSUER, vec![INTERNAL.to_owned()]));

    // There is one request, whatever the answer. Errors name the server that was asked.
    for (status, body) in [(404, String::new()), (200, "<html>".to_owned())] {
        let http = always(status, body);
        let error = Metadata::fetch_at(INTERNAL, ISSUER, http.clone()).await.unwrap_err();
        assert_eq!(http.count(), 1);
        assert!(
            error.to_string().starts_with("no metadata from https://sso.svc:8443: "),
            "{error}"
        );
    }
    let http = always(200, with(json!({ "issuer": "https://sso.svc:8443" })));
    let error = Metadata::fetch_at(INTERNAL, ISSUER, http).await.unwrap_err();
    let expected = format!("{OTHER_ISSUER}, but https://sso.svc:8443; ");
    assert!(error.to_string().contains(&expected), "{error}");

    // A query may be a secret.
    let down = ScriptedEndpoint::in_order([Reply::connection_error(format!(
        "cannot connect to {INTERNAL}"
    ))]);
    let error = Metadata::fetch_at(INTERNAL, ISSUER, down).await.unwrap_err();
    assert_eq!(error.kind(), Transport);
    assert!(!error.to_string().contains("client=17"), "{error}");
    let builder = Metadata::builder(ISSUER).unwrap().document(INTERNAL).unwrap();
    assert!(!format!("{builder:?}").contains("client=17"), "{builder:?}");
}

// X1
#[tokio::test]
async fn a_document_over_plain_http_needs_loopback_or_an_opt_out() {
    let fetch = |address: &'static str, endpoint: &'static str, opt_out: bool| async move {
        let http = always(200, with(json!({ "token_endpoint": endpoint })));
        let builder = Metadata::builder(ISSUER).unwrap().document(address).unwrap();
        let builder = if opt_out { builder.dangerously_allow_http() } else { builder };
        let fetched = builder.fetch(http.clone()).await.map(drop);
        (fetched.map_err(|error| error.kind()), http.count())
    };
    let remote = "http://sso.svc:8080/metadata";
    let local = "http://localhost:8080/metadata";
    assert_eq!(fetch(remote, ENDPOINT, false).await, (Err(InsecureUri), 0));
    assert_eq!(fetch(remote, "http://sso.svc/token", true).await, (Ok(()), 1));
    assert_eq!(fetch(local, ENDPOINT, false).await, (Ok(()), 1));
    assert_eq!(fetch(local, "http://localhost:8080/token", false).await, (Ok(()), 1));
    // Another machine must not name a port of this one, whatever the issuer is.
    assert_eq!(
        fetch("https://sso.svc/metadata", "http://localhost/token", false).await,
        (Err(InvalidMetadata), 1)
    );
    let http = always(
        200,
        json!({ "issuer": "http://localhost", "token_endpoint": "http://localhost/token" })
            .to_string(),
    );
    let from_afar = Metadata::fetch_at("https://sso.svc/metadata", "http://localhost", http).await;
    assert_eq!(from_afar.unwrap_err().kind(), InvalidMetadata);
    for (address, expected) in [
        ("sso.svc/metadata", "needs a scheme and a host: sso.svc..."),
        ("ftp://sso.svc/metadata", "must begin with https://: ftp://sso.svc/metadata"),
        ("https://u:p@sso.svc", "must not have user information: https://...@sso.svc"),
        ("https://sso.svc/#a", "must not have a fragment: https://sso.svc/#..."),
    ] {
        let error = Metadata::builder(ISSUER).unwrap().document(address).unwrap_err();
        assert_eq!(error.to_string(), format!("metadata document {expected}"));
        let http = always(200, "");
        let error = Metadata::fetch_at(address, ISSUER, http.clone()).await.unwrap_err();
        assert_eq!((error.kind(), http.count()), (InvalidIssuer, 0));
    }
}

#[tokio::test]
async fn an_invalid_issuer_is_an_error_before_anything_is_sent() {
    let long = format!("is too long for a URI: https://auth.test/{}...", "a".repeat(59));
    for (issuer, why) in [
        ("", "needs a scheme and a host"),
        ("auth.test", "needs a scheme and a host: auth.test"),
        ("/realm", "needs a scheme and a host"),
        ("https://", "is not a valid URI: https://"),
        ("https://a b", "is not a valid URI: https://a..."),
        ("ftp://localhost", "must begin with https://: ftp://localhost"),
        ("https://user:pw@auth.test", "must not have user information: https://...@auth.test"),
        ("https://auth.test?tenant=1", "must not have a query: https://auth.test?..."),
        ("https://auth.test/?", "must not have a query: https://auth.test/?..."),
        ("https://auth.test#", "must not have a fragment: https://auth.test#..."),
        ("https://auth.test/#?", "must not have a fragment: https://auth.test/#..."),
        (&format!("https://auth.test/{}", "a".repeat(65_500)), &long),
    ] {
        let name = &issuer[..issuer.len().min(40)];
        let error = Metadata::builder(issuer).unwrap_err();
        assert_eq!(error.to_string(), format!("issuer {why}"), "{name}");
        let http = always(200, "");
        let error = Metadata::fetch(issuer, http.clone()).await.unwrap_err();
        assert_eq!((error.kind(), http.count()), (InvalidIssuer, 0), "{name}");
        assert_eq!(
            error.to_string(),
            format!(
                "no metadata: the URL of the issuer is invalid (issuer {why}); check the issuer's \
                 URL"
            )
        );
        assert!(!error.is_transient());
    }
}

/// Returns the error if both places have the same document.
async fn nowhere(status: u16, body: impl Into<Bytes>, kind: TokenErrorKind, name: &str) {
    let http = always(status, body);
    let error = Metadata::fetch(ISSUER, http.clone()).await.expect_err(name);
    assert_eq!((error.kind(), http.count()), (kind, 2), "{name}");
    assert_shows_no_secret(&error, name);
    assert_eq!(error.status().unwrap(), status);
}

#[tokio::test]
async fn other_documents_than_metadata_are_refused() {
    const DEPTH: usize = 10_000;
    let nested = |open: &str, close: &str| [open.repeat(DEPTH), close.repeat(DEPTH)].concat();
    for (name, body) in [
        ("nothing", String::new()),
        ("HTML", format!("<!doctype html><p>{TEXT}</p>")),
        ("null", "null".to_owned()),
        ("a string", format!("\"{TEXT}\"")),
        ("an array", format!("[{}]", document())),
        ("two objects", format!("{}{}", document(), document())),
        ("half an object", document().to_string().replace('}', "")),
        ("deep arrays", nested("[", "]")),
        ("deep objects without an end", nested(r#"{"a":"#, "")),
    ] {
        nowhere(200, body, MalformedResponse, name).await;
    }
    nowhere(200, "{}", InvalidMetadata, "an empty object").await;
    nowhere(200, format!(r#"{{"Issuer":"{TEXT}"}}"#), InvalidMetadata, "another case").await;
    nowhere(200, format!(r#"{{"error":"{TEXT}"}}"#), ErrorResponse, "an error").await;
    nowhere(204, "", MalformedResponse, "no content").await;
    for status in [301, 302, 307, 308] {
        nowhere(status, document().to_string(), Redirect, "a redirect").await;
    }
    for status in [400, 401, 403, 404, 405, 410] {
        nowhere(status, document().to_string(), ErrorResponse, "a 4xx").await;
    }
}

// W7
#[tokio::test]
async fn an_error_response_leads_to_the_other_document() {
    for status in [408, 429, 500, 502, 503] {
        let http = always(status, TEXT);
        let error = Metadata::fetch(ISSUER, http.clone()).await.unwrap_err();
        assert_eq!((error.kind(), http.count()), (ErrorResponse, 2), "{status}");
        assert!(error.is_transient());
        assert_shows_no_secret(&error, "trouble");
        assert_eq!(
            error.to_string(),
            format!(
                "no metadata from {ISSUER}: the endpoint answered with an error (status {status}); {}",
                if status == 429 {
                    "check the rate of token requests and the server's limits"
                } else {
                    "check the state of that server"
                }
            )
        );
    }
    let down = scripted(|_| Err("no route".into()));
    let error = Metadata::fetch(ISSUER, down.clone()).await.unwrap_err();
    assert_eq!((error.kind(), down.count()), (Transport, 1));
    assert!(std::error::Error::source(&error).is_some());
}

// W4
#[tokio::test]
async fn a_document_is_read_up_to_the_limit() {
    let large = with(json!({ "padding": " ".repeat(2 << 20) }));
    let error = Metadata::fetch(ISSUER, always(200, large.clone())).await.unwrap_err();
    assert_eq!(error.kind(), ResponseTooLarge);
    let almost = with(json!({ "padding": " ".repeat(1_000_000) }));
    assert!(Metadata::fetch(ISSUER, always(200, almost)).await.is_ok());

    // A page that is too large does not exclude a second document.
    let http = Api::new(move |request| {
        let is_first = request.uri().path().contains("oauth-authorization-server");
        answer(200, if is_first { large.clone() } else { document().to_string() })
    });
    assert_eq!(Metadata::fetch(ISSUER, http).await.unwrap().issuer(), ISSUER);
}

#[tokio::test]
async fn a_repeated_member_is_checked_and_used_in_the_same_place() {
    let twice = |name: &str, first: &str, second: &str| {
        let other = if name == "issuer" { "token_endpoint" } else { "issuer" };
        let value = if name == "issuer" { ENDPOINT } else { ISSUER };
        format!(r#"{{"{name}":"{first}","{other}":"{value}","{name}":"{second}"}}"#)
    };
    let error = refused(ISSUER, twice("issuer", ISSUER, "https://other.test"), "issuer").await;
    assert!(error.to_string().contains(OTHER_ISSUER));
    let body = twice("token_endpoint", ENDPOINT, "http://evil.test");
    assert!(refused(ISSUER, body, "endpoint").await.to_string().contains(INSECURE));

    let http = always(200, twice("token_endpoint", "http://evil.test", ENDPOINT));
    let metadata = Metadata::fetch(ISSUER, http).await.unwrap();
    assert_eq!(metadata.token_endpoint(), ENDPOINT);
    assert_eq!(metadata.get("token_endpoint").unwrap(), ENDPOINT);
}

// X4
#[tokio::test]
async fn an_endpoint_at_another_host_is_allowed_by_default() {
    use tower::ServiceExt;
    use tower_oauth2::{ClientAuth, TokenEndpoint, TokenRequest};

    let elsewhere = json!({ "token_endpoint": "https://elsewhere.test/token" });
    let metadata = metadata(elsewhere).await;
    let auth = ClientAuth::client_secret_basic("client-id", SECRET);
    let credentials = metadata.credentials(auth).unwrap();
    assert_eq!(credentials.token_endpoint().unwrap(), "https://elsewhere.test/token");

    let http = always(200, r#"{"access_token":"t"}"#);
    let endpoint = TokenEndpoint::new(http.clone()).allowed_endpoints([ENDPOINT]).unwrap();
    let error = endpoint.oneshot(TokenRequest::new(credentials)).await.unwrap_err();
    assert_eq!((error.kind(), http.count()), (EndpointNotAllowed, 0));
}

// W3
#[tokio::test]
async fn a_byte_order_mark_before_a_document_is_skipped() {
    let http = always(200, format!("\u{feff}{}", document()));
    let metadata = Metadata::fetch(ISSUER, http.clone()).await.unwrap();
    assert_eq!((metadata.get("issuer").unwrap(), http.count()), (ISSUER.into(), 1));
}

// W4
#[tokio::test]
async fn a_document_in_an_unknown_encoding_is_an_error_that_says_so() {
    let http = Api::new(|_| {
        let mut response = answer(200, "\u{1f}compressed");
        response.headers_mut().insert("content-encoding", http::HeaderValue::from_static("gzip"));
        response
    });
    let error = Metadata::fetch(ISSUER, http).await.unwrap_err();
    let expected = "the HTTP client did not decode its Content-Encoding; check";
    assert!(error.to_string().contains(expected), "{error}");
}
