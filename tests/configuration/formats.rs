//! Tests that all formats lead to the same credentials.

use std::error::Error;

use serde::Deserialize;
use tower_oauth2::config::{ClientConfig, Clients};
use tower_oauth2::{ClientAuth, Credentials};

const TOML: &str = r#"
    [stock]
    token_endpoint = "https://auth.test/token"
    client_id = "shop"
    client_secret = "s3cr3t"
    scope = "read write"
    audience = ["one", "two"]
    origins = ["https://api.test", "https://files.test"]
    default_expires_in = 600
    parameters = { tenant = "a", page = 7, flag = true }
"#;

const JSON: &str = r#"{"stock": {
    "token_endpoint": "https://auth.test/token",
    "client_id": "shop",
    "client_secret": "s3cr3t",
    "label": null,
    "scope": ["write", "read"],
    "audience": ["one", "two"],
    "origins": "https://api.test, https://files.test",
    "default_expires_in": 600,
    "parameters": {"tenant": "a", "page": 7, "flag": true}
}}"#;

const YAML: &str = r#"
stock:
  token_endpoint: https://auth.test/token
  client_id: shop
  client_secret: "s3cr3t"
  resource:
  scope: read write
  audience: [one, two]
  origins:
    - https://api.test
    - https://files.test
  default_expires_in: 600
  parameters:
    tenant: a
    page: 7
    flag: true
"#;

fn expected() -> Credentials {
    let auth = ClientAuth::client_secret_basic("shop", "s3cr3t");
    Credentials::new("https://auth.test/token", auth)
        .unwrap()
        .scope("read write")
        .audience("one")
        .audience("two")
        .parameter("tenant", "a")
        .parameter("page", "7")
        .parameter("flag", "true")
}

fn check(clients: &Clients) {
    assert_eq!(clients.names().collect::<Vec<_>>(), ["stock"]);
    let stock = clients.get("stock").unwrap();
    assert_eq!(stock.credentials().unwrap(), expected());
    assert_eq!(stock.credentials().unwrap().label_or_client_id(), "stock");
    for (uri, is_listed) in [
        ("https://api.test/things", true),
        ("https://files.test/", true),
        ("https://other.test/", false),
    ] {
        assert_eq!(stock.origins().contains(&uri.parse().unwrap()), is_listed, "{uri}");
    }
}

#[test]
fn all_formats_lead_to_the_same_credentials() -> Result<(), Box<dyn Error>> {
    check(&toml::from_str(TOML)?);
    check(&serde_json::from_str(JSON)?);
    check(&serde_json::from_value(serde_json::from_str(JSON)?)?);
    check(&serde_norway::from_str(YAML)?);
    let file = config::File::from_str(TOML, config::FileFormat::Toml);
    check(&config::Config::builder().add_source(file).build()?.try_deserialize()?);
    use figment::providers::Format;
    let toml = figment::providers::Toml::string(TOML);
    check(&figment::Figment::new().merge(toml).extract()?);
    Ok(())
}

#[test]
fn client_tables_can_be_fields_of_other_types() {
    #[derive(Deserialize)]
    struct Settings {
        port: u16,
        api: ClientConfig,
        clients: Clients,
    }
    #[derive(Deserialize)]
    struct Flat {
        #[serde(flatten)]
        clients: Clients,
    }
    let fields = TOML.replace("[stock]", "");
    let toml =
        format!("port = 80\n[api]\n{fields}\n{}", TOML.replace("[stock]", "[clients.stock]"));
    let settings: Settings = toml::from_str(&toml).unwrap();
    assert_eq!(settings.port, 80);
    assert_eq!(settings.api.credentials().unwrap(), expected());
    // Without a name there is no default label.
    assert_eq!(settings.api.credentials().unwrap().label_or_client_id(), "shop");
    check(&settings.clients);
    check(&toml::from_str::<Flat>(TOML).unwrap().clients);
}

#[test]
fn an_unknown_name_is_an_error_that_quotes_it() {
    let clients: Clients = toml::from_str(TOML).unwrap();
    let error = clients.get("stok").unwrap_err();
    assert_eq!(error.to_string(), "client is not in the configuration: stok");
    assert_eq!(clients.iter().count(), 1);
}
