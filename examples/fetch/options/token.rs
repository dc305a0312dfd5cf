//! What to ask for, and as whom.

use std::path::PathBuf;

use bytes::Bytes;
use http_body_util::Full;
use tower::BoxError;
use tower_oauth2::metadata::{Metadata, MetadataBuilder};
use tower_oauth2::{ClientAuth, ConfigError, Credentials, Origins, Secret};

use super::value::Value;
use super::{Mistake, jwt};
use crate::client::Http;
use crate::store::{Keys, Store};

pub(super) const HELP: &str = "\
Token:
  --token-endpoint URL       where tokens come from; or
  --issuer URL               who issues them, and says where they come from at a well-known place
  --client-id ID             who asks for them
  --client-secret-file FILE  the secret, read for every token request; else it is in the
                             environment, in CLIENT_SECRET
  --auth METHOD              client_secret_basic (default), client_secret_basic_raw,
                             client_secret_post, client_secret_jwt, private_key_jwt,
                             client_assertion, none, or with --cert and --key tls_client_auth
                             or self_signed_tls_client_auth
  --key FILE                 for private_key_jwt: the private key (PEM, DER or JWK), read for every
                             token request; both jwt methods need the feature of that name
  --kid ID                   the name under which the server knows it; else the JWK's own
  --alg ALG                  what to sign with: PS256 in the place of RS256
  --assertion-audience AUD   for both jwt methods: aud; by default the issuer with --issuer, and
                             otherwise the token endpoint
  --assertion-file FILE      for client_assertion: the assertion, read for every token request
  --dpop                     tokens that are bound to a key (RFC 9449): to --dpop-key, or to a new one; needs
                             the feature jwt
  --dpop-key FILE            the private key for that (PEM)
  --scope S                  names with spaces between them
  --audience A
  --resource R               may be given several times
  --param NAME=VALUE         a further parameter; may be given several times
  --allow-origin URL         send tokens to this origin (https://host:port), and not to that of the
                             request's URL; may be given several times
  --store URL                share tokens with others through redis://[USER:PASSWORD@]HOST[:PORT],
                             through rediss:// over TLS, or through memcached://HOST:PORT
  --seal-key-file FILE       encrypt what is stored: lines of id:key, the newest first
";

const SECRET_VARIABLE: &str = "CLIENT_SECRET";

pub(super) struct Token {
    pub(super) wanted: Wanted,
    /// Those that were named, if any were.
    pub(super) origins: Option<Origins>,
    pub(super) store: Option<Store>,
    pub(super) seal_keys: Option<Keys>,
}

#[derive(Default)]
pub(super) struct Group {
    endpoint: Option<String>,
    issuer: Option<String>,
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
    store: Option<Store>,
    seal_keys: Option<Keys>,
    is_bound: bool,
    dpop_key: Option<PathBuf>,
}

/// What to ask for, and where.
pub(crate) enum Wanted {
    At(Credentials),
    /// Its issuer has to be asked where.
    From(Box<Discovery>),
}

pub(crate) struct Discovery {
    issuer: MetadataBuilder,
    is_https: bool,
    auth: ClientAuth,
    what: What,
}

/// What tokens are for.
#[derive(Clone)]
pub(crate) struct What {
    scope: String,
    audience: String,
    resources: Vec<String>,
    parameters: Vec<(String, String)>,
    binding: Option<jwt::Binding>,
}

impl Wanted {
    pub(crate) async fn credentials(
        &self,
        http: Http<Full<Bytes>>,
    ) -> Result<Credentials, BoxError> {
        match self {
            Self::At(credentials) => Ok(credentials.clone()),
            Self::From(discovery) => {
                let metadata = discovery.issuer.clone().fetch(http).await?;
                let credentials = metadata.credentials(discovery.auth.clone())?;
                Ok(discovery.what.clone().of(credentials))
            }
        }
    }

    /// Whether it takes TLS to get tokens, as far as that is known.
    pub(super) fn uses_tls(&self) -> bool {
        match self {
            Self::At(credentials) => {
                let endpoint = credentials.token_endpoint();
                endpoint.is_some_and(|endpoint| endpoint.scheme_str() == Some("https"))
            }
            Self::From(discovery) => discovery.is_https,
        }
    }
}

impl What {
    fn of(self, credentials: Credentials) -> Credentials {
        let mut credentials = credentials.scope(self.scope).audience(self.audience);
        for resource in self.resources {
            credentials = credentials.resource(resource);
        }
        for (name, value) in self.parameters {
            credentials = credentials.parameter(name, value);
        }
        match self.binding {
            Some(binding) => binding.of(credentials),
            None => credentials,
        }
    }
}

impl Group {
    pub(super) fn take(&mut self, option: &str, value: &mut Value<'_>) -> Result<bool, Mistake> {
        match option {
            "token-endpoint" => self.endpoint = Some(value.text()?),
            "issuer" => self.issuer = Some(value.text()?),
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
            "store" => {
                let store = Store::parse(&value.text()?);
                self.store = Some(store.map_err(|what| value.mistake(what))?);
            }
            "dpop" => self.is_bound = true,
            "dpop-key" => self.dpop_key = Some(value.file()?),
            "seal-key-file" => {
                let keys = Keys::read(&value.path()?);
                self.seal_keys = Some(keys.map_err(|what| value.mistake(&what))?);
            }
            _ => return self.jwt.take(option, value),
        }
        Ok(true)
    }

    /// `certificate` is the one that the client shows, `key` where the key is.
    pub(super) fn finish(
        mut self,
        certificate: Option<&[u8]>,
        key: Option<PathBuf>,
    ) -> Result<Token, Mistake> {
        let (endpoint, issuer) = (self.endpoint.take(), self.issuer.take());
        let auth = self.client_auth(certificate, key)?;
        if self.dpop_key.is_some() && !self.is_bound {
            return Err(Mistake::new("--dpop-key: needs --dpop"));
        }
        let binding = self.is_bound.then(|| jwt::Binding::to(self.dpop_key.as_deref()));
        let binding = binding.transpose().map_err(|what| Mistake(format!("--dpop: {what}")))?;
        let what = What {
            scope: self.scope,
            audience: self.audience,
            resources: self.resources,
            parameters: self.parameters,
            binding,
        };
        let wanted = match (endpoint, issuer) {
            (Some(endpoint), None) => {
                Wanted::At(what.of(Credentials::new(endpoint, auth).map_err(mistake)?))
            }
            (None, Some(text)) => {
                let issuer = Metadata::builder(&text).map_err(mistake)?;
                let is_https = text.starts_with("https");
                Wanted::From(Box::new(Discovery { issuer, is_https, auth, what }))
            }
            (None, None) => return Err(Mistake::new("--token-endpoint or --issuer is missing")),
            (Some(_), Some(_)) => {
                return Err(Mistake::new("--issuer: not together with --token-endpoint"));
            }
        };
        if self.seal_keys.is_some() && self.store.is_none() {
            return Err(Mistake::new("--seal-key-file: needs --store"));
        }
        let (store, seal_keys) = (self.store, self.seal_keys);
        Ok(Token { wanted, origins: self.origins, store, seal_keys })
    }

    pub(super) fn signs_with_a_key(&self) -> bool {
        self.auth.as_deref() == Some("private_key_jwt")
    }

    fn client_auth(
        &mut self,
        certificate: Option<&[u8]>,
        key: Option<PathBuf>,
    ) -> Result<ClientAuth, Mistake> {
        let id = self.client_id.take().ok_or_else(|| Mistake::new("--client-id is missing"))?;
        let mut jwt = std::mem::take(&mut self.jwt);
        match self.auth.as_deref() {
            Some("private_key_jwt") => jwt.key = key,
            Some("client_secret_jwt") => {}
            _ if jwt.is_used() => {
                return Err(Mistake::new(
                    "--kid, --alg and --assertion-audience: need --auth private_key_jwt",
                ));
            }
            _ => {}
        }
        let certificate = || {
            certificate.ok_or_else(|| Mistake::new("--auth: this method needs --cert and --key"))
        };
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
            Some("tls_client_auth") => ClientAuth::tls_client_auth(id, certificate()?),
            Some("self_signed_tls_client_auth") => {
                ClientAuth::self_signed_tls_client_auth(id, certificate()?)
            }
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

fn mistake(error: ConfigError) -> Mistake {
    Mistake(error.to_string())
}
