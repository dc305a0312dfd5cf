//! Tests that secrets stay secret, and what happens if they are not available.

use figment::providers::Format;
use tower_oauth2::TokenErrorKind;
use tower_oauth2::config::Clients;

use crate::{File, client, client_table, clients, endpoint, public};

const SECRET: &str = "s3cr3t-of-the-file";

#[test]
fn no_secret_is_in_debug_output() {
    let file = File::new(SECRET);
    for fields in [
        format!("client_id = 'a'\nclient_secret = '{SECRET}'"),
        format!("client_id = 'a'\nclient_secret = '{SECRET}'\nparameters = {{ p = '{SECRET}' }}"),
        format!(
            "client_id = 'a'\nclient_secret = 'b'\ngrant_type = 'refresh_token'\n\
             refresh_token = {}",
            file.toml()
        ),
    ] {
        let clients = clients(&format!("[stock]\n{}", client_table(&fields)));
        let shown = format!("{clients:?} {:#?}", clients.get("stock").unwrap());
        assert!(shown.contains("https://auth.test"), "{shown}");
        assert!(!shown.contains("s3cr3t"), "{shown}");
    }
}

// The errors of all formats are made of the same text, and every type is at the place of a secret.
// X6
#[test]
fn no_error_quotes_a_value_at_the_place_of_a_secret() {
    for value in [
        "1234567890",
        "-1234567890",
        "1234567890123456789012345678901234567890",
        "1234567890.5",
        "[1234567890]",
        r#"{"1234567890": null}"#,
        r#"{"file": {"1234567890": 1}}"#,
        r#"{"env": 1234567890}"#,
        r#"["1234567890"]"#,
    ] {
        for field in ["client_secret", "private_key", "refresh_token", "parameters"] {
            let json = format!(
                r#"{{"stock": {{"issuer": "https://auth.test", "client_id": "a", "origins": [],
                    "grant_type": "refresh_token", "{field}": {value}}}}}"#
            );
            // A table of parameters may have such a name.
            if field == "parameters" && value.contains("null") {
                continue;
            }
            let errors = [
                serde_json::from_str::<Clients>(&json).unwrap_err().to_string(),
                serde_norway::from_str::<Clients>(&json).unwrap_err().to_string(),
            ];
            for error in errors {
                assert!(!error.contains("1234567890"), "{error}");
            }
        }
    }
}

/// Returns the errors of all formats for the same file.
fn errors(toml: &str) -> Vec<String> {
    let json = toml::from_str::<serde_json::Value>(toml).unwrap().to_string();
    let file = config::File::from_str(toml, config::FileFormat::Toml);
    let config = config::Config::builder().add_source(file).build().unwrap();
    let figment = figment::Figment::new().merge(figment::providers::Toml::string(toml));
    vec![
        toml::from_str::<Clients>(toml).unwrap_err().message().to_owned(),
        serde_json::from_str::<Clients>(&json).unwrap_err().to_string(),
        serde_norway::from_str::<Clients>(&json).unwrap_err().to_string(),
        config.try_deserialize::<Clients>().unwrap_err().to_string(),
        figment.extract::<Clients>().unwrap_err().to_string(),
    ]
}

// X3
#[test]
fn no_format_quotes_a_secret_in_a_url_or_a_wrong_field() {
    let url = format!("https://user:{SECRET}@auth.test/?key={SECRET}#{SECRET}");
    for (field, value) in [
        ("token_endpoint", format!("'{url}'")),
        ("token_endpoint", format!("'/{SECRET}?key={SECRET}'")),
        ("origins", format!("'{url}'")),
        ("origins", format!("['https://api.test?key={SECRET}']")),
        ("secret", format!("'{SECRET}'")),
        ("client_secret", format!("['{SECRET}']")),
        ("client_secret", format!("{{ fil = '{SECRET}' }}")),
        ("client_secret", format!("{{ '{SECRET}' = 'file' }}")),
        ("client_secret", format!("{{ file = {{ path = '{SECRET}' }} }}")),
        ("client_secret", format!("\"{SECRET}\\n\"")),
        ("authorization_details", format!("'{SECRET}'")),
        ("authorization_details", format!("[{{ secret = '{SECRET}' }}]")),
        ("default_expires_in", format!("'{SECRET}'")),
    ] {
        let others = [
            ("token_endpoint", "'https://auth.test/token'"),
            ("client_id", "'a'"),
            ("client_secret", "'b'"),
            ("origins", "'https://api.test'"),
        ];
        let others = others.iter().filter(|(name, _)| *name != field);
        let others: String = others.map(|(name, value)| format!("{name} = {value}\n")).collect();
        for error in errors(&format!("[stock]\n{others}{field} = {value}\n")) {
            assert!(error.contains("client stock: "), "{error}");
            assert!(!error.contains(SECRET), "{field}: {error}");
        }
    }
    for error in errors(&format!("[stock]\nissuer = '{url}'\nclient_id = 'a'\n")) {
        assert!(!error.contains(SECRET), "{error}");
    }
}

// X3
#[test]
fn a_secret_in_braces_is_not_shown() {
    #[derive(serde::Deserialize, Debug)]
    struct Flat {
        #[serde(flatten)]
        _clients: Clients,
    }
    for secret in ["{1234567890}", "{1234567890.5}", "{[1234567890]}", "{{1234567890}}"] {
        let yaml = format!(
            "stock: {{issuer: 'https://auth.test', client_id: a, origins: [], \
             client_secret: {secret}}}"
        );
        for error in [
            serde_norway::from_str::<Clients>(&yaml).unwrap_err().to_string(),
            serde_norway::from_str::<Flat>(&yaml).unwrap_err().to_string(),
        ] {
            assert!(!error.contains("1234567890"), "{error}");
        }
    }
}

#[test]
fn a_missing_variable_affects_one_client_table_only() {
    let missing =
        client_table("client_id = 'a'\nclient_secret = { env = 'TOWER_OAUTH2_NO_SUCH_VARIABLE' }");
    let clients = clients(&format!("[mail]\n{}\n[stock]\n{missing}", public("")));
    let (_, cache) = endpoint();
    assert!(clients.get("mail").unwrap().layer(&cache).is_ok());
    let stock = clients.get("stock").unwrap();
    let expected = "client stock: client_secret: environment variable of a secret is not set: \
                    TOWER_OAUTH2_NO_SUCH_VARIABLE";
    assert_eq!(stock.credentials().unwrap_err().to_string(), expected);
    assert_eq!(stock.layer(&cache).unwrap_err().to_string(), expected);
}

#[test]
fn a_missing_variable_does_not_hide_a_mistake() {
    let secret = "client_secret = { env = 'TOWER_OAUTH2_NO_SUCH_VARIABLE' }";
    for (fields, expected) in [
        (format!("client_id = ''\n{secret}"), "client id is empty"),
        (format!("client_id = 'a'\n{secret}\nkid = 'k'"), "kid does not go with"),
        (format!("client_id = 'a'\n{secret}\ndefault_expires_in = 'x'"), "default_expires_in"),
    ] {
        let error = crate::error(&client_table(&fields));
        assert!(error.starts_with(&format!("client stock: {expected}")), "{error}");
    }
}

#[test]
fn a_file_that_is_read_once_must_be_readable() {
    let folder = env!("CARGO_TARGET_TMPDIR");
    let (empty, binary) = (File::new("\n"), File::new([0xff, 0xfe]));
    for (source, problem) in [
        (format!("{{ file = '{folder}/no-such-file' }}"), "is in a file that cannot be read"),
        (format!("{{ file = '{folder}' }}"), "is not in a regular file"),
        (empty.toml(), "is in an empty file"),
        (binary.toml(), "is in a file that is not UTF-8"),
    ] {
        let fields = format!("grant_type = 'refresh_token'\nrefresh_token = {source}");
        let error = client(&public(&fields)).credentials().unwrap_err().to_string();
        assert!(error.starts_with(&format!("refresh_token {problem}: ")), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_secret_file_fails_token_requests() {
    let (http, cache) = endpoint();
    let client =
        client(&client_table("client_id = 'a'\nclient_secret = { file = '/no/such/file' }"));
    let error = cache.tokens(&client.credentials().unwrap()).get().await.unwrap_err();
    assert_eq!(error.kind(), TokenErrorKind::ClientAuthentication);
    assert_eq!(http.count(), 0);
}
