//! Reads client tables from a configuration file, in any serde format.
//!
//! - [`Clients`] are named client tables.
//! - [`ClientConfig`] is one of them. It has a table of all fields.
//!
//! The [guide](crate::guide::configuration) has an example for each format.

mod auth;
mod fields;
mod grant;
#[cfg(feature = "jwt")]
mod private_key;
mod source;
mod value;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error};
use serde_json::json;

use self::auth::Auth;
use self::fields::Fields;
use self::grant::GrantFields;
use self::source::Source;
use self::value::Value;
use crate::cache::TokenCache;
use crate::client_auth::ClientAuth;
use crate::credentials::Credentials;
use crate::error::ConfigError;
use crate::oauth2::OAuth2Layer;
use crate::protocol::origins::Origins;

/// Reads the client tables of several clients, by name.
///
/// It is a table of [`ClientConfig`]s. It can be a whole file, or a field of a type that derives
/// `Deserialize`. Errors name the client table and its field, and never quote a secret.
///
/// # Example
///
/// ```
/// use tower_oauth2::config::Clients;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let clients: Clients = toml::from_str(
///     r#"
///     [stock]
///     token_endpoint = "https://auth.example.com/oauth/token"
///     client_id = "shop"
///     client_secret = { file = "/run/secrets/stock" }
///     scope = "stock.read stock.write"
///     origins = ["https://stock.example.com"]
///
///     [mail]
///     issuer = "https://login.example.org"
///     client_id = "shop"
///     client_secret = { env = "CARGO_PKG_NAME" }
///     token_endpoint_auth_method = "client_secret_post"
///     origins = "https://mail.example.org"
///     "#,
/// )?;
/// assert_eq!(clients.names().collect::<Vec<_>>(), ["mail", "stock"]);
/// assert_eq!(clients.get("mail")?.credentials()?.issuer(), Some("https://login.example.org"));
/// # Ok(())
/// # }
/// ```
#[doc(alias("settings", "YAML", "TOML"))]
#[doc(alias = "spring.security.oauth2.client")]
#[derive(Clone, Debug, Default)]
pub struct Clients(BTreeMap<String, ClientConfig>);

impl Clients {
    fn new(value: Value) -> Result<Self, ConfigError> {
        let Value::Table(tables) = value else {
            return Err(ConfigError::new("clients", "must be a table of client tables"));
        };
        let mut clients = BTreeMap::new();
        for (name, client_table) in tables {
            if clients.contains_key(&name) {
                return Err(ConfigError::new("client", "is defined twice").with_value(name));
            }
            let client = ClientConfig::new(Some(&name), client_table)?;
            clients.insert(name, client);
        }
        Ok(Self(clients))
    }

    /// Returns the client table of this name.
    ///
    /// # Errors
    ///
    /// Returns an error if there is none. It quotes the name.
    pub fn get(&self, name: impl AsRef<str>) -> Result<&ClientConfig, ConfigError> {
        let name = name.as_ref();
        let missing = || ConfigError::new("client", "is not in the configuration").with_value(name);
        self.0.get(name).ok_or_else(missing)
    }

    /// Returns the client tables with their names, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &ClientConfig)> {
        self.0.iter().map(|(name, client)| (&**name, client))
    }

    /// Returns the names of the client tables, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(|name| &**name)
    }
}

/// Reads one client table from a configuration file.
///
/// A client table says how to get a token, and which origins get it. It is a table of these fields,
/// which have the names of the RFCs wherever there is one:
///
/// | field | value |
/// |---|---|
/// | `token_endpoint`, `issuer` | the URL of the token endpoint, or the issuer whose metadata names it (RFC 8414); one of both |
/// | `client_id` | a text; not with `anonymous`, and optional with `client_assertion` |
/// | `token_endpoint_auth_method` | see below; by default `client_secret_basic` with a `token_endpoint` (RFC 7591 section 2), and `client_secret` with an `issuer` |
/// | `grant_type` | see below; `client_credentials` by default |
/// | `scope` | names with spaces between them, or a list of names |
/// | `audience`, `resource` | a text or a list of texts |
/// | `authorization_details` | a list of tables that have a `type` (RFC 9396 section 2), or its JSON as a text |
/// | `parameters` | a table of other parameters of the token request; the values are secrets as below, numbers or truth values |
/// | `origins` | required: a list of origins, or a text with commas or spaces between them |
/// | `default_expires_in` | seconds: the lifetime of tokens whose response has no `expires_in` |
/// | `label` | the name in traces and errors; by default, the name of the client table |
///
/// Each method needs its own fields, and accepts no field of another method. The methods
/// with a JWT need the feature `jwt`.
///
/// | `token_endpoint_auth_method` | fields |
/// |---|---|
/// | `client_secret_basic`, `client_secret_basic_raw`, `client_secret_post`, `client_secret_jwt` | `client_secret` |
/// | `client_secret`: the method that the issuer's metadata list ([`ClientAuth::client_secret`]) | `client_secret` |
/// | `private_key_jwt` | `private_key` (PEM or JWK, or DER in a file), and optionally `kid` and `token_endpoint_auth_signing_alg` |
/// | `tls_client_auth`, `self_signed_tls_client_auth` | `client_certificate` (PEM, or DER in a file) |
/// | `client_assertion` | `client_assertion`, and optionally `client_assertion_type` |
/// | `none`, `anonymous` | |
///
/// The same holds for grants. Any other `grant_type` is sent unchanged, with `parameters`.
///
/// | `grant_type` | fields |
/// |---|---|
/// | `client_credentials` | |
/// | `refresh_token` | `refresh_token`, for servers that do not rotate it ([`RefreshToken::in_memory`]) |
/// | `urn:ietf:params:oauth:grant-type:jwt-bearer` | `assertion` |
/// | `urn:ietf:params:oauth:grant-type:token-exchange` | `subject_token`, `subject_token_type`; optionally `actor_token` with `actor_token_type`, and `requested_token_type` |
///
/// A secret is a text, `{ file = "path" }` or `{ env = "NAME" }`. Secrets, tokens, assertions and
/// private keys in a file are read for every token request ([`Secret::file`]). A refresh token, a
/// certificate and a parameter are read once, and so are environment variables, while the
/// client table is deserialized.
///
/// No field allows plain HTTP or tokens for every origin. Allow them in code, on the results of
/// [`layer`](Self::layer) and [`credentials`](Self::credentials).
///
/// The format must be self-describing, as TOML, YAML and JSON are. `Debug` shows no secret.
///
/// # Errors
///
/// Deserialization fails if a field is unknown, is given twice, has a wrong type or an invalid
/// value, is missing, or does not go with the method or the grant. If a secret is in an environment
/// variable that is not set or invalid, or in an unreadable file that is read once, only
/// [`credentials`](Self::credentials) and [`layer`](Self::layer) fail, because another process may
/// use the other client tables of the file.
///
/// # Example
///
/// ```
/// use tower_oauth2::config::ClientConfig;
///
/// # fn main() -> Result<(), serde_json::Error> {
/// let client_table = r#"{
///     "token_endpoint": "https://auth.example.com/token",
///     "client_id": "client-id",
///     "token_endpoint_auth_method": "none",
///     "client_secret": "s3cr3t",
///     "origins": ["https://api.example.com"]
/// }"#;
/// let error = serde_json::from_str::<ClientConfig>(client_table).unwrap_err();
/// let expected = "client_secret does not go with token_endpoint_auth_method: none";
/// assert!(error.to_string().starts_with(expected));
/// # Ok(())
/// # }
/// ```
///
/// [`ClientAuth::client_secret`]: crate::ClientAuth::client_secret
/// [`RefreshToken::in_memory`]: crate::grant::RefreshToken::in_memory
/// [`Secret::file`]: crate::Secret::file
#[doc(alias("settings", "YAML", "TOML", "deserialize"))]
#[derive(Clone, Debug)]
pub struct ClientConfig {
    credentials: Result<Credentials, ConfigError>,
    origins: Origins,
}

impl ClientConfig {
    /// Returns the credentials of the client table.
    ///
    /// All credentials of one client table share their state, as clones do.
    ///
    /// # Errors
    ///
    /// Returns an error if a secret was not available when the client table was deserialized: in
    /// an environment variable, or in a file that is read once.
    pub fn credentials(&self) -> Result<Credentials, ConfigError> {
        self.credentials.clone()
    }

    /// Returns the origins whose requests get a token.
    pub fn origins(&self) -> &Origins {
        &self.origins
    }

    /// Creates a layer that sends tokens of `cache` to the origins.
    ///
    /// Client tables with equal credentials share a slot of the cache, and so do a client table and
    /// its successor in a file that was read again. A new `default_expires_in` or `label` alone has
    /// no effect while the slot exists, because these are not part of the credentials' identity.
    ///
    /// # Errors
    ///
    /// Returns an error if a secret was not available when the client table was deserialized: in an
    /// environment variable, or in a file that is read once.
    pub fn layer(&self, cache: &TokenCache) -> Result<OAuth2Layer, ConfigError> {
        let tokens = cache.tokens(&self.credentials()?);
        Ok(OAuth2Layer::new(tokens, self.origins.clone()))
    }

    /// Checks a client table. `name` is its name in errors, and its default label.
    fn new(name: Option<&str>, value: Value) -> Result<Self, ConfigError> {
        let client = ClientTable::read(value).and_then(|client_table| client_table.build(name));
        match name {
            None => client,
            Some(name) => {
                let named = |error: ConfigError| error.within(format_args!("client {name}"));
                let mut client = client.map_err(named)?;
                client.credentials = client.credentials.map_err(named);
                Ok(client)
            }
        }
    }
}

/// A client table whose fields have been checked, and whose secrets have not been read.
struct ClientTable {
    server: Server,
    auth: Auth,
    grant: GrantFields,
    scope: String,
    audiences: Vec<String>,
    resources: Vec<String>,
    authorization_details: serde_json::Value,
    parameters: Vec<(String, Source)>,
    default_expires_in: Option<Duration>,
    label: Option<String>,
    origins: Origins,
}

enum Server {
    TokenEndpoint(String),
    Issuer(String),
}

/// A reason why there are no credentials.
enum Fault {
    /// The configuration is invalid.
    Invalid(ConfigError),
    /// The environment of this process lacks something.
    Unavailable(ConfigError),
}

impl From<ConfigError> for Fault {
    fn from(error: ConfigError) -> Self {
        Self::Invalid(error)
    }
}

impl ClientTable {
    fn read(value: Value) -> Result<Self, ConfigError> {
        let mut fields = Fields::new(value)?;
        let server = match (fields.text("token_endpoint")?, fields.text("issuer")?) {
            (Some(endpoint), None) => Server::TokenEndpoint(endpoint),
            (None, Some(issuer)) => Server::Issuer(issuer),
            (Some(_), Some(_)) => {
                return Err(ConfigError::new("token_endpoint", "must not be set beside issuer"));
            }
            (None, None) => {
                return Err(ConfigError::new("token_endpoint", "is missing, and so is issuer"));
            }
        };
        let (auth, method) = Auth::take(&mut fields, server.default_method())?;
        let (grant, grant_type) = GrantFields::take(&mut fields)?;
        let authorization_details = fields.authorization_details()?.unwrap_or_else(|| json!([]));
        // Invalid values of these settings are errors also if no secret is available.
        server
            .credentials(auth.without_proof())?
            .authorization_details(authorization_details.clone())?;
        let client_table = Self {
            server,
            auth,
            grant,
            scope: fields.texts("scope")?.join(" "),
            audiences: fields.texts("audience")?,
            resources: fields.texts("resource")?,
            authorization_details,
            parameters: fields.parameters()?,
            default_expires_in: fields.seconds("default_expires_in")?,
            label: fields.text("label")?,
            origins: Origins::only(fields.origins()?).map_err(|error| error.within("origins"))?,
        };
        fields.finish(&method, &grant_type)?;
        Ok(client_table)
    }

    fn build(self, name: Option<&str>) -> Result<ClientConfig, ConfigError> {
        let origins = self.origins.clone();
        match self.credentials(name) {
            Ok(credentials) => Ok(ClientConfig { credentials: Ok(credentials), origins }),
            Err(Fault::Unavailable(error)) => Ok(ClientConfig { credentials: Err(error), origins }),
            Err(Fault::Invalid(error)) => Err(error),
        }
    }

    fn credentials(self, name: Option<&str>) -> Result<Credentials, Fault> {
        let credentials = self.server.credentials(self.auth.build()?)?;
        let mut credentials = credentials
            .grant(self.grant.build()?)
            .scope(self.scope)
            .authorization_details(self.authorization_details)?;
        for audience in self.audiences {
            credentials = credentials.audience(audience);
        }
        for resource in self.resources {
            credentials = credentials.resource(resource);
        }
        for (name, value) in self.parameters {
            let value = value.read("value").map_err(|fault| match fault {
                Fault::Invalid(error) => Fault::Invalid(in_parameter(&name, error)),
                Fault::Unavailable(error) => Fault::Unavailable(in_parameter(&name, error)),
            })?;
            credentials = credentials.parameter(name, value.as_str());
        }
        if let Some(default_expires_in) = self.default_expires_in {
            credentials = credentials.default_expires_in(default_expires_in);
        }
        Ok(match self.label.as_deref().or(name) {
            Some(label) => credentials.label(label),
            None => credentials,
        })
    }
}

fn in_parameter(name: &str, error: ConfigError) -> ConfigError {
    error.within(format_args!("parameters.{name}"))
}

impl Server {
    /// Returns the method of a client table that names none.
    fn default_method(&self) -> &'static str {
        match self {
            // The default of RFC 7591 section 2.
            Self::TokenEndpoint(_) => "client_secret_basic",
            // The one that the metadata list.
            Self::Issuer(_) => "client_secret",
        }
    }

    fn credentials(&self, auth: ClientAuth) -> Result<Credentials, ConfigError> {
        match self {
            Self::TokenEndpoint(endpoint) => Credentials::new(endpoint, auth),
            Self::Issuer(issuer) => Credentials::from_issuer(issuer, auth),
        }
    }
}

impl<'de> Deserialize<'de> for ClientConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(None, Value::deserialize(deserializer)?).map_err(Error::custom)
    }
}

impl<'de> Deserialize<'de> for Clients {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(Value::deserialize(deserializer)?).map_err(Error::custom)
    }
}
