//! What to sign with, and for whom.

use std::path::{Path, PathBuf};

use tower_oauth2::client_auth::ClientSecretJwt;
use tower_oauth2::jwt::{Algorithm, DpopKey, KeyFile, SignedJwt, SigningKey};
use tower_oauth2::{ClientAuth, ConfigError, Credentials, Secret};

use super::Mistake;
use super::value::Value;
use crate::bounded;

/// What tokens are bound to.
#[derive(Clone)]
pub(crate) struct Binding(DpopKey);

impl Binding {
    /// To the key in this file, or to a new one.
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

    pub(super) fn of(&self, credentials: Credentials) -> Credentials {
        credentials.dpop(self.0.clone())
    }
}

#[derive(Default)]
pub(super) struct Group {
    pub(super) key: Option<PathBuf>,
    kid: Option<String>,
    algorithm: Option<Algorithm>,
    audience: String,
}

impl Group {
    pub(super) fn take(&mut self, option: &str, value: &mut Value<'_>) -> Result<bool, Mistake> {
        match option {
            "kid" => self.kid = Some(value.text()?),
            "alg" => {
                let algorithm =
                    value.text()?.parse().map_err(|error: ConfigError| error.to_string());
                self.algorithm = Some(algorithm.map_err(|what| value.mistake(&what))?);
            }
            "assertion-audience" => self.audience = value.text()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub(super) fn is_used(&self) -> bool {
        self.is_about_keys() || !self.audience.is_empty()
    }

    fn is_about_keys(&self) -> bool {
        self.kid.is_some() || self.algorithm.is_some()
    }

    pub(super) fn client_secret_jwt(
        self,
        id: String,
        secret: Secret,
    ) -> Result<ClientAuth, Mistake> {
        if self.is_about_keys() {
            return Err(Mistake::new("--kid and --alg: need --auth private_key_jwt"));
        }
        Ok(ClientAuth::custom(ClientSecretJwt::new(id, secret).audience(self.audience)))
    }

    pub(super) fn private_key_jwt(self, id: String) -> Result<ClientAuth, Mistake> {
        let mut key = KeyFile::new(self.key.ok_or_else(|| Mistake::new("--key is missing"))?);
        if let Some(kid) = self.kid {
            key = key.kid(kid);
        }
        if let Some(algorithm) = self.algorithm {
            key = key.algorithm(algorithm);
        }
        Ok(ClientAuth::private_key_jwt(id, SignedJwt::new(key).audience(self.audience)))
    }
}
