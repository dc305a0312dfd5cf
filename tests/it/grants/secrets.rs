//! The secrets of grants, which are read for each attempt.

use std::error::Error as _;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tower::{BoxError, ServiceExt};
use tower_oauth2::grant::{Grant, JwtBearer, TokenExchange, TokenType};
use tower_oauth2::source::TokenRetry;
use tower_oauth2::{
    ClientAuth, Credentials, Secret, TokenEndpoint, TokenErrorKind, TokenRequest, Tokens,
};

use super::{ENDPOINT, answer, form, member};
use crate::support::{Api, Folder, single_try};

fn credentials(grant: impl Into<Grant>) -> Credentials {
    Credentials::new(ENDPOINT, ClientAuth::anonymous()).unwrap().grant(grant)
}

/// Creates a secret that differs each time it is read.
fn counting() -> Secret {
    let count = AtomicU64::new(1);
    Secret::from_fn("counting", move || {
        let n = count.fetch_add(1, Ordering::Relaxed);
        async move { Ok::<_, BoxError>(format!("secret-{n}")) }
    })
}

// G2, W9
#[tokio::test(start_paused = true)]
async fn a_secret_of_a_grant_is_read_for_each_attempt() {
    let actor = TokenExchange::new("subject", TokenType::JWT).actor(counting(), TokenType::JWT);
    for (grant, name) in [
        (Grant::from(JwtBearer::assertion(counting())), "assertion"),
        (TokenExchange::new(counting(), TokenType::JWT).into(), "subject_token"),
        (actor.into(), "actor_token"),
    ] {
        let api = Api::new(|_| answer(503, ""));
        let source = TokenEndpoint::new(api.clone()).retry(TokenRetry::new(2));
        source.oneshot(TokenRequest::new(credentials(grant))).await.unwrap_err();
        let mut sent = Vec::new();
        for request in api.requests() {
            sent.push(member(&form(&request).await, name).unwrap().to_owned());
        }
        assert_eq!(sent, ["secret-1", "secret-2", "secret-3"]);
    }
}

// G2, W9
#[tokio::test(start_paused = true)]
async fn a_file_of_a_grant_that_is_replaced_is_used() {
    let folder = Folder::new();
    std::fs::write(folder.path("token"), "one\n").unwrap();
    let grant = TokenExchange::new(Secret::file(folder.path("token")), TokenType::JWT);
    let api = Api::new(|_| answer(400, r#"{"error":"invalid_grant"}"#));
    let tokens = Tokens::new(credentials(grant), single_try(api.clone()));
    for _ in 0..2 {
        tokens.get().await.unwrap_err();
    }
    // A replaced file ends the back-off.
    folder.replace("token", "other");
    tokens.get().await.unwrap_err();
    let requests = api.requests();
    assert_eq!(requests.len(), 2);
    for (request, expected) in requests.iter().zip(["one", "other"]) {
        assert_eq!(member(&form(request).await, "subject_token"), Some(expected));
    }
}

// W7, W9
#[tokio::test(start_paused = true)]
async fn a_secret_of_a_grant_that_hangs_is_named_at_the_deadline() {
    let hanging = Secret::from_fn("vault:subject", pending::<Result<String, BoxError>>);
    let grant = TokenExchange::new(hanging, TokenType::JWT);
    let api = Api::always(200);
    let start = Instant::now();
    let request = TokenRequest::new(credentials(grant));
    let error = single_try(api.clone()).oneshot(request).await.unwrap_err();
    assert_eq!(start.elapsed(), Duration::from_secs(30));
    assert_eq!((error.kind(), api.count()), (TokenErrorKind::ClientAuthentication, 0));
    assert!(error.is_transient());
    assert!(error.source().unwrap().to_string().contains("vault:subject"));
}

// G2
#[tokio::test]
async fn an_empty_assertion_is_not_sent() {
    let api = Api::always(200);
    let request = TokenRequest::new(credentials(JwtBearer::assertion("")));
    let error = single_try(api.clone()).oneshot(request).await.unwrap_err();
    assert_eq!((error.kind(), api.count()), (TokenErrorKind::ClientAuthentication, 0));
    assert_eq!(error.source().unwrap().to_string(), "assertion is empty");
    assert!(!error.is_transient());
}

// S2
#[test]
fn a_secret_of_a_grant_counts_by_text_path_or_name() {
    let exchange = |secret: Secret| credentials(TokenExchange::new(secret, TokenType::JWT));
    let function = |name: &str| Secret::from_fn(name, || async { Ok::<_, BoxError>("t") });
    let all = || {
        [
            exchange("a".into()),
            exchange("b".into()),
            exchange(Secret::file("a")),
            exchange(function("a")),
            credentials(JwtBearer::assertion("a")),
        ]
    };
    let same: Arc<[_]> = all().into();
    for (n, one) in all().iter().enumerate() {
        for (m, other) in same.iter().enumerate() {
            assert_eq!(one == other, n == m, "{n} and {m}");
        }
    }
}

#[test]
fn a_custom_source_sees_the_parameters_that_are_known() {
    let names = |credentials: Credentials| {
        let parameters = credentials.parameters().into_iter();
        parameters.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
    };
    let exchange = TokenExchange::new("t", "urn:a").actor(counting(), "urn:b");
    assert_eq!(
        names(credentials(exchange)),
        [
            "grant_type=urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token=t",
            "subject_token_type=urn:a",
            "actor_token_type=urn:b",
        ]
    );
}
