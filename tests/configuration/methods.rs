//! Tests the methods of client authentication.

use tower_oauth2::client_auth::ClientAssertion;
use tower_oauth2::{ClientAuth, Credentials};

use crate::{File, client, client_table, token_request};

const CERTIFICATE: [u8; 5] = [0x30, 3, 1, 2, 3];

fn expect(fields: &str, auth: ClientAuth) {
    let expected = Credentials::new("https://auth.test/token", auth).unwrap();
    assert_eq!(client(&client_table(fields)).credentials().unwrap(), expected, "{fields}");
}

fn with_secret(method: &str) -> String {
    format!("client_id = 'a'\nclient_secret = 'b'\ntoken_endpoint_auth_method = '{method}'")
}

#[test]
fn each_method_is_the_one_of_its_name() {
    expect("client_id = 'a'\nclient_secret = 'b'", ClientAuth::client_secret_basic("a", "b"));
    expect(&with_secret("client_secret_basic"), ClientAuth::client_secret_basic("a", "b"));
    expect(&with_secret("client_secret_post"), ClientAuth::client_secret_post("a", "b"));
    expect(&with_secret("client_secret_basic_raw"), ClientAuth::client_secret_basic_raw("a", "b"));
    expect("client_id = 'a'\ntoken_endpoint_auth_method = 'none'", ClientAuth::none("a"));
    expect("token_endpoint_auth_method = 'anonymous'", ClientAuth::anonymous());
}

#[test]
fn the_metadata_of_an_issuer_choose_the_method_by_default() {
    let fields = "client_id = 'a'\nclient_secret = 'b'";
    let from_issuer = |fields: &str| {
        let toml = client_table(fields).replace("token_endpoint = ", "issuer = ");
        client(&toml).credentials().unwrap()
    };
    let expected = |auth| Credentials::from_issuer("https://auth.test/token", auth).unwrap();
    let default = ClientAuth::client_secret("a", "b");
    assert_eq!(from_issuer(fields), expected(default.clone()));
    assert_eq!(from_issuer(&with_secret("client_secret")), expected(default));
    let basic = ClientAuth::client_secret_basic("a", "b");
    assert_eq!(from_issuer(&with_secret("client_secret_basic")), expected(basic));
}

#[test]
fn an_assertion_may_have_a_client_id_and_a_type() {
    let fields = "token_endpoint_auth_method = 'client_assertion'\nclient_assertion = 'x'\n";
    expect(fields, ClientAuth::custom(ClientAssertion::new("x")));
    expect(&format!("{fields}client_id = 'a'"), ClientAuth::client_assertion("a", "x"));
    let saml = "urn:ietf:params:oauth:client-assertion-type:saml2-bearer";
    expect(
        &format!("{fields}client_assertion_type = '{saml}'"),
        ClientAuth::custom(ClientAssertion::new("x").assertion_type(saml)),
    );
}

#[test]
fn certificates_are_equal_in_pem_and_der() {
    let pem = "text\n-----BEGIN CERTIFICATE-----\nMAMB\nAgM=\n-----END CERTIFICATE-----\n";
    let (der_file, pem_file) = (File::new(CERTIFICATE), File::new(pem));
    // An environment may have escaped the line breaks.
    let escaped = format!("'{}'", pem.replace('\n', "\\n"));
    for source in [der_file.toml(), pem_file.toml(), format!("'''{pem}'''"), escaped] {
        let fields = |method| {
            format!(
                "client_id = 'a'\ntoken_endpoint_auth_method = '{method}'\n\
                 client_certificate = {source}"
            )
        };
        let expected = ClientAuth::tls_client_auth("a", CERTIFICATE);
        expect(&fields("tls_client_auth"), expected);
        let expected = ClientAuth::self_signed_tls_client_auth("a", CERTIFICATE);
        expect(&fields("self_signed_tls_client_auth"), expected);
    }
}

#[test]
fn a_file_that_is_no_certificate_is_an_error() {
    for (content, problem) in [
        ("", "is empty"),
        ("nonsense", "is not PEM: it has no BEGIN line"),
        (
            "-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----",
            "is not valid PEM: its base64 is damaged",
        ),
        (
            "-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----",
            "must be a certificate: the PEM text has none",
        ),
    ] {
        let file = File::new(content);
        let client = client(&client_table(&format!(
            "client_id = 'a'\ntoken_endpoint_auth_method = 'tls_client_auth'\n\
             client_certificate = {}",
            file.toml()
        )));
        let error = client.credentials().unwrap_err().to_string();
        assert_eq!(error, format!("client_certificate {problem}"));
    }
}

#[test]
fn a_text_that_is_no_certificate_is_an_error_at_once() {
    let error = crate::error(&client_table(
        "client_id = 'a'\ntoken_endpoint_auth_method = 'tls_client_auth'\n\
         client_certificate = 'nonsense'",
    ));
    assert_eq!(error, "client stock: client_certificate is not PEM: it has no BEGIN line");
}

#[tokio::test(start_paused = true)]
async fn a_secret_in_a_file_is_read_for_each_token_request() {
    let file = File::new("first\n");
    let client = client(&client_table(&format!(
        "client_id = 'a'\ntoken_endpoint_auth_method = 'client_secret_post'\nclient_secret = {}",
        file.toml()
    )));
    for secret in ["first", "second"] {
        std::fs::write(&file.0, secret).unwrap();
        let request = token_request(&client).await;
        assert_eq!(request.parameter("client_secret").as_deref(), Some(secret));
    }
}

#[cfg(feature = "jwt")]
mod jwt {
    use tower_oauth2::jwt::{Algorithm, KeyFile, SigningKey};

    use super::*;

    /// An Ed25519 key (RFC 8037 appendix A.1).
    const JWK: &str = r#"{"kty":"OKP","crv":"Ed25519","kid":"own",
        "d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
        "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

    fn fields(source: &str) -> String {
        format!(
            "client_id = 'a'\ntoken_endpoint_auth_method = 'private_key_jwt'\nprivate_key = {source}"
        )
    }

    #[test]
    fn a_private_key_comes_from_a_file_or_a_text() {
        let file = File::new(JWK);
        let key_file = || KeyFile::new(&file.0);
        expect(&fields(&file.toml()), ClientAuth::private_key_jwt("a", key_file()));
        expect(
            &format!(
                "{}\nkid = 'k'\ntoken_endpoint_auth_signing_alg = 'EdDSA'",
                fields(&file.toml())
            ),
            ClientAuth::private_key_jwt("a", key_file().kid("k").algorithm(Algorithm::EdDSA)),
        );
        let key = || SigningKey::from_jwk(JWK).unwrap();
        let text = format!("'''{JWK}'''");
        expect(&fields(&text), ClientAuth::private_key_jwt("a", key()));
        expect(
            &format!("{}\nkid = 'k'", fields(&text)),
            ClientAuth::private_key_jwt("a", key().with_kid("k")),
        );
    }

    #[test]
    fn client_secret_jwt_signs_with_hs256_only() {
        let fields = with_secret("client_secret_jwt");
        expect(&fields, ClientAuth::client_secret_jwt("a", "b"));
        expect(
            &format!("{fields}\ntoken_endpoint_auth_signing_alg = 'HS256'"),
            ClientAuth::client_secret_jwt("a", "b"),
        );
        let error = crate::error(&client_table(&format!(
            "{fields}\ntoken_endpoint_auth_signing_alg = 'RS256'"
        )));
        assert!(error.ends_with("must be HS256 with client_secret_jwt: RS256"), "{error}");
    }

    #[test]
    fn an_invalid_key_is_an_error_that_does_not_quote_it() {
        for (key, expected) in [
            ("'/run/key.pem'", "client stock: private_key: signing key"),
            ("'''{\"d\":\"s3cr3t\"}'''", "client stock: private_key: "),
        ] {
            let error = crate::error(&client_table(&fields(key)));
            assert!(error.starts_with(expected), "{error}");
            assert!(!error.contains("s3cr3t"), "{error}");
        }
        let fields =
            format!("{}\ntoken_endpoint_auth_signing_alg = 'RS1'", fields("{ file = 'k' }"));
        let error = crate::error(&client_table(&fields));
        assert!(error.starts_with("client stock: token_endpoint_auth_signing_alg: "), "{error}");
    }
}

#[cfg(not(feature = "jwt"))]
#[test]
fn a_method_with_a_jwt_names_the_feature() {
    for method in ["private_key_jwt", "client_secret_jwt"] {
        let error = crate::error(&client_table(&with_secret(method)));
        let expected = "client stock: token_endpoint_auth_method needs the feature `jwt` of \
                        tower-oauth2: ";
        assert_eq!(error, format!("{expected}{method}"));
    }
}
