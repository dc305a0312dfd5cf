//! Tests the settings that are not part of the token request.

use std::time::Duration;

use tower_oauth2::config::ClientConfig;
use tower_oauth2::testing::{Reply, ScriptedEndpoint};
use tower_oauth2::{TokenEndpoint, Tokens};

use crate::{client, clients, public};

#[tokio::test(start_paused = true)]
async fn a_default_lifetime_is_a_number_or_its_text() {
    for value in ["600", "'600'", "' 600 '"] {
        let client = client(&public(&format!("default_expires_in = {value}")));
        let http = ScriptedEndpoint::new(|n| Reply::token(format!("token-{n}")));
        let tokens = Tokens::new(client.credentials().unwrap(), TokenEndpoint::new(http));
        assert_eq!(tokens.get().await.unwrap().secret(), "token-1");
        tokio::time::advance(Duration::from_secs(601)).await;
        assert_eq!(tokens.get().await.unwrap().secret(), "token-2", "{value}");
    }
}

const DETAILS: &str = r#"[{"amount":12.5,"locations":["a"],"max":7,"type":"payment"}]"#;

// W1
#[tokio::test(start_paused = true)]
async fn authorization_details_are_tables_or_a_json_text() {
    for value in [
        "[{ type = 'payment', locations = ['a'], amount = 12.5, max = 7 }]".to_owned(),
        format!("'{DETAILS}'"),
    ] {
        let client = client(&public(&format!("authorization_details = {value}")));
        let request = crate::token_request(&client).await;
        assert_eq!(request.parameter("authorization_details").as_deref(), Some(DETAILS));
    }
    let tables = "[[authorization_details]]\ntype = 'payment'\namount = 12.5\nmax = 7\n\
                  locations = ['a']";
    let request = crate::token_request(&client(&public(tables))).await;
    assert_eq!(request.parameter("authorization_details").as_deref(), Some(DETAILS));
}

#[test]
fn authorization_details_must_be_objects_with_a_type() {
    let array = "must be a JSON array of objects";
    for (value, problem) in [
        ("'x'", array),
        ("1", array),
        ("{ type = 'a' }", array),
        ("['a']", array),
        ("[{ kind = 'a' }]", "needs a type in each object"),
        (
            "[{ type = 'a', until = 2026-01-01 }]",
            "has a value that JSON does not have: put it into quotes",
        ),
        (
            "[{ type = 'a', amount = nan }]",
            "has a value that JSON does not have: put it into quotes",
        ),
    ] {
        let fields = format!("authorization_details = {value}");
        let expected = format!("client stock: authorization_details {problem}");
        assert_eq!(crate::error(&public(&fields)), expected, "{value}");
    }
    let twice = r#"{"issuer": "https://auth.test", "client_id": "a", "client_secret": "b",
        "origins": [], "authorization_details": [{"type": "a", "type": "b"}]}"#;
    let error = serde_json::from_str::<ClientConfig>(twice).unwrap_err().to_string();
    assert!(error.starts_with("authorization_details has a member twice"), "{error}");
}

#[test]
fn the_label_is_the_name_of_the_client_table_by_default() {
    let toml = format!("[stock]\n{}\n[mail]\n{}", public("label = 'post'"), public(""));
    let clients = clients(&toml);
    let label = |name| {
        let credentials = clients.get(name).unwrap().credentials().unwrap();
        credentials.label_or_client_id().to_owned()
    };
    assert_eq!((label("stock"), label("mail")), ("post".to_owned(), "mail".to_owned()));
}

#[test]
fn origins_in_one_text_are_separated_by_commas_or_spaces() {
    for text in [
        "https://a.test,https://b.test",
        " https://a.test  https://b.test\n",
        "https://a.test, https://b.test,",
    ] {
        let toml = public("").replace("['https://api.test']", &format!("'''{text}'''"));
        let client = client(&toml);
        for (uri, is_listed) in
            [("https://a.test/", true), ("https://b.test/", true), ("https://api.test/", false)]
        {
            assert_eq!(client.origins().contains(&uri.parse().unwrap()), is_listed, "{text}");
        }
    }
}

#[test]
fn an_issuer_replaces_the_token_endpoint() {
    let toml = public("").replace("token_endpoint = 'https://auth.test/token'", "");
    let client = client(&format!("issuer = 'https://auth.test'\n{toml}"));
    assert_eq!(client.credentials().unwrap().issuer(), Some("https://auth.test"));
}

// This is how numbers arrive if a crate enables the feature `arbitrary_precision` of `serde_json`.
#[test]
fn precise_numbers_of_json_are_numbers() {
    let json = |number: &str| {
        let number = format!(r#"{{"$serde_json::private::Number": "{number}"}}"#);
        let json = format!(
            r#"{{"issuer": "https://auth.test", "client_id": "a", "origins": [],
                "token_endpoint_auth_method": "none", "default_expires_in": {number}}}"#
        );
        serde_json::from_str::<ClientConfig>(&json)
    };
    assert!(json("600").is_ok());
    let error = json("1.5").unwrap_err().to_string();
    assert!(error.starts_with("default_expires_in must be a whole number of seconds"), "{error}");
}
