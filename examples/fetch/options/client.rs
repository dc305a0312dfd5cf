//! Options for the authentication of the client.

use std::path::PathBuf;

use tower_oauth2::client_auth::ClientAssertion;
use tower_oauth2::{ClientAuth, Secret};

use super::value::Value;
use super::{JwtGroup, Mistake};

pub(super) const HELP: &str = "\
Client authentication:
  --client-id ID             the client id; optional with --auth client_assertion
  --client-secret-file FILE  the client secret, read for every token request; by default, the
                             environment variable CLIENT_SECRET has it
  --auth METHOD              client_secret_basic (default), client_secret_basic_raw,
                             client_secret_post, client_secret (by the method that the metadata of
                             the issuer list), client_secret_jwt, private_key_jwt,
                             client_assertion, none, or with --cert and --key tls_client_auth
                             or self_signed_tls_client_auth; both jwt methods need the feature jwt
  --key FILE                 for private_key_jwt: the private key (PEM, DER or JWK), read for every
                             token request
  --kid ID                   for private_key_jwt: the id of the key; by default, that of a JWK
  --alg ALG                  for private_key_jwt: the algorithm, such as PS256 instead of RS256
  --claims JSON              for private_key_jwt: an object with claims that are added to the
                             assertion or replace others; null removes a claim
  --typ TYPE                 for private_key_jwt: typ in the header of the assertion, JWT by
                             default; an empty one removes it
  --assertion-audience AUD   for both jwt methods: issuer, token-endpoint, or another audience; by
                             default, the issuer with --issuer, and the token endpoint otherwise
  --assertion-file FILE      for client_assertion: the assertion, read for every token request
  --assertion-type TYPE      for client_assertion: client_assertion_type, if the assertion is not a
                             JWT
";

const SECRET_VARIABLE: &str = "CLIENT_SECRET";

#[derive(Default)]
pub(super) struct Group {
    client_id: Option<String>,
    auth: Option<String>,
    secret: Option<Secret>,
    assertion: Option<Secret>,
    assertion_type: Option<String>,
    jwt: JwtGroup,
}

impl Group {
    pub(super) fn take(&mut self, option: &str, value: &mut Value<'_>) -> Result<bool, Mistake> {
        match option {
            "client-id" => self.client_id = Some(value.text()?),
            "auth" => self.auth = Some(value.text()?),
            "client-secret-file" => self.secret = Some(Secret::file(value.file()?)),
            "assertion-file" => self.assertion = Some(Secret::file(value.file()?)),
            "assertion-type" => self.assertion_type = Some(value.text()?),
            _ => return self.jwt.take(option, value),
        }
        Ok(true)
    }

    pub(super) fn signs_with_a_key(&self) -> bool {
        self.method() == "private_key_jwt"
    }

    pub(super) fn needs_issuer(&self) -> bool {
        self.jwt.needs_issuer()
    }

    fn method(&self) -> &str {
        self.auth.as_deref().unwrap_or("client_secret_basic")
    }

    /// Checks the options, and returns the client authentication. `certificate` is the client's
    /// certificate. `key` is the file of its key, or of the key of an assertion.
    pub(super) fn finish(
        mut self,
        certificate: Option<&[u8]>,
        key: Option<PathBuf>,
    ) -> Result<ClientAuth, Mistake> {
        let method = self.method().to_owned();
        self.check_unused(&method)?;
        if method == "client_assertion" {
            return self.client_assertion();
        }
        let id = self.client_id.take().ok_or_else(|| Mistake::new("--client-id is missing"))?;
        let certificate = || {
            certificate.ok_or_else(|| Mistake::new("--auth: this method needs --cert and --key"))
        };
        Ok(match &*method {
            "client_secret" => ClientAuth::client_secret(id, self.secret()?),
            "client_secret_basic" => ClientAuth::client_secret_basic(id, self.secret()?),
            "client_secret_basic_raw" => ClientAuth::client_secret_basic_raw(id, self.secret()?),
            "client_secret_post" => ClientAuth::client_secret_post(id, self.secret()?),
            "client_secret_jwt" => {
                let secret = self.secret()?;
                self.jwt.client_secret_jwt(id, secret)?
            }
            "private_key_jwt" => self.jwt.private_key_jwt(id, key)?,
            "none" => ClientAuth::none(id),
            "tls_client_auth" => ClientAuth::tls_client_auth(id, certificate()?),
            "self_signed_tls_client_auth" => {
                ClientAuth::self_signed_tls_client_auth(id, certificate()?)
            }
            _ => return Err(Mistake::new("--auth: no such method")),
        })
    }

    /// Returns an error if an option is set that the method does not use.
    fn check_unused(&self, method: &str) -> Result<(), Mistake> {
        let is_assertion = method == "client_assertion";
        for (option, is_set) in [
            ("--assertion-file", self.assertion.is_some()),
            ("--assertion-type", self.assertion_type.is_some()),
        ] {
            if is_set && !is_assertion {
                return Err(Mistake(format!("{option}: needs --auth client_assertion")));
            }
        }
        if self.secret.is_some() && !method.starts_with("client_secret") {
            return Err(Mistake(format!(
                "--client-secret-file: not together with --auth {}",
                method.escape_debug()
            )));
        }
        let allowed = match method {
            "private_key_jwt" => return Ok(()),
            "client_secret_jwt" => "--assertion-audience",
            _ => "",
        };
        match self.jwt.used().find(|option| *option != allowed) {
            Some(option @ "--assertion-audience") => {
                Err(Mistake(format!("{option}: needs --auth private_key_jwt or client_secret_jwt")))
            }
            Some(option) => Err(Mistake(format!("{option}: needs --auth private_key_jwt"))),
            None => Ok(()),
        }
    }

    fn client_assertion(self) -> Result<ClientAuth, Mistake> {
        let assertion =
            self.assertion.ok_or_else(|| Mistake::new("--assertion-file is missing"))?;
        let mut assertion = ClientAssertion::new(assertion);
        if let Some(id) = self.client_id {
            assertion = assertion.client_id(id);
        }
        if let Some(assertion_type) = self.assertion_type {
            assertion = assertion.assertion_type(assertion_type);
        }
        Ok(ClientAuth::custom(assertion))
    }

    fn secret(&mut self) -> Result<Secret, Mistake> {
        if let Some(secret) = self.secret.take() {
            return Ok(secret);
        }
        let secret = std::env::var_os(SECRET_VARIABLE).ok_or_else(|| {
            Mistake(format!("a secret is missing: {SECRET_VARIABLE} or --client-secret-file"))
        })?;
        let secret = secret.into_string();
        secret.map(Secret::from).map_err(|_| Mistake(format!("{SECRET_VARIABLE}: is not UTF-8")))
    }
}
