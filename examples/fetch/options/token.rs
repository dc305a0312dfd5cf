//! What to ask for, and as whom.

use std::path::Path;

use tower_oauth2::{ClientAuth, ClientCredentials, Origins};

use super::Mistake;
use super::value::Value;
use crate::store::Store;

pub(super) const HELP: &str = "\
Token:
  --token-endpoint URL       where tokens come from
  --client-id ID             who asks for them
  --client-secret-file FILE  the secret; else it is in the environment, in CLIENT_SECRET
  --auth METHOD              client_secret_basic (default), client_secret_basic_raw,
                             client_secret_post or none
  --scope S                  names with spaces between them
  --audience A
  --resource R               may be given several times
  --param NAME=VALUE         a further parameter; may be given several times
  --allow-origin URL         send tokens to this origin (https://host:port), and not to that of the
                             request's URL; may be given several times
  --store URL                share tokens with others through redis://[USER:PASSWORD@]HOST[:PORT],
                             or through rediss:// over TLS
";

const SECRET_VARIABLE: &str = "CLIENT_SECRET";

pub(super) struct Token {
    pub(super) credentials: ClientCredentials,
    pub(super) origins: Option<Origins>,
    pub(super) store: Option<Store>,
}

#[derive(Default)]
pub(super) struct Group {
    endpoint: Option<String>,
    client_id: Option<String>,
    secret: Option<String>,
    auth: Option<String>,
    scope: String,
    audience: String,
    resources: Vec<String>,
    parameters: Vec<(String, String)>,
    origins: Option<Origins>,
    allowed: Vec<String>,
    store: Option<Store>,
}

impl Group {
    pub(super) fn take(&mut self, option: &str, value: &mut Value<'_>) -> Result<bool, Mistake> {
        match option {
            "token-endpoint" => self.endpoint = Some(value.text()?),
            "client-id" => self.client_id = Some(value.text()?),
            "client-secret-file" => {
                let secret = read_secret(&value.path()?);
                self.secret = Some(secret.map_err(|error| value.mistake(&error.to_string()))?);
            }
            "auth" => self.auth = Some(value.text()?),
            "scope" => self.scope = value.text()?,
            "audience" => self.audience = value.text()?,
            "resource" => self.resources.push(value.text()?),
            "param" => self.parameters.push(value.pair('=')?),
            "allow-origin" => {
                self.allowed.push(value.text()?);
                let origins = Origins::only(&self.allowed);
                self.origins = Some(origins.map_err(|error| value.mistake(&error.to_string()))?);
            }
            "store" => {
                let store = Store::parse(&value.text()?);
                self.store = Some(store.map_err(|what| value.mistake(what))?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The origins are those that were named, if any were.
    pub(super) fn finish(mut self) -> Result<Token, Mistake> {
        let endpoint =
            self.endpoint.take().ok_or_else(|| Mistake::new("--token-endpoint is missing"))?;
        let auth = self.client_auth()?;
        let mut credentials = ClientCredentials::new(endpoint, auth)
            .map_err(|error| Mistake(error.to_string()))?
            .scope(self.scope)
            .audience(self.audience);
        for resource in self.resources {
            credentials = credentials.resource(resource);
        }
        for (name, value) in self.parameters {
            credentials = credentials.parameter(name, value);
        }
        Ok(Token { credentials, origins: self.origins, store: self.store })
    }

    fn client_auth(&mut self) -> Result<ClientAuth, Mistake> {
        let id = self.client_id.take().ok_or_else(|| Mistake::new("--client-id is missing"))?;
        Ok(match self.auth.as_deref() {
            None | Some("client_secret_basic") => {
                ClientAuth::client_secret_basic(id, self.secret()?)
            }
            Some("client_secret_basic_raw") => {
                ClientAuth::client_secret_basic_raw(id, self.secret()?)
            }
            Some("client_secret_post") => ClientAuth::client_secret_post(id, self.secret()?),
            Some("none") => ClientAuth::none(id),
            Some(_) => return Err(Mistake::new("--auth: no such method")),
        })
    }

    fn secret(&mut self) -> Result<String, Mistake> {
        if let Some(secret) = self.secret.take() {
            return Ok(secret);
        }
        let secret = std::env::var_os(SECRET_VARIABLE).ok_or_else(|| {
            Mistake(format!("a secret is missing: {SECRET_VARIABLE} or --client-secret-file"))
        })?;
        secret.into_string().map_err(|_| Mistake(format!("{SECRET_VARIABLE}: is not UTF-8")))
    }
}

/// The text of a file, less the line break at its end.
fn read_secret(path: &Path) -> std::io::Result<String> {
    let mut secret = std::fs::read_to_string(path)?;
    let end = secret.trim_end_matches(['\r', '\n']).len();
    secret.truncate(end);
    Ok(secret)
}
