//! Fuzzes an issuer's metadata. The crate checks it as RFC 8414 requires, and sends no secret in
//! clear text because of it.
//!
//! A case is two responses (`support/reply.rs`) with a line `=====` between them: those of
//! `oauth-authorization-server` and of `openid-configuration`. `i<n>` after the first status
//! selects the issuer.

use std::time::Duration;

use http::Uri;
use tokio::time::Instant;
use tower_oauth2::client_auth::ClientAuthentication;
use tower_oauth2::metadata::Metadata;
use tower_oauth2::{ClientAuth, TokenErrorKind};

use super::support::*;

/// The issuers, each with the permission for plain HTTP.
const ISSUERS: [(&str, bool); 4] = [
    ("https://issuer.test", false),
    ("https://issuer.test/tenant/", false),
    ("http://127.0.0.1:8080", false),
    ("http://issuer.test", true),
];

pub fn run(data: &[u8]) {
    const LINE: &[u8] = b"\n=====\n";

    let at = data.windows(LINE.len()).position(|window| window == LINE);
    let (first, second) = match at {
        Some(at) => (&data[..at], &data[at + LINE.len()..]),
        None => (data, &b"404"[..]),
    };
    let replies = [Reply::read(first), Reply::read(second)];
    let index = ["i0", "i1", "i2", "i3"].iter().position(|word| replies[0].has(word));
    let (issuer, is_clear) = ISSUERS[index.unwrap_or(0)];
    block_on(async {
        let answers = [Reply::read(first), Reply::read(second)].map(std::sync::Arc::new);
        let http = http(move |request| {
            let path = request.uri().path();
            let is_second = path.ends_with("/.well-known/openid-configuration");
            assert!(is_second || path.starts_with("/.well-known/oauth-authorization-server"));
            answers[usize::from(is_second)].response()
        });
        let builder = Metadata::builder(issuer).unwrap();
        let builder = if is_clear { builder.dangerously_allow_http() } else { builder };
        let began = Instant::now();
        let result = builder.fetch(http).await;
        assert!(began.elapsed() <= Duration::from_secs(31), "the request exceeds its timeout");
        match result {
            Ok(metadata) => assert_believed(&metadata, issuer, is_clear, &replies),
            Err(error) => {
                assert_texts(&error);
                assert_ne!(error.kind(), TokenErrorKind::InvalidIssuer);
                let _ = error.is_transient();
            }
        }
    });
}

fn assert_believed(metadata: &Metadata, issuer: &str, is_clear: bool, replies: &[Reply]) {
    let is_loopback = issuer.starts_with("http://127.");
    // The value is exactly that of one of the two documents.
    assert_eq!(metadata.issuer(), issuer);
    assert!(metadata.get("issuer").is_some_and(|found| found == issuer));
    let is_source = |reply: &&Reply| {
        let json = reply.json();
        reply.status.is_success() && reply.arrives() && json.is_none_or(|j| j["issuer"] == issuer)
    };
    assert!(replies.iter().any(|reply| is_source(&reply)), "out of nowhere");

    let mtls = metadata.mtls_token_endpoint();
    let others = [metadata.introspection_endpoint(), metadata.revocation_endpoint()];
    let all =
        std::iter::once(metadata.token_endpoint()).chain(mtls).chain(others.into_iter().flatten());
    for uri in all {
        assert!(is_safe(uri, is_clear, is_loopback), "{uri}");
    }
    // `Debug` shows the origin of the token endpoint, whose host the server chose.
    let host = metadata.token_endpoint().host().unwrap_or_default();
    assert_shows_no_secret(&format!("{metadata:?}").replace(host, ""));
    let lists = [
        metadata.token_endpoint_auth_methods_supported().count(),
        metadata.token_endpoint_auth_signing_alg_values_supported().count(),
        metadata.grant_types_supported().count(),
        metadata.scopes_supported().count(),
        metadata.dpop_signing_alg_values_supported().count(),
    ];
    assert!(lists[0] > 0 && lists[2] > 0, "these have defaults");

    // Accepted metadata is not refused later, except for the authentication method.
    for auth in [
        ClientAuth::client_secret_basic("client-id", SECRET),
        ClientAuth::client_secret_post("client-id", SECRET),
        ClientAuth::tls_client_auth("client-id", "a certificate"),
    ] {
        let method = auth.method().to_owned();
        let is_mtls = method == "tls_client_auth";
        match metadata.credentials(auth) {
            Ok(credentials) => {
                let endpoint = mtls.filter(|_| is_mtls).unwrap_or(metadata.token_endpoint());
                assert_eq!(credentials.token_endpoint().as_ref(), Some(endpoint));
            }
            Err(error) => {
                let listed = metadata.get("token_endpoint_auth_methods_supported");
                let listed = listed.as_ref().and_then(|listed| listed.as_array()).expect("a list");
                assert!(!listed.iter().any(|one| *one == *method), "{error}");
            }
        }
    }
}

/// Returns whether a secret may be sent to this URI.
fn is_safe(uri: &Uri, is_clear: bool, is_loopback: bool) -> bool {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let address = host.parse::<std::net::IpAddr>();
    let is_here = host.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address| address.to_canonical().is_loopback());
    let is_https = uri.scheme_str().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
    let has_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    !host.is_empty() && !has_user && (is_https || is_clear || is_loopback && is_here)
}
