//! Tests that the environment overrides files, through `config` and `figment`.

use std::error::Error;

use figment::Figment;
use figment::providers::{Env, Format, Toml};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tower_oauth2::config::Clients;
use tower_oauth2::{ClientAuth, Credentials, Secret};

use crate::client_table;

/// Returns a file with the client table `stock`, whose secret is this TOML.
fn file_with(secret: &str) -> String {
    format!("[stock]\n{}", client_table(&format!("client_id = 'shop'\nclient_secret = {secret}")))
}

fn file() -> String {
    file_with("'old'")
}

/// Returns the credentials of `stock` with this secret.
fn stock_with(secret: Secret) -> Credentials {
    let auth = ClientAuth::client_secret_basic("shop", secret);
    Credentials::new("https://auth.test/token", auth).unwrap()
}

fn with_config(variables: &[(&str, &str)]) -> Result<Clients, config::ConfigError> {
    read_config(&file(), variables)
}

fn read_config<T: DeserializeOwned>(
    file: &str,
    variables: &[(&str, &str)],
) -> Result<T, config::ConfigError> {
    let variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    let environment = config::Environment::with_prefix("APP")
        .prefix_separator("_")
        .separator("__")
        .source(Some(variables.collect()));
    config::Config::builder()
        .add_source(config::File::from_str(file, config::FileFormat::Toml))
        .add_source(environment)
        .build()?
        .try_deserialize()
}

/// Reads the file, and a variable that cargo sets as a field.
fn with_figment(file: &str, variable: &'static str, field: &str) -> Figment {
    let field = field.to_owned();
    let variable = Env::raw().only(&[variable]).map(move |_| field.clone().into()).split(".");
    Figment::new().merge(Toml::string(file)).merge(variable)
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
    let expected = stock_with("tower-oauth2".into());
    assert_eq!(clients.get("stock").unwrap().credentials().unwrap(), expected);
}

#[test]
fn a_variable_overrides_a_secret_in_a_file() -> Result<(), Box<dyn Error>> {
    for old in ["'old'", "{ file = '/run/old' }"] {
        let file = file_with(old);
        for (name, value, expected) in [
            ("APP_STOCK__CLIENT_SECRET", "new", "new".into()),
            ("APP_STOCK__CLIENT_SECRET__FILE", "/run/new", Secret::file("/run/new")),
        ] {
            let clients: Clients = read_config(&file, &[(name, value)])?;
            assert_eq!(clients.get("stock")?.credentials()?, stock_with(expected), "{name}");
        }
        // figment reads the variables that cargo sets.
        for (field, expected) in [
            ("stock.client_secret", "tower-oauth2".into()),
            ("stock.client_secret.file", Secret::file("tower-oauth2")),
        ] {
            let clients: Clients = with_figment(&file, "CARGO_PKG_NAME", field).extract()?;
            assert_eq!(clients.get("stock")?.credentials()?, stock_with(expected), "{field}");
        }
    }
    Ok(())
}

// Both crates merge the table of the variable into the one of the file.
#[test]
fn a_secret_cannot_have_a_file_and_a_variable() {
    let expected = "client stock: client_secret must have one of `file` and `env`";
    for (secret, field) in [("{ file = '/run/old' }", "env"), ("{ env = 'OLD' }", "file")] {
        let file = file_with(secret);
        let name = format!("APP_STOCK__CLIENT_SECRET__{}", field.to_uppercase());
        let error = read_config::<Clients>(&file, &[(&name, "NEW")]).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");

        let field = format!("stock.client_secret.{field}");
        let clients = with_figment(&file, "CARGO_PKG_NAME", &field).extract::<Clients>();
        let error = clients.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn every_variable_with_the_prefix_is_read_as_a_client() {
    let expected = "client name: client table must be a table of fields";
    let error = with_config(&[("APP_NAME", "shop")]).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");

    let clients = with_figment(&file(), "CARGO_PKG_NAME", "name").extract::<Clients>();
    let error = clients.unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn clients_in_a_field_leave_other_variables_alone() -> Result<(), Box<dyn Error>> {
    #[derive(Deserialize)]
    struct Settings {
        name: String,
        clients: Clients,
    }
    let file = file().replace("[stock]", "[clients.stock]");
    let variables = [("APP_NAME", "shop"), ("APP_CLIENTS__STOCK__CLIENT_SECRET", "new")];
    let settings: Settings = read_config(&file, &variables)?;
    assert_eq!(settings.name, "shop");
    let stock = settings.clients.get("stock")?;
    assert_eq!(stock.credentials()?, stock_with("new".into()));
    Ok(())
}

#[test]
fn a_mistake_in_the_environment_names_client_table_and_field() {
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
    let text = with_figment(&file(), "CARGO_PKG_NAME", "stock.client_id");
    let clients: Clients = text.extract()?;
    assert_eq!(clients.get("stock")?.credentials()?.client_id(), Some("tower-oauth2"));

    let seconds = with_figment(&file(), "CARGO_PKG_VERSION_MAJOR", "stock.default_expires_in");
    seconds.extract::<Clients>()?;

    let number = with_figment(&file(), "CARGO_PKG_VERSION_MAJOR", "stock.client_id");
    let error = number.extract::<Clients>().unwrap_err().to_string();
    assert!(
        error.contains("client stock: client_id must be a text: put it into quotes"),
        "{error}"
    );
    Ok(())
}
