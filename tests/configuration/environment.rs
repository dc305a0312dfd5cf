//! Tests that the environment overrides files, through `config` and `figment`.

use std::error::Error;

use figment::Figment;
use figment::providers::{Env, Format, Toml};
use tower_oauth2::config::Clients;

use crate::registration;

fn file() -> String {
    format!("[stock]\n{}", registration("client_id = 'shop'\nclient_secret = 'old'"))
}

fn with_config(variables: &[(&str, &str)]) -> Result<Clients, config::ConfigError> {
    let variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    let environment = config::Environment::with_prefix("APP")
        .prefix_separator("_")
        .separator("__")
        .source(Some(variables.collect()));
    config::Config::builder()
        .add_source(config::File::from_str(&file(), config::FileFormat::Toml))
        .add_source(environment)
        .build()?
        .try_deserialize()
}

#[tokio::test(start_paused = true)]
async fn variables_override_fields_through_config() -> Result<(), Box<dyn Error>> {
    let clients = with_config(&[
        ("APP_STOCK__CLIENT_SECRET", "new"),
        ("APP_STOCK__TOKEN_ENDPOINT_AUTH_METHOD", "client_secret_post"),
        ("APP_STOCK__ORIGINS", "https://one.test,https://two.test"),
        ("APP_STOCK__DEFAULT_EXPIRES_IN", "60"),
        ("APP_STOCK__SCOPE", "read write"),
        ("APP_STOCK__PARAMETERS__TENANT", "7"),
    ])?;
    let stock = clients.get("stock")?;
    for origin in ["https://one.test/", "https://two.test/"] {
        assert!(stock.origins().contains(&origin.parse()?));
    }
    let request = crate::token_request(stock).await;
    for (name, expected) in [("client_secret", "new"), ("scope", "read write"), ("tenant", "7")] {
        assert_eq!(request.parameter(name).as_deref(), Some(expected), "{name}");
    }
    Ok(())
}

#[test]
fn a_variable_can_name_the_source_of_a_secret_in_the_file() {
    let clients = with_config(&[("APP_STOCK__CLIENT_SECRET__ENV", "CARGO_PKG_NAME")]).unwrap();
    let expected = tower_oauth2::ClientAuth::client_secret_basic("shop", "tower-oauth2");
    let expected = tower_oauth2::Credentials::new("https://auth.test/token", expected).unwrap();
    assert_eq!(clients.get("stock").unwrap().credentials().unwrap(), expected);
}

#[test]
fn a_mistake_in_the_environment_names_registration_and_field() {
    for (name, value, expected) in [
        ("APP_STOCK__DEFAULT_EXPIRES_IN", "soon", "client stock: default_expires_in must be"),
        ("APP_STOCK__CLIENT_SECRT", "hidden", "unknown field: client_secrt"),
    ] {
        let error = with_config(&[(name, value)]).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("hidden"), "{error}");
    }
}

// The variables are those that cargo sets. figment takes `0` for a number.
#[test]
fn variables_override_fields_through_figment() -> Result<(), Box<dyn Error>> {
    let variable = |name: &'static str, field: &'static str| {
        Env::raw().only(&[name]).map(move |_| field.into()).split(".")
    };
    let file = Figment::new().merge(Toml::string(&file()));
    let clients: Clients = file
        .clone()
        .merge(variable("CARGO_PKG_NAME", "stock.client_id"))
        .merge(variable("CARGO_PKG_VERSION_MAJOR", "stock.default_expires_in"))
        .extract()?;
    assert_eq!(clients.get("stock")?.credentials()?.client_id(), Some("tower-oauth2"));

    let number = file.merge(variable("CARGO_PKG_VERSION_MAJOR", "stock.client_id"));
    let error = number.extract::<Clients>().unwrap_err().to_string();
    assert!(
        error.contains("client stock: client_id must be a text: put it into quotes"),
        "{error}"
    );
    Ok(())
}
