//! Options for token endpoints that differ from the standard.

use std::convert::Infallible;
use std::future::pending;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::service_fn;
use tower_oauth2::{ConfigError, TokenEndpoint};

use super::Mistake;
use super::value::Value;

pub(super) const HELP: &str = "\
Token endpoint:
  --token-header NAME:VALUE  a header of the token request, such as the key of a gateway; can be
                             repeated
  --json                     send the parameters as a JSON object instead of a form
  --token-type TYPE          a token_type of the server that means Bearer, such as BearerToken; can
                             be repeated
  --allow-http               allow plain http for the token endpoint, the issuer and the API on
                             other machines, which sends secrets and tokens in clear text
";

/// How token requests are sent, and how responses are read.
#[derive(Default)]
pub(crate) struct Dialect {
    headers: Vec<(String, String)>,
    has_json_body: bool,
    token_types: Vec<String>,
    /// Applies to the issuer and the API too.
    pub(crate) allow_http: bool,
}

#[derive(Default)]
pub(super) struct Group(Dialect);

impl Group {
    pub(super) fn take(&mut self, option: &str, value: &mut Value<'_>) -> Result<bool, Mistake> {
        match option {
            "token-header" => {
                let (name, content) = value.pair(':')?;
                let content = content.trim().to_owned();
                unused_endpoint()
                    .header(&*name, &*content)
                    .map_err(|error| value.mistake(&error.to_string()))?;
                self.0.headers.push((name, content));
            }
            "json" => self.0.has_json_body = true,
            "token-type" => self.0.token_types.push(value.text()?),
            "allow-http" => self.0.allow_http = true,
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub(super) fn finish(self) -> Dialect {
        self.0
    }
}

impl Dialect {
    /// Applies the options to a token endpoint.
    pub(crate) fn apply(&self, mut endpoint: TokenEndpoint) -> Result<TokenEndpoint, ConfigError> {
        for (name, value) in &self.headers {
            endpoint = endpoint.header(&**name, &**value)?;
        }
        if self.has_json_body {
            endpoint = endpoint.json_body();
        }
        for token_type in &self.token_types {
            endpoint = endpoint.token_type_alias(token_type);
        }
        Ok(if self.allow_http { endpoint.dangerously_allow_http() } else { endpoint })
    }
}

/// Returns an endpoint that checks headers and sends nothing.
fn unused_endpoint() -> TokenEndpoint {
    let send = |_: Request<Full<Bytes>>| pending::<Result<Response<Full<Bytes>>, Infallible>>();
    TokenEndpoint::new(service_fn(send))
}
