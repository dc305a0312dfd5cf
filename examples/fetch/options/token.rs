//! What to ask for, and as whom.

use tower_oauth2::{ClientAuth, ClientCredentials, Origins, Secret};

use super::value::Value;
use super::{Mistake, jwt};

pub(super) const HELP: &str = "\
Token:
  --token-endpoint URL       where tokens come from
  --client-id ID             who asks for them
  --client-secret-file FILE  the secret, read for every token request; else it is in the
                             environment, in CLIENT_SECRET
  --auth METHOD              client_secret_basic (default), client_secret_basic_raw,
                             client_secret_post, client_secret_jwt, private_key_jwt,
                             client_assertion or none
  --key FILE                 for private_key_jwt: the private key (PEM or JWK), read for every
                             token request; both jwt methods need the feature of that name
  --kid ID                   the name under which the server knows it; else the JWK's own
  --alg ALG                  what to sign with: PS256 in the place of RS256
  --assertion-audience AUD   for both jwt methods: aud, other than the token endpoint
  --assertion-file FILE      for client_assertion: the assertion, read for every token request
  --scope S                  names with spaces between them
  --audience A
  --resource R               may be given several times
  --param NAME=VALUE         a further parameter; may be given several times
  --allow-origin URL         send tokens to this origin (https://host:port), and not to that of the
                             request's URL; may be given several times
";

const SECRET_VARIABLE: &str = "CLIENT_SECRET";

#[derive(Default)]
pub(super) struct Group {
    endpoint: Option<String>,
    client_id: Option<String>,
    secret: Option<Secret>,
    assertion: Option<Secret>,
    jwt: jwt::Group,
    auth: Option<String>,
    scope: String,
    audience: String,
    resources: Vec<String>,
    parameters: Vec<(String, String)>,
    origins: Option<Origins>,
    allowed: Vec<String>,
}

impl Group {
    pub(super) fn take(&mut self, option: &str, value: &mut Value<'_>) -> Result<bool, Mistake> {
        match option {
            "token-endpoint" => self.endpoint = Some(value.text()?),
            "client-id" => self.client_id = Some(value.text()?),
            "client-secret-file" => self.secret = Some(Secret::file(value.file()?)),
            "assertion-file" => self.assertion = Some(Secret::file(value.file()?)),
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
            _ => return self.jwt.take(option, value),
        }
        Ok(true)
    }

    /// The origins are those that were named, if any were.
    pub(super) fn finish(mut self) -> Result<(ClientCredentials, Option<Origins>), Mistake> {
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
        Ok((credentials, self.origins))
    }

    fn client_auth(&mut self) -> Result<ClientAuth, Mistake> {
        let id = self.client_id.take().ok_or_else(|| Mistake::new("--client-id is missing"))?;
        let jwt = std::mem::take(&mut self.jwt);
        if jwt.is_used()
            && !matches!(self.auth.as_deref(), Some("client_secret_jwt" | "private_key_jwt"))
        {
            return Err(Mistake::new(
                "--key, --kid, --alg and --assertion-audience: need --auth private_key_jwt",
            ));
        }
        Ok(match self.auth.as_deref() {
            None | Some("client_secret_basic") => {
                ClientAuth::client_secret_basic(id, self.secret()?)
            }
            Some("client_secret_basic_raw") => {
                ClientAuth::client_secret_basic_raw(id, self.secret()?)
            }
            Some("client_secret_post") => ClientAuth::client_secret_post(id, self.secret()?),
            Some("client_secret_jwt") => jwt.client_secret_jwt(id, self.secret()?)?,
            Some("private_key_jwt") => jwt.private_key_jwt(id)?,
            Some("client_assertion") => {
                let missing = || Mistake::new("--assertion-file is missing");
                ClientAuth::client_assertion(id, self.assertion.take().ok_or_else(missing)?)
            }
            Some("none") => ClientAuth::none(id),
            Some(_) => return Err(Mistake::new("--auth: no such method")),
        })
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
