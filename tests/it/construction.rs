//! Settings that cannot work are errors before anything is sent (W12).

use std::error::Error as _;
use std::io;

use tower::ServiceExt;
use tower_oauth2::client_auth::ClientAssertion;
use tower_oauth2::grant::{Grant, JwtBearer, RefreshToken, TokenExchange, TokenType};
use tower_oauth2::{ClientAuth, ConfigError, Credentials, Secret, TokenRequest, Tokens};

use crate::support::*;

const ENDPOINT: &str = "https://auth.test/token";

/// Returns the error of credentials with this authentication, from both constructors.
#[track_caller]
fn refused(auth: ClientAuth) -> String {
    let errors = [
        Credentials::new(ENDPOINT, auth.clone()).unwrap_err(),
        Credentials::from_issuer("https://auth.test", auth).unwrap_err(),
    ];
    let [new, from_issuer] = errors.map(|error: ConfigError| error.to_string());
    assert_eq!(new, from_issuer);
    assert!(!new.contains(SECRET), "{new}");
    new
}

// W12
#[test]
fn a_client_id_with_invisible_characters_is_an_error() {
    for id in ["client-id\n", "\tclient-id", "client\0id", "client\u{85}id"] {
        for auth in [
            ClientAuth::none(id),
            ClientAuth::client_secret_basic(id, SECRET),
            ClientAuth::client_assertion(id, SECRET),
            ClientAuth::tls_client_auth(id, "DER"),
        ] {
            let text = refused(auth);
            assert!(text.starts_with("client id has control characters"), "{id:?}: {text}");
        }
    }
    for id in ["\u{feff}client-id", "client-id\u{feff}"] {
        let text = refused(ClientAuth::none(id));
        assert!(text.starts_with("client id has a byte order mark"), "{text}");
    }
    for id in ["client-id", " id with spaces ", "ünïcode", "https://client.test/"] {
        assert!(Credentials::new(ENDPOINT, ClientAuth::none(id)).is_ok(), "{id}");
    }
}

// W12, W2
#[test]
fn an_empty_secret_is_an_error_where_one_is_needed() {
    for auth in [
        ClientAuth::client_secret_basic("id", ""),
        ClientAuth::client_secret_basic_raw("id", ""),
        ClientAuth::client_secret_post("id", ""),
    ] {
        assert_eq!(refused(auth), "client secret is empty");
    }
    let assertion = ClientAuth::client_assertion("id", "");
    assert_eq!(refused(assertion), "client assertion is empty");
    let no_type = ClientAuth::custom(ClientAssertion::new("a").assertion_type(""));
    assert_eq!(refused(no_type), "client assertion type is empty");
    assert_eq!(refused(ClientAuth::tls_client_auth("id", "")), "client certificate is empty");
    #[cfg(feature = "jwt")]
    assert_eq!(refused(ClientAuth::client_secret_jwt("id", "")), "client secret is empty");
}

// W12
#[test]
fn a_text_secret_with_a_line_break_at_its_end_is_an_error() {
    for secret in ["s3cr3t\n", "s3cr3t\r\n", "s3cr3t\r", "\n"] {
        for auth in [
            ClientAuth::client_secret_basic("id", secret),
            ClientAuth::client_secret_post("id", secret),
        ] {
            assert_eq!(refused(auth), "client secret ends in a line break");
        }
        let assertion = ClientAuth::client_assertion("id", secret);
        assert_eq!(refused(assertion), "client assertion ends in a line break");
        #[cfg(feature = "jwt")]
        {
            let jwt = ClientAuth::client_secret_jwt("id", secret);
            assert_eq!(refused(jwt), "client secret ends in a line break");
        }
    }
    let marked = ClientAuth::client_secret_post("id", "\u{feff}s3cr3t");
    assert_eq!(refused(marked), "client secret begins with a byte order mark");
    // A file is known only when it is read, and its line breaks are no part of the secret.
    let file = ClientAuth::client_secret_post("id", Secret::file("/no/such/file"));
    assert!(Credentials::new(ENDPOINT, file).is_ok());
}

// W12
#[test]
fn an_address_with_a_line_break_is_an_error() {
    let auth = || ClientAuth::none("id");
    for address in ["https://auth.test/token\n", "\u{feff}https://auth.test/token"] {
        assert!(Credentials::new(address, auth()).is_err());
        assert!(Credentials::from_issuer(address, auth()).is_err());
        assert!(tower_oauth2::Origins::only(address).is_err());
    }
}

// W12, W2
#[test]
fn a_raw_id_with_a_colon_is_an_error() {
    let text = refused(ClientAuth::client_secret_basic_raw("client:id", SECRET));
    assert_eq!(text, "client id must not contain a colon with client_secret_basic_raw");
}

#[cfg(feature = "jwt")]
// W12
#[test]
fn a_key_id_with_invisible_characters_is_an_error() {
    use tower_oauth2::jwt::{Algorithm, KeyFile, SigningKey};

    let key = SigningKey::generate(Algorithm::ES256).unwrap();
    for kid in ["2026\n", "\u{feff}2026"] {
        let text = refused(ClientAuth::private_key_jwt("id", key.clone().with_kid(kid)));
        assert!(text.starts_with("key id has "), "{text}");
        let file = KeyFile::new("/no/such/file").kid(kid);
        assert_eq!(refused(ClientAuth::private_key_jwt("id", file)), text);
    }
}

// W12: a custom method can check its settings.
#[test]
fn a_custom_method_can_check_the_method_it_wraps() {
    use tower_oauth2::BoxError;
    use tower_oauth2::client_auth::{ClientAuthentication, Identity, TokenRequestParts};

    struct Outer(ClientAuth);

    impl ClientAuthentication for Outer {
        fn method(&self) -> &str {
            "outer"
        }
        fn identify(&self, identity: &mut Identity) {
            identity.client_auth(&self.0);
        }
        fn check(&self) -> Result<(), ConfigError> {
            self.0.check()
        }
        async fn authenticate(&self, request: &mut TokenRequestParts) -> Result<(), BoxError> {
            self.0.authenticate(request).await
        }
    }

    let outer = Outer(ClientAuth::client_secret_post("id", "s3cr3t\n"));
    assert_eq!(refused(ClientAuth::custom(outer)), "client secret ends in a line break");
}

// W12
#[tokio::test]
async fn a_custom_method_cannot_read_a_text_that_is_no_secret() {
    let request = tower_oauth2::client_auth::TokenRequestParts::new(ENDPOINT.parse().unwrap());
    for text in ["", "s3cr3t\n", "\u{feff}s3cr3t"] {
        assert!(request.read(&text.into()).await.is_err(), "{text:?}");
    }
    assert_eq!(request.read(&SECRET.into()).await.unwrap().as_ref(), SECRET);
}

// W12, G1, G2, G3
#[tokio::test(start_paused = true)]
async fn a_grant_that_ends_in_a_line_break_sends_nothing() {
    let endpoint = Api::always(200);
    let grants: [(Grant, &str); 5] = [
        (JwtBearer::assertion("a.b.c\n").into(), "assertion"),
        (TokenExchange::new("token\n", TokenType::ACCESS_TOKEN).into(), "subject token"),
        (
            TokenExchange::new("token", TokenType::ACCESS_TOKEN)
                .actor("actor\r\n", TokenType::JWT)
                .into(),
            "actor token",
        ),
        (RefreshToken::in_memory("user", "refresh\n").into(), "refresh token"),
        (JwtBearer::assertion("\u{feff}a.b.c").into(), "assertion"),
    ];
    for (grant, name) in grants {
        let request = TokenRequest::new(credentials().grant(grant));
        let error = single_try(endpoint.clone()).oneshot(request).await.unwrap_err();
        let source = error.source().unwrap().to_string();
        let is_marked = source == format!("{name} begins with a byte order mark");
        assert!(is_marked || source == format!("{name} ends in a line break"), "{source}");
        assert!(!error.is_transient(), "no retry can help");
    }
    assert_eq!(endpoint.count(), 0);
}

// W12, W9: another caller of the function may remove what it appended.
#[tokio::test(start_paused = true)]
async fn a_secret_of_a_function_with_a_line_break_is_an_error() {
    let endpoint = Api::always(200);
    let secret = Secret::from_fn("vault", || async { Ok::<_, io::Error>("s3cr3t\n") });
    let auth = ClientAuth::client_secret_post("id", secret);
    let request = TokenRequest::new(Credentials::new(ENDPOINT, auth).unwrap());
    let error = single_try(endpoint.clone()).oneshot(request).await.unwrap_err();
    assert_eq!(error.source().unwrap().to_string(), "the secret ends in a line break");
    assert!(error.is_transient());
    assert_eq!(endpoint.count(), 0);
}

// W12, O
#[tokio::test(start_paused = true)]
async fn a_comma_in_a_scope_is_one_warning() {
    const WARNING: &str = "a scope has a comma";
    let (trace, _guard) = Trace::start();
    let cache = builder(&ScriptedSource::tokens(hour)).build();
    let tokens = cache.tokens(&credentials().scope("read,write admin").label("shop"));
    for _ in 0..3 {
        tokens.get().await.unwrap().reject();
    }
    get_for(&cache, &credentials().scope("read write")).await.unwrap();
    let lines = trace.lines();
    let warnings: Vec<_> = lines.iter().filter(|line| line.contains(WARNING)).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with("WARN "), "{warnings:?}");
    assert!(warnings[0].contains("scope=read,write"), "{warnings:?}");
    assert!(warnings[0].contains("label=shop"), "{warnings:?}");
}

// W12, O
#[tokio::test(start_paused = true)]
async fn invisible_characters_in_other_settings_are_one_warning() {
    const WARNING: &str = "a setting has control characters or a byte order mark";
    for (credentials, setting) in [
        (credentials().audience("https://api.test\n"), "audience"),
        (credentials().resource("\u{feff}https://api.test"), "resource"),
        (credentials().scope("re\u{0}ad"), "scope"),
        (credentials().parameter("account_id", "17\n"), "account_id"),
        (credentials().grant(Grant::custom("account\n")), "grant_type"),
    ] {
        let (trace, _guard) = Trace::start();
        let tokens = Tokens::new(credentials, ScriptedSource::tokens(hour));
        for _ in 0..3 {
            tokens.get().await.unwrap().reject();
        }
        let lines = trace.lines();
        let warnings: Vec<_> = lines.iter().filter(|line| line.contains(WARNING)).collect();
        assert_eq!(warnings.len(), 1, "{setting}: {warnings:?}");
        assert!(warnings[0].contains(&format!("setting={setting}")), "{warnings:?}");
        assert!(!warnings[0].contains("17"), "{warnings:?}");
    }
}
