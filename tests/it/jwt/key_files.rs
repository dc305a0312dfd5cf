use std::error::Error as _;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair, PublicKeyData};
use tower::ServiceExt;
use tower_oauth2::jwt::{Algorithm, KeyFile, SigningKey};
use tower_oauth2::{ClientAuth, TokenError, TokenErrorKind, TokenRequest, Tokens};

use super::{Jwt, answer, vectors};
use crate::support::{Api, Folder, credentials_with, single_try};

const TOKEN: &str = r#"{"access_token":"t","expires_in":3600}"#;

/// Requests a token, and returns the assertion.
async fn ask(key: KeyFile) -> Result<Jwt, TokenError> {
    let endpoint = Api::new(|_| answer(200, None, TOKEN));
    let request =
        TokenRequest::new(credentials_with(ClientAuth::private_key_jwt("client-id", key)));
    single_try(endpoint.clone()).oneshot(request).await?;
    Ok(Jwt::of(&endpoint.requests()[0]).await)
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_replaced_signs_the_next_assertion() {
    let folder = Folder::new();
    let path = folder.path("key.pem");
    for _ in 0..2 {
        let pair = KeyPair::generate().unwrap();
        std::fs::write(&path, pair.serialize_pem()).unwrap();
        let jwt = ask(KeyFile::new(&path)).await.unwrap();
        let key = SigningKey::from_pem(pair.serialize_pem()).unwrap();
        assert!(jwt.is_signed_by(&key.public_jwk()));
        assert_eq!(jwt.header.get("kid"), None);

        let jwt = ask(KeyFile::new(&path).kid_from_thumbprint()).await.unwrap();
        assert_eq!(jwt.header["kid"], key.thumbprint());
        let jwt = ask(KeyFile::new(&path).kid("k1")).await.unwrap();
        assert_eq!(jwt.header["kid"], "k1");
    }
}

#[tokio::test(start_paused = true)]
async fn a_jwk_in_a_file_keeps_its_kid() {
    let folder = Folder::new();
    let path = folder.path("key.json");
    std::fs::write(&path, format!("\n{}\n", vectors::RSA_WITH_KID)).unwrap();
    let jwt = ask(KeyFile::new(&path)).await.unwrap();
    assert_eq!((&jwt.header["kid"], &jwt.header["alg"]), (&"2011-04-29".into(), &"RS256".into()));
    let jwt = ask(KeyFile::new(&path).algorithm(Algorithm::PS256).kid("other")).await.unwrap();
    assert_eq!((&jwt.header["kid"], &jwt.header["alg"]), (&"other".into(), &"PS256".into()));
}

// The last byte of a key in DER may be a line break.
#[tokio::test(start_paused = true)]
async fn a_key_in_der_is_read_to_its_last_byte() {
    let folder = Folder::new();
    let path = folder.path("key.der");
    let ends_in_a_line_break = std::iter::repeat_with(|| KeyPair::generate().unwrap())
        .find(|pair| pair.serialize_der().ends_with(b"\n"))
        .unwrap();
    for pair in [KeyPair::generate().unwrap(), ends_in_a_line_break] {
        std::fs::write(&path, pair.serialize_der()).unwrap();
        let jwt = ask(KeyFile::new(&path)).await.unwrap();
        let key = SigningKey::from_pem(pair.serialize_pem()).unwrap();
        assert!(jwt.is_signed_by(&key.public_jwk()));
    }
}

// Some editors and shells write a byte order mark.
#[tokio::test(start_paused = true)]
async fn a_byte_order_mark_is_not_part_of_a_key() {
    let folder = Folder::new();
    let path = folder.path("key");
    for content in [KeyPair::generate().unwrap().serialize_pem(), vectors::RSA.to_owned()] {
        std::fs::write(&path, format!("\u{feff}{content}")).unwrap();
        ask(KeyFile::new(&path)).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_unusable_file_is_a_transient_error() {
    let folder = Folder::new();
    let path = folder.path("key.pem");
    let pair = KeyPair::generate().unwrap();
    let whole = pair.serialize_pem();
    let certificate = CertificateParams::default().self_signed(&pair).unwrap().pem();
    let half = &whole.as_bytes()[..whole.len() / 2];
    let der = pair.serialize_der();
    let damaged = "signing key is damaged, or in an unsupported format";
    let of_a_certificate = CertificateParams::default().self_signed(&pair).unwrap();
    for (content, why) in [
        (None, "cannot be read"),
        (Some(&b""[..]), "is empty"),
        (Some(b"\n\n"), "is empty"),
        (Some(b"\xef\xbb\xbf"), "is empty"),
        (Some(b"   \n"), "signing key is empty"),
        (Some(half), "signing key is truncated"),
        (Some(certificate.as_bytes()), "signing key is a certificate"),
        (Some(br#"{"kty":"#), "signing key is not a JSON object"),
        (Some(b"{\xff}"), "signing key is not UTF-8"),
        (Some(b"\xff\xfe-\0-\0"), "signing key is not PEM: it may be UTF-16"),
        (Some(&der[..der.len() / 2]), damaged),
        (Some(of_a_certificate.der()), "signing key is not a private key"),
        (Some(&*pair.subject_public_key_info()), "signing key is a public key"),
        (Some(&[b'\n'; 1024 * 1024 + 1]), "is larger than 1 MiB"),
    ] {
        match content {
            Some(content) => std::fs::write(&path, content).unwrap(),
            None => assert!(!path.exists()),
        }
        let error = ask(KeyFile::new(&path)).await.map(drop).unwrap_err();
        assert_eq!(error.kind(), TokenErrorKind::ClientAuthentication);
        assert!(error.is_transient(), "{why}");
        assert_eq!(error.source().unwrap().to_string(), format!("{path:?}: {why}"));
        for text in [format!("{error} {error:?}"), format!("{:?}", error.source())] {
            assert!(!text.contains(whole.lines().nth(1).unwrap()), "{text}");
        }
    }
    std::fs::write(&path, whole).unwrap();
    ask(KeyFile::new(&path)).await.unwrap();

    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let error = ask(KeyFile::new(&path)).await.map(drop).unwrap_err();
    assert_eq!(error.source().unwrap().to_string(), format!("{path:?}: is not a regular file"));
}

// W9
#[tokio::test(start_paused = true)]
async fn a_key_file_that_is_half_written_is_read_again() {
    let folder = Folder::new();
    let path = folder.path("key.pem");
    let whole = KeyPair::generate().unwrap().serialize_pem();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let write = async {
        tokio::time::sleep(Duration::from_millis(15)).await;
        std::fs::write(&path, &whole).unwrap();
    };
    let (sent, ()) = tokio::join!(ask(KeyFile::new(&path)), write);
    sent.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_key_file_for_another_algorithm_is_a_transient_error() {
    let folder = Folder::new();
    let path = folder.path("key.pem");
    std::fs::write(&path, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let error = ask(KeyFile::new(&path).algorithm(Algorithm::PS256)).await.map(drop).unwrap_err();
    assert!(error.is_transient());
}

// C9, W9
#[tokio::test(start_paused = true)]
async fn a_key_file_that_appears_is_used_at_once() {
    let folder = Folder::new();
    let path = folder.path("key.pem");
    let endpoint = Api::new(|_| answer(200, None, TOKEN));
    let auth = ClientAuth::private_key_jwt("client-id", KeyFile::new(&path));
    let tokens = Tokens::new(credentials_with(auth), single_try(endpoint.clone()));
    let whole = KeyPair::generate().unwrap().serialize_pem();
    for (content, why) in
        [(None, "cannot be read"), (Some(&whole[..whole.len() / 2]), "signing key is truncated")]
    {
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        // The second call gets the remembered error.
        for _ in 0..2 {
            let error = tokens.get().await.unwrap_err();
            assert_eq!(error.source().unwrap().to_string(), format!("{path:?}: {why}"));
        }
    }
    std::fs::write(&path, whole).unwrap();
    tokens.get().await.unwrap();
    assert_eq!(endpoint.count(), 1);
}

// C9
#[tokio::test(start_paused = true)]
async fn a_replaced_key_is_used_at_once_and_a_current_token_stays() {
    let folder = Folder::new();
    let path = folder.path("key.pem");
    let (old, new) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let known = SigningKey::from_pem(new.serialize_pem()).unwrap().public_jwk();
    let endpoint = Api::new(move |request| {
        let jwt = futures_util::FutureExt::now_or_never(Jwt::of(request)).unwrap();
        match jwt.is_signed_by(&known) {
            true => answer(200, None, TOKEN),
            false => answer(401, None, r#"{"error":"invalid_client"}"#),
        }
    });
    std::fs::write(&path, old.serialize_pem()).unwrap();
    let auth = ClientAuth::private_key_jwt("client-id", KeyFile::new(&path));
    let tokens = Tokens::new(credentials_with(auth), single_try(endpoint.clone()));
    for _ in 0..3 {
        assert_eq!(tokens.get().await.unwrap_err().error_code(), Some("invalid_client"));
    }
    assert_eq!(endpoint.count(), 1);
    folder.replace("key.pem", &new.serialize_pem());
    tokens.get().await.unwrap();
    assert_eq!(endpoint.count(), 2);

    folder.replace("key.pem", &old.serialize_pem());
    tokio::time::advance(Duration::from_secs(1)).await;
    tokens.get().await.unwrap();
    assert_eq!(endpoint.count(), 2);
}
