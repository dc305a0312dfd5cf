//! Reads the private key of `private_key_jwt`.

use super::Fault;
use super::fields::Fields;
use super::source::Source;
use crate::error::ConfigError;
use crate::jwt::{Algorithm, KeyFile, SignedJwt, SigningKey};

pub(super) const PRIVATE_KEY: &str = "private_key";
const ALGORITHM: &str = "token_endpoint_auth_signing_alg";

pub(super) struct PrivateKey {
    source: Source,
    kid: Option<String>,
    algorithm: Option<Algorithm>,
}

impl PrivateKey {
    pub(super) fn take(source: Source, fields: &mut Fields) -> Result<Self, ConfigError> {
        let algorithm = fields.text(ALGORITHM)?.map(|name| name.parse()).transpose();
        let algorithm = algorithm.map_err(|error: ConfigError| error.within(ALGORITHM))?;
        Ok(Self { source, kid: fields.text("kid")?, algorithm })
    }

    /// Creates the JWT.
    ///
    /// A key in a file is read for every token request. Any other key is read now.
    pub(super) fn build(self) -> Result<SignedJwt, Fault> {
        let source = match self.source {
            Source::File(path) => {
                let mut file = KeyFile::new(path);
                if let Some(algorithm) = self.algorithm {
                    file = file.algorithm(algorithm);
                }
                if let Some(kid) = self.kid {
                    file = file.kid(kid);
                }
                return Ok(file.into());
            }
            source => source,
        };
        let fault = source.fault();
        let invalid = |error: ConfigError| fault(error.within(PRIVATE_KEY));
        let content = source.content(PRIVATE_KEY)?;
        let mut key = SigningKey::from_any(&content).map_err(invalid)?;
        if let Some(algorithm) = self.algorithm {
            key = key.with_algorithm(algorithm).map_err(invalid)?;
        }
        if let Some(kid) = self.kid {
            key = key.with_kid(kid);
        }
        Ok(key.into())
    }
}

/// Accepts the algorithm of `client_secret_jwt` if it is the one that this crate uses.
pub(super) fn check_hmac_algorithm(fields: &mut Fields) -> Result<(), ConfigError> {
    match fields.text(ALGORITHM)?.as_deref() {
        None | Some("HS256") => Ok(()),
        Some(other) => {
            let problem = "must be HS256 with client_secret_jwt";
            Err(ConfigError::new(ALGORITHM, problem).with_value(other))
        }
    }
}
