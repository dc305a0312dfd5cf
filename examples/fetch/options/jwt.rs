//! Options for JWTs that are created here: assertions and DPoP proofs.

use std::path::{Path, PathBuf};

use serde_json::Map;
use tower_oauth2::client_auth::ClientSecretJwt;
use tower_oauth2::jwt::{Algorithm, Audience, DpopKey, KeyFile, SignedJwt, SigningKey};
use tower_oauth2::{ClientAuth, ConfigError, Credentials, Secret};

use super::Mistake;
use super::value::Value;
use crate::bounded;

/// The key that tokens are bound to.
#[derive(Clone)]
pub(crate) struct Binding(DpopKey);

impl Binding {
    /// Creates a binding to the key in the file, or to a new key.
    pub(super) fn to(file: Option<&Path>) -> Result<Self, String> {
        let key = match file {
            Some(file) => {
                let pem = bounded::file(file).map_err(|error| error.to_string())?;
                SigningKey::from_pem(pem).map(DpopKey::new)
            }
            None => DpopKey::generate(),
        };
        key.map(Self).map_err(|error| error.to_string())
    }

    pub(super) fn add_to(self, credentials: Credentials) -> Credentials {
        credentials.dpop(self.0)
    }
}

#[derive(Default)]
pub(super) struct JwtGroup {
    kid: Option<String>,
    algorithm: Option<Algorithm>,
    audience: Option<Audience>,
    claims: Option<Map<String, serde_json::Value>>,
    typ: Option<String>,
}

impl JwtGroup {
    pub(super) fn take(&mut self, option: &str, value: &mut Value<'_>) -> Result<bool, Mistake> {
        match option {
            "kid" => self.kid = Some(value.text()?),
            "alg" => {
                let algorithm =
                    value.text()?.parse().map_err(|error: ConfigError| error.to_string());
                self.algorithm = Some(algorithm.map_err(|what| value.mistake(&what))?);
            }
            "assertion-audience" => {
                self.audience = Some(match &*value.text()? {
                    "issuer" => Audience::Issuer,
                    "token-endpoint" => Audience::TokenEndpoint,
                    "" => return Err(value.mistake("is empty")),
                    audience => audience.into(),
                });
            }
            "claims" => {
                let claims = serde_json::from_str(&value.text()?);
                self.claims = Some(claims.map_err(|_| value.mistake("must be a JSON object"))?);
            }
            "typ" => self.typ = Some(value.text()?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Returns the options that are set.
    pub(super) fn used(&self) -> impl Iterator<Item = &'static str> {
        let options = [
            ("--kid", self.kid.is_some()),
            ("--alg", self.algorithm.is_some()),
            ("--claims", self.claims.is_some()),
            ("--typ", self.typ.is_some()),
            ("--assertion-audience", self.audience.is_some()),
        ];
        options.into_iter().filter_map(|(option, is_set)| is_set.then_some(option))
    }

    pub(super) fn needs_issuer(&self) -> bool {
        self.audience == Some(Audience::Issuer)
    }

    pub(super) fn client_secret_jwt(
        self,
        id: String,
        secret: Secret,
    ) -> Result<ClientAuth, Mistake> {
        let jwt = ClientSecretJwt::new(id, secret);
        Ok(ClientAuth::custom(match self.audience {
            Some(audience) => jwt.audience(audience),
            None => jwt,
        }))
    }

    pub(super) fn private_key_jwt(
        self,
        id: String,
        key: Option<PathBuf>,
    ) -> Result<ClientAuth, Mistake> {
        let mut key = KeyFile::new(key.ok_or_else(|| Mistake::new("--key is missing"))?);
        if let Some(kid) = self.kid {
            key = key.kid(kid);
        }
        if let Some(algorithm) = self.algorithm {
            key = key.algorithm(algorithm);
        }
        let mut jwt = SignedJwt::new(key);
        if let Some(audience) = self.audience {
            jwt = jwt.audience(audience);
        }
        if let Some(typ) = self.typ {
            jwt = jwt.typ(typ);
        }
        for (name, value) in self.claims.unwrap_or_default() {
            jwt = jwt.claim(name, value);
        }
        Ok(ClientAuth::private_key_jwt(id, jwt))
    }
}
