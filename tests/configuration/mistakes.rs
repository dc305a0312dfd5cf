//! Tests that mistakes are errors that name the client table and the field.

use tower_oauth2::config::Clients;

use crate::{client_table, error, public};

const METHOD: &str = "token_endpoint_auth_method";

fn expect(client_table: &str, expected: &str) {
    assert_eq!(error(client_table), format!("client stock: {expected}"));
}

// X6
#[test]
fn an_unknown_field_is_an_error() {
    expect(&public("scop = 'read'"), "client table has an unknown field: scop");
    expect(&public("[stock.dpop]\nkey = 1"), "client table has an unknown field: dpop");
}

#[test]
fn a_missing_field_is_an_error() {
    expect("client_id = 'a'", "token_endpoint is missing, and so is issuer");
    expect(&client_table("client_secret = 'b'"), "client_id is missing");
    let without_origins =
        format!("issuer = 'https://auth.test'\nclient_id = 'a'\n{METHOD} = 'none'");
    expect(&without_origins, "origins is missing");
    let needs = |method: &str, field: &str| {
        let fields = format!("client_id = 'a'\n{METHOD} = '{method}'");
        expect(&client_table(&fields), &format!("{field} is needed with {METHOD}: {method}"));
    };
    for method in ["client_secret_basic", "client_secret_basic_raw", "client_secret_post"] {
        needs(method, "client_secret");
    }
    expect(
        &client_table("client_id = 'a'"),
        "client_secret is needed with token_endpoint_auth_method: client_secret_basic",
    );
    for method in ["tls_client_auth", "self_signed_tls_client_auth"] {
        needs(method, "client_certificate");
    }
    needs("client_assertion", "client_assertion");
    if cfg!(feature = "jwt") {
        needs("client_secret_jwt", "client_secret");
        needs("private_key_jwt", "private_key");
    }
    for (grant_type, field) in [
        ("refresh_token", "refresh_token"),
        ("urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion"),
        ("urn:ietf:params:oauth:grant-type:token-exchange", "subject_token"),
    ] {
        let fields = format!("grant_type = '{grant_type}'");
        expect(&public(&fields), &format!("{field} is needed with grant_type: {grant_type}"));
    }
    let exchange = "grant_type = 'urn:ietf:params:oauth:grant-type:token-exchange'";
    let fields = format!("{exchange}\nsubject_token = 's3cr3t'");
    expect(&public(&fields), "subject_token_type is needed with: subject_token");
    let fields = format!("{fields}\nsubject_token_type = 't'\nactor_token_type = 't'");
    expect(&public(&fields), "actor_token is needed with: actor_token_type");
}

// X6
#[test]
fn fields_that_exclude_each_other_are_an_error() {
    expect(&public("issuer = 'https://auth.test'"), "token_endpoint must not be set beside issuer");
    for field in ["client_secret", "client_assertion", "private_key", "client_certificate", "kid"] {
        expect(
            &public(&format!("{field} = 's3cr3t'")),
            &format!("{field} does not go with {METHOD}: none"),
        );
    }
    for field in ["assertion", "refresh_token", "subject_token", "actor_token_type"] {
        expect(
            &public(&format!("{field} = 's3cr3t'")),
            &format!("{field} does not go with grant_type: client_credentials"),
        );
    }
    expect(
        &client_table(&format!("client_id = 'a'\n{METHOD} = 'anonymous'")),
        "client_id does not go with token_endpoint_auth_method: anonymous",
    );
    expect(
        &public("parameters = { scope = 'read' }"),
        "parameters has a parameter with a field of its own in the client table: scope",
    );
}

#[test]
fn a_wrong_type_is_an_error_that_quotes_no_value() {
    for (fields, expected) in [
        ("scope = 1", "scope must be a text: put it into quotes"),
        ("audience = [['x']]", "audience must be a text"),
        ("label = {}", "label must be a text"),
        ("default_expires_in = 1.5", "default_expires_in must be a whole number of seconds"),
        ("default_expires_in = -1", "default_expires_in must be a whole number of seconds"),
        ("default_expires_in = 'x'", "default_expires_in must be a whole number of seconds"),
        ("parameters = 's3cr3t'", "parameters must be a table of texts"),
        ("parameters = 2026-01-01", "parameters must be a table of texts"),
        (
            "parameters = { a = ['s3cr3t'] }",
            "parameters needs a text, { file = \"…\" } or { env = \"…\" } for a parameter: a",
        ),
    ] {
        expect(&public(fields), expected);
    }
    let place = "client_secret must be a text, { file = \"…\" } or { env = \"…\" }";
    for (secret, expected) in [
        ("12345", "client_secret must be a text: put it into quotes"),
        ("true", "client_secret must be a text: put it into quotes"),
        ("12345.5", "client_secret must be a text: put it into quotes"),
        ("2026-01-01", "client_secret must be a text: put it into quotes"),
        ("['s3cr3t']", place),
        ("{}", place),
        ("{ s3cr3t = 'x' }", place),
        ("{ file = 12345 }", place),
        ("{ file = '' }", "client_secret needs a name in `file` or `env`"),
        ("{ file = 'a', env = 'b' }", "client_secret must have one of `file` and `env`"),
    ] {
        let fields = format!("client_id = 'a'\nclient_secret = {secret}");
        expect(&client_table(&fields), expected);
    }
}

#[test]
fn an_invalid_value_is_an_error() {
    for (fields, expected) in [
        ("grant_type = ''", "grant_type is empty"),
        ("parameters = { tenant = '' }", "parameters.tenant: value is empty"),
        (
            "grant_type = 'jwt-bearer'",
            "grant_type must begin with urn:ietf:params:oauth:grant-type:: jwt-bearer",
        ),
    ] {
        expect(&public(fields), expected);
    }
    expect(
        &client_table(&format!("client_id = 'a'\n{METHOD} = 'basic'")),
        "token_endpoint_auth_method is not supported: basic",
    );
    expect(&client_table("client_id = ''\nclient_secret = 'b'"), "client id is empty");
    expect(&client_table("client_id = 'a'\nclient_secret = ''"), "client_secret is empty");
    expect(
        &client_table("client_id = 'a'\nclient_secret = \"s3cr3t\\n\""),
        "client_secret ends in a line break",
    );
    let elsewhere = public("").replace("https://api.test", "api.test");
    expect(&elsewhere, "origins: origin needs a scheme and a host: api.test");
    let elsewhere = public("").replace("https://auth.test/token", "/token");
    assert!(error(&elsewhere).starts_with("client stock: token endpoint "));
}

// X6
#[test]
fn a_file_cannot_switch_off_a_protection() {
    for origin in ["'*'", "['*']", "'any'"] {
        let toml = public("").replace("['https://api.test']", origin);
        let error = error(&toml);
        assert!(error.starts_with("client stock: origins: origin "), "{error}");
    }
    let field = "client table has an unknown field: dangerously_allow_http";
    expect(&public("dangerously_allow_http = true"), field);
}

#[test]
fn duplicates_and_other_shapes_are_errors() {
    let error = |json: &str| serde_json::from_str::<Clients>(json).unwrap_err().to_string();
    let twice = error(r#"{"stock": {"scope": "a", "scope": "b"}}"#);
    assert!(twice.starts_with("client stock: scope is set twice"), "{twice}");
    let whole = r#"{"issuer": "https://a.test", "client_id": "a", "origins": [],
                    "token_endpoint_auth_method": "none"}"#;
    let twice = error(&format!(r#"{{"stock": {whole}, "stock": {whole}}}"#));
    assert!(twice.starts_with("client is defined twice: stock"), "{twice}");
    let nothing = error(r#"{"stock": "s3cr3t"}"#);
    assert!(nothing.starts_with("client stock: client table must be a table"), "{nothing}");
    let nothing = error(r#""s3cr3t""#);
    assert!(nothing.starts_with("clients must be a table of client tables"), "{nothing}");
}

#[test]
fn a_name_is_quoted_in_printable_characters_only() {
    let error = serde_json::from_str::<Clients>(r#"{"a\u001b[0m": {}}"#).unwrap_err().to_string();
    assert!(error.starts_with("client a\\u{1b}[0m: "), "{error}");
}
