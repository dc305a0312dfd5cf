//! Tests that the tables in the guide's recipes are the clients of their Rust code.

use tower_oauth2::client_auth::ClientAssertion;
use tower_oauth2::config::Clients;
use tower_oauth2::{ClientAuth, ConfigError, Credentials, Secret};

use crate::endpoint;

const AUTH0: &str = include_str!("../../src/guide/recipes/auth0.md");
const COGNITO: &str = include_str!("../../src/guide/recipes/cognito.md");
const ENTRA_ID: &str = include_str!("../../src/guide/recipes/entra_id.md");
const HYDRA: &str = include_str!("../../src/guide/recipes/hydra.md");
const KEYCLOAK: &str = include_str!("../../src/guide/recipes/keycloak.md");
const OKTA: &str = include_str!("../../src/guide/recipes/okta.md");
const WORKLOAD_IDENTITY: &str = include_str!("../../src/guide/recipes/workload_identity.md");

/// Returns the TOML blocks of a page that describe clients.
fn tables(page: &str) -> Vec<&str> {
    let blocks = page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.filter(|block| block.contains("origins = ")).collect()
}

/// Checks the clients of a page, in order.
///
/// Each sends its token to `api`.
#[track_caller]
fn check(page: &str, api: &str, expected: &[Result<Credentials, ConfigError>]) {
    let tables = tables(page);
    assert_eq!(tables.len(), expected.len());
    for (table, expected) in tables.into_iter().zip(expected) {
        let clients: Clients = toml::from_str(table).unwrap();
        let (_, client) = clients.iter().next().expect("table has a name");
        assert_eq!(clients.iter().count(), 1, "{table}");
        assert_eq!(&client.credentials(), expected, "{table}");
        assert!(client.origins().contains(&api.parse().unwrap()), "{table}");
        client.layer(&endpoint().1).unwrap();
    }
}

#[test]
fn the_table_of_auth0_is_the_client_of_its_code() {
    let secret = Secret::file("/run/secrets/auth0");
    let auth = ClientAuth::client_secret_post("client-id", secret);
    let credentials = Credentials::new("https://tenant.eu.auth0.com/oauth/token", auth)
        .map(|credentials| credentials.audience("https://api.example.com/things/"));
    check(AUTH0, "https://api.example.com/things", &[credentials]);
}

#[test]
fn the_table_of_cognito_is_the_client_of_its_code() {
    let secret = Secret::file("/run/secrets/cognito");
    let auth = ClientAuth::client_secret_basic("client-id", secret);
    let endpoint = "https://example.auth.eu-central-1.amazoncognito.com/oauth2/token";
    let credentials = Credentials::new(endpoint, auth)
        .map(|credentials| credentials.scope("things-api/read things-api/write"));
    check(COGNITO, "https://api.example.com/things", &[credentials]);
}

#[test]
fn the_tables_of_entra_id_are_the_clients_of_its_code() {
    let credentials = |auth| {
        let tenant = "https://login.microsoftonline.com/contoso.example";
        Credentials::new(format!("{tenant}/oauth2/v2.0/token"), auth)
            .map(|credentials| credentials.scope("https://graph.microsoft.com/.default"))
    };
    let secret = Secret::file("/run/secrets/entra");
    let token = Secret::file("/var/run/secrets/azure/tokens/azure-identity-token");
    let expected = [
        credentials(ClientAuth::client_secret_post("client-id", secret)),
        credentials(ClientAuth::client_assertion("client-id", token)),
    ];
    check(ENTRA_ID, "https://graph.microsoft.com/v1.0/users", &expected);
}

#[test]
fn the_table_of_hydra_is_the_client_of_its_code() {
    let secret = Secret::file("/run/secrets/hydra");
    let auth = ClientAuth::client_secret_basic("client-id", secret);
    let credentials =
        Credentials::new("https://hydra.example.com/oauth2/token", auth).map(|credentials| {
            credentials.scope("things.read").audience("https://api.example.com/things")
        });
    check(HYDRA, "https://api.example.com/things", &[credentials]);
}

#[test]
fn the_table_of_keycloak_is_the_client_of_its_code() {
    let secret = Secret::file("/run/secrets/keycloak");
    let auth = ClientAuth::client_secret_basic("client-id", secret);
    let endpoint = "https://sso.example.com/realms/main/protocol/openid-connect/token";
    let credentials =
        Credentials::new(endpoint, auth).map(|credentials| credentials.scope("things"));
    check(KEYCLOAK, "https://api.example.com/things", &[credentials]);
}

#[test]
fn the_table_of_okta_is_the_client_of_its_code() {
    let secret = Secret::file("/run/secrets/okta");
    let auth = ClientAuth::client_secret_basic("client-id", secret);
    let credentials = Credentials::new("https://example.okta.com/oauth2/default/v1/token", auth)
        .map(|credentials| credentials.scope("things.read"));
    check(OKTA, "https://api.example.com/things", &[credentials]);
}

#[test]
fn the_tables_of_workload_identity_are_the_clients_of_its_code() {
    let credentials = |auth| {
        let endpoint = "https://sso.example.com/realms/main/protocol/openid-connect/token";
        Credentials::new(endpoint, auth)
    };
    let token = Secret::file("/var/run/secrets/auth/token");
    let svid = ClientAssertion::new(Secret::file("/var/run/secrets/auth/svid"))
        .assertion_type("urn:ietf:params:oauth:client-assertion-type:jwt-spiffe");
    let expected = [
        credentials(ClientAuth::client_assertion("orders", token)),
        credentials(ClientAuth::custom(svid)),
    ];
    check(WORKLOAD_IDENTITY, "https://api.example.com/things", &expected);
}
