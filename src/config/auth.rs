//! Reads the client authentication from the fields of a client table.

use super::Fault;
use super::fields::Fields;
#[cfg(feature = "jwt")]
use super::private_key::{PRIVATE_KEY, PrivateKey, check_hmac_algorithm};
use super::source::Source;
use crate::client_auth::{ClientAssertion, ClientAuth};
use crate::error::ConfigError;
use crate::secret::Secret;
use crate::util::pem;

const METHOD: &str = "token_endpoint_auth_method";
const CLIENT_SECRET: &str = "client_secret";
const ASSERTION: &str = "client_assertion";
const CERTIFICATE: &str = "client_certificate";

/// A method of client authentication, with the fields that it uses.
pub(super) struct Auth {
    client_id: Option<String>,
    method: Method,
}

enum Method {
    None,
    Anonymous,
    Secret(fn(String, Secret) -> ClientAuth, Source),
    Assertion {
        assertion: Source,
        assertion_type: Option<String>,
    },
    Certificate(fn(String, Vec<u8>) -> ClientAuth, Source),
    #[cfg(feature = "jwt")]
    PrivateKey(PrivateKey),
}

impl Auth {
    /// Takes the fields of the method. Returns its name too, for errors.
    pub(super) fn take(
        fields: &mut Fields,
        default_method: &str,
    ) -> Result<(Self, String), ConfigError> {
        let name = fields.text(METHOD)?.unwrap_or_else(|| default_method.to_owned());
        let method = Method::take(&name, fields)?;
        let client_id = match method {
            Method::Anonymous => None,
            Method::Assertion { .. } => fields.text("client_id")?,
            _ => Some(fields.required_text("client_id")?),
        };
        Ok((Self { client_id, method }, name))
    }

    /// Returns a method with the same client id, to check the id without the secret.
    pub(super) fn without_proof(&self) -> ClientAuth {
        match &self.client_id {
            Some(client_id) => ClientAuth::none(client_id),
            None => ClientAuth::anonymous(),
        }
    }

    pub(super) fn build(self) -> Result<ClientAuth, Fault> {
        let client_id = self.client_id.clone().unwrap_or_default();
        Ok(match self.method {
            Method::None => ClientAuth::none(client_id),
            Method::Anonymous => ClientAuth::anonymous(),
            Method::Secret(method, source) => method(client_id, source.secret(CLIENT_SECRET)?),
            Method::Assertion { assertion, assertion_type } => {
                let mut method = ClientAssertion::new(assertion.secret(ASSERTION)?);
                if let Some(client_id) = self.client_id {
                    method = method.client_id(client_id);
                }
                if let Some(assertion_type) = assertion_type {
                    method = method.assertion_type(assertion_type);
                }
                ClientAuth::custom(method)
            }
            Method::Certificate(method, source) => {
                let fault = source.fault();
                let content = source.content(CERTIFICATE)?;
                let certificate = pem::certificate(&content)
                    .map_err(|problem| fault(ConfigError::new(CERTIFICATE, problem)))?;
                method(client_id, certificate.to_vec())
            }
            #[cfg(feature = "jwt")]
            Method::PrivateKey(key) => ClientAuth::private_key_jwt(client_id, key.build()?),
        })
    }
}

impl Method {
    fn take(name: &str, fields: &mut Fields) -> Result<Self, ConfigError> {
        let needs = |field| ConfigError::new(field, "is needed with token_endpoint_auth_method");
        let mut required =
            |field| fields.source(field)?.ok_or_else(|| needs(field).with_value(name));
        Ok(match name {
            "none" => Self::None,
            "anonymous" => Self::Anonymous,
            CLIENT_SECRET => Self::Secret(ClientAuth::client_secret, required(CLIENT_SECRET)?),
            "client_secret_basic" => {
                Self::Secret(ClientAuth::client_secret_basic, required(CLIENT_SECRET)?)
            }
            "client_secret_basic_raw" => {
                Self::Secret(ClientAuth::client_secret_basic_raw, required(CLIENT_SECRET)?)
            }
            "client_secret_post" => {
                Self::Secret(ClientAuth::client_secret_post, required(CLIENT_SECRET)?)
            }
            "client_assertion" => Self::Assertion {
                assertion: required(ASSERTION)?,
                assertion_type: fields.text("client_assertion_type")?,
            },
            "tls_client_auth" => {
                Self::Certificate(ClientAuth::tls_client_auth, required(CERTIFICATE)?)
            }
            "self_signed_tls_client_auth" => {
                Self::Certificate(ClientAuth::self_signed_tls_client_auth, required(CERTIFICATE)?)
            }
            #[cfg(feature = "jwt")]
            "client_secret_jwt" => {
                let secret = required(CLIENT_SECRET)?;
                check_hmac_algorithm(fields)?;
                Self::Secret(ClientAuth::client_secret_jwt, secret)
            }
            #[cfg(feature = "jwt")]
            "private_key_jwt" => {
                let key = required(PRIVATE_KEY)?;
                Self::PrivateKey(PrivateKey::take(key, fields)?)
            }
            #[cfg(not(feature = "jwt"))]
            "client_secret_jwt" | "private_key_jwt" => {
                let problem = "needs the feature `jwt` of tower-oauth2";
                return Err(ConfigError::new(METHOD, problem).with_value(name));
            }
            _ => return Err(ConfigError::new(METHOD, "is not supported").with_value(name)),
        })
    }
}
