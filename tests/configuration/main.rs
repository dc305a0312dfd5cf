//! Tests clients from configuration files.
#![allow(unreachable_pub, missing_docs)]

mod environment;
mod formats;
mod grants;
mod methods;
mod mistakes;
mod recipes;
mod reload;
mod secrets;
mod settings;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tower_oauth2::config::{ClientConfig, Clients};
use tower_oauth2::testing::{RecordedRequest, Reply, ScriptedEndpoint};
use tower_oauth2::{TokenCache, TokenEndpoint};

/// Returns a client table with these fields besides the required ones, as TOML.
fn client_table(fields: &str) -> String {
    format!(
        "token_endpoint = 'https://auth.test/token'\norigins = ['https://api.test']\n{fields}\n"
    )
}

/// Returns a client table of a public client with these fields.
fn public(fields: &str) -> String {
    client_table(&format!("client_id = 'shop'\ntoken_endpoint_auth_method = 'none'\n{fields}"))
}

fn client(toml: &str) -> ClientConfig {
    toml::from_str(toml).unwrap_or_else(|error| panic!("{error}: {toml}"))
}

fn clients(toml: &str) -> Clients {
    toml::from_str(toml).unwrap_or_else(|error| panic!("{error}: {toml}"))
}

/// Returns the message of the error of a client table `stock` with these fields.
fn error(client_table: &str) -> String {
    let toml = format!("[stock]\n{client_table}");
    match toml::from_str::<Clients>(&toml) {
        Ok(clients) => panic!("{clients:?} was accepted: {toml}"),
        Err(error) => error.message().to_owned(),
    }
}

/// Returns the token request of a client table.
async fn token_request(client: &ClientConfig) -> RecordedRequest {
    let (http, cache) = endpoint();
    cache.tokens(&client.credentials().unwrap()).get().await.unwrap();
    http.requests().remove(0)
}

/// Returns a token endpoint with tokens `token-<n>` for an hour, and a cache over it.
fn endpoint() -> (ScriptedEndpoint, TokenCache) {
    let http = ScriptedEndpoint::new(|n| {
        Reply::token(format!("token-{n}")).expires_in(Duration::from_secs(3600))
    });
    (http.clone(), TokenCache::new(TokenEndpoint::new(http)))
}

/// A file for one test, which is deleted at its end.
struct File(PathBuf);

impl File {
    fn new(content: impl AsRef<[u8]>) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-configured-{n}", std::process::id());
        let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&path, content).unwrap();
        Self(path)
    }

    /// Returns the file as a secret in TOML.
    fn toml(&self) -> String {
        format!("{{ file = '{}' }}", self.0.display())
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
