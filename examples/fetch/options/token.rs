//! Options for the token that is requested.

use std::path::PathBuf;

use bytes::Bytes;
use http::Uri;
use http_body_util::Full;
use tower::BoxError;
use tower_oauth2::metadata::{Metadata, MetadataBuilder, WellKnown};
use tower_oauth2::{ClientAuth, ConfigError, Credentials, Origins};

use super::value::Value;
use super::{Binding, Mistake};
use crate::client::Http;

pub(super) const HELP: &str = "\
Token:
  --token-endpoint URL       the token endpoint; or
  --issuer URL               the issuer, whose metadata name the token endpoint
  --well-known W             request the metadata there only: openid-configuration,
                             oauth-authorization-server, a path at the issuer's host such as
                             /.well-known/openid-configuration, or the URL of the document; by
                             default, the first two are tried
  --scope S                  the scopes, separated by spaces
  --audience A               the audience of the token; can be repeated
  --resource R               the resource of the token (RFC 8707); can be repeated
  --param NAME=VALUE         another parameter of the token request; can be repeated
  --dpop                     bind tokens to --dpop-key, or to a new key (RFC 9449); needs the
                             feature jwt
  --dpop-key FILE            the private key for --dpop (PEM)
  --allow-origin URL         send tokens to this origin (https://host:port) instead of that of the
                             request's URL; can be repeated
";

#[derive(Default)]
pub(super) struct Group {
    endpoint: Option<String>,
    issuer: Option<String>,
    well_known: Option<String>,
    scope: String,
    audiences: Vec<String>,
    resources: Vec<String>,
    parameters: Vec<(String, String)>,
    origins: Option<Origins>,
    allowed: Vec<String>,
    is_bound: bool,
    dpop_key: Option<PathBuf>,
}

/// The credentials of the token request, or where to find its endpoint.
pub(crate) enum Wanted {
    At(Credentials),
    From(Box<Discovery>),
}

/// An issuer whose metadata name the token endpoint.
pub(crate) struct Discovery {
    issuer: MetadataBuilder,
    is_https: bool,
    auth: ClientAuth,
    parameters: Parameters,
}

/// The parameters of a token request.
#[derive(Clone)]
struct Parameters {
    scope: String,
    audiences: Vec<String>,
    resources: Vec<String>,
    custom: Vec<(String, String)>,
    binding: Option<Binding>,
}

impl Wanted {
    /// Returns the credentials. Fetches the metadata of an issuer.
    pub(crate) async fn credentials(
        &self,
        http: Http<Full<Bytes>>,
    ) -> Result<Credentials, BoxError> {
        match self {
            Self::At(credentials) => Ok(credentials.clone()),
            Self::From(discovery) => {
                let metadata = discovery.issuer.clone().fetch(http).await?;
                let credentials = metadata.credentials(discovery.auth.clone())?;
                Ok(discovery.parameters.clone().add_to(credentials))
            }
        }
    }

    /// Returns whether the first request for a token or metadata uses TLS.
    pub(crate) fn uses_tls(&self) -> bool {
        match self {
            Self::At(credentials) => {
                let endpoint = credentials.token_endpoint();
                endpoint.is_some_and(|endpoint| endpoint.scheme_str() == Some("https"))
            }
            Self::From(discovery) => discovery.is_https,
        }
    }
}

impl Parameters {
    fn add_to(self, credentials: Credentials) -> Credentials {
        let mut credentials = credentials.scope(self.scope);
        for audience in self.audiences {
            credentials = credentials.audience(audience);
        }
        for resource in self.resources {
            credentials = credentials.resource(resource);
        }
        for (name, value) in self.custom {
            credentials = credentials.parameter(name, value);
        }
        match self.binding {
            Some(binding) => binding.add_to(credentials),
            None => credentials,
        }
    }
}

impl Group {
    pub(super) fn take(&mut self, option: &str, value: &mut Value<'_>) -> Result<bool, Mistake> {
        match option {
            "token-endpoint" => self.endpoint = Some(value.text()?),
            "issuer" => self.issuer = Some(value.text()?),
            "well-known" => self.well_known = Some(value.text()?),
            "scope" => self.scope = value.text()?,
            "audience" => self.audiences.push(value.text()?),
            "resource" => self.resources.push(value.text()?),
            "param" => self.parameters.push(value.pair('=')?),
            "allow-origin" => {
                self.allowed.push(value.text()?);
                let origins = Origins::only(&self.allowed);
                self.origins = Some(origins.map_err(|error| value.mistake(&error.to_string()))?);
            }
            "dpop" => self.is_bound = true,
            "dpop-key" => self.dpop_key = Some(value.file()?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub(super) fn has_issuer(&self) -> bool {
        self.issuer.is_some()
    }

    pub(super) fn is_bound(&self) -> bool {
        self.is_bound
    }

    /// Returns the credentials, and the origins if any were named.
    pub(super) fn finish(
        mut self,
        auth: ClientAuth,
        allow_http: bool,
    ) -> Result<(Wanted, Option<Origins>), Mistake> {
        let (endpoint, issuer) = (self.endpoint.take(), self.issuer.take());
        let (well_known, origins) = (self.well_known.take(), self.origins.take());
        if well_known.is_some() && issuer.is_none() {
            return Err(Mistake::new("--well-known: needs --issuer"));
        }
        let parameters = self.parameters()?;
        let wanted = match (endpoint, issuer) {
            (Some(endpoint), None) => {
                let credentials = Credentials::new(endpoint, auth).map_err(mistake)?;
                Wanted::At(parameters.add_to(credentials))
            }
            (None, Some(text)) => {
                let issuer = metadata(&text, well_known.as_deref(), allow_http)?;
                let is_https = [Some(&text), well_known.as_ref()]
                    .into_iter()
                    .flatten()
                    .any(|url| url.starts_with("https"));
                Wanted::From(Box::new(Discovery { issuer, is_https, auth, parameters }))
            }
            (None, None) => return Err(Mistake::new("--token-endpoint or --issuer is missing")),
            (Some(_), Some(_)) => {
                return Err(Mistake::new("--issuer: not together with --token-endpoint"));
            }
        };
        Ok((wanted, origins))
    }

    fn parameters(self) -> Result<Parameters, Mistake> {
        if self.dpop_key.is_some() && !self.is_bound {
            return Err(Mistake::new("--dpop-key: needs --dpop"));
        }
        for (option, is_set) in [
            ("scope", !self.scope.is_empty()),
            ("audience", !self.audiences.is_empty()),
            ("resource", !self.resources.is_empty()),
        ] {
            if is_set && self.parameters.iter().any(|(name, _)| name == option) {
                return Err(Mistake(format!("--param {option}: not together with --{option}")));
            }
        }
        let binding = self.is_bound.then(|| Binding::to(self.dpop_key.as_deref()));
        let binding = binding.transpose().map_err(|what| Mistake(format!("--dpop: {what}")))?;
        Ok(Parameters {
            scope: self.scope,
            audiences: self.audiences,
            resources: self.resources,
            custom: self.parameters,
            binding,
        })
    }
}

fn metadata(
    issuer: &str,
    well_known: Option<&str>,
    allow_http: bool,
) -> Result<MetadataBuilder, Mistake> {
    let builder = Metadata::builder(issuer).map_err(mistake)?;
    let at = |builder: MetadataBuilder, address: &str| {
        builder.document(address).map_err(|error| Mistake(format!("--well-known: {error}")))
    };
    let builder = match well_known {
        None => builder,
        Some("openid-configuration") => builder.well_known(WellKnown::OpenidConfiguration),
        Some("oauth-authorization-server") => {
            builder.well_known(WellKnown::OauthAuthorizationServer)
        }
        Some(path) if path.starts_with('/') => {
            let issuer: Uri = issuer.parse().unwrap_or_default();
            let (scheme, authority) = (issuer.scheme_str(), issuer.authority());
            let authority = authority.map_or("", |authority| authority.as_str());
            at(builder, &format!("{}://{authority}{path}", scheme.unwrap_or("https")))?
        }
        Some(url) if url.contains("://") => at(builder, url)?,
        Some(_) => {
            return Err(Mistake::new(
                "--well-known: must be openid-configuration, oauth-authorization-server, a path \
                 or a URL",
            ));
        }
    };
    Ok(if allow_http { builder.dangerously_allow_http() } else { builder })
}

fn mistake(error: ConfigError) -> Mistake {
    Mistake(error.to_string())
}
