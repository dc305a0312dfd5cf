//! Options for the request to the API.

use std::ffi::OsString;

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use tower_oauth2::{ConfigError, OAuth2Layer};

use super::Mistake;
use super::value::Value;

pub(super) const HELP: &str = "\
Request:
  --method M                 the method; GET by default, and POST with --data
  --header NAME:VALUE        a header of the request; can be repeated
  --header-name NAME         the header that carries the token; Authorization by default
  --scheme SCHEME            the text before the token instead of its type, such as Zoho-oauthtoken;
                             an empty one sends the bare token
";

/// Headers that the HTTP client sets.
const FRAMING: [HeaderName; 4] = [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE];

#[derive(Default)]
pub(super) struct Group {
    uri: Option<Uri>,
    method: Option<Method>,
    headers: HeaderMap,
    token_header: TokenHeader,
}

/// The name and the form of the header that carries the token.
#[derive(Default)]
pub(crate) struct TokenHeader {
    name: Option<HeaderName>,
    scheme: Option<&'static str>,
}

/// A request without its body.
#[derive(Clone)]
pub(crate) struct Template {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

impl Group {
    pub(super) fn take(&mut self, option: &str, value: &mut Value<'_>) -> Result<bool, Mistake> {
        match option {
            "method" => self.method = Some(method(value)?),
            "header" => {
                let (name, content) = header(value)?;
                self.headers
                    .try_append(name, content)
                    .map_err(|_| value.mistake("there are too many"))?;
            }
            "header-name" => {
                let name = HeaderName::try_from(value.text()?);
                let name = name.map_err(|_| value.mistake("is not the name of a header"))?;
                if FRAMING.contains(&name) || name == HOST {
                    return Err(value.mistake(&format!("{name} is set by the client itself")));
                }
                self.token_header.name = Some(name);
            }
            "scheme" => {
                let scheme = value.text()?;
                // The characters of header names are those of a scheme (RFC 9110 section 11.1).
                if !scheme.is_empty() && HeaderName::try_from(&*scheme).is_err() {
                    return Err(value.mistake("must be one word of header name characters"));
                }
                // The library takes a static text, and the program reads the options once.
                self.token_header.scheme = Some(scheme.leak());
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub(super) fn take_url(&mut self, url: OsString) -> Result<(), Mistake> {
        if self.uri.is_some() {
            return Err(Mistake::new("there is more than one URL"));
        }
        let url = url.into_string().map_err(|_| Mistake::new("URL: is not UTF-8"))?;
        self.uri = Some(uri(&url)?);
        Ok(())
    }

    /// Checks the options, and returns the request and the header of its token.
    ///
    /// `is_bound` says whether its token is bound to a key.
    pub(super) fn finish(
        self,
        has_data: bool,
        is_bound: bool,
    ) -> Result<(Template, TokenHeader), Mistake> {
        if is_bound && self.token_header.scheme.is_some() {
            // RFC 9449 section 7.1
            return Err(Mistake::new("--scheme: not together with --dpop"));
        }
        if let Some(name) =
            self.token_header.name.as_ref().filter(|name| self.headers.contains_key(*name))
        {
            return Err(Mistake(format!("--header-name: not together with --header {name}")));
        }
        let default = if has_data { Method::POST } else { Method::GET };
        let template = Template {
            method: self.method.unwrap_or(default),
            uri: self.uri.ok_or_else(|| Mistake::new("the URL is missing"))?,
            headers: self.headers,
        };
        Ok((template, self.token_header))
    }
}

impl TokenHeader {
    pub(crate) fn apply(&self, mut layer: OAuth2Layer) -> Result<OAuth2Layer, ConfigError> {
        if let Some(name) = &self.name {
            layer = layer.header_name(name.clone());
        }
        match self.scheme {
            None => Ok(layer),
            Some("") => Ok(layer.no_scheme()),
            Some(scheme) => layer.scheme(scheme),
        }
    }
}

impl Template {
    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Returns the scheme, host and port.
    pub(crate) fn origin(&self) -> String {
        let scheme = self.uri.scheme_str().unwrap_or_default();
        let authority = self.uri.authority().map_or("", |authority| authority.as_str());
        format!("{scheme}://{authority}")
    }

    pub(crate) fn request<B>(&self, body: B) -> Request<B> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

fn uri(url: &str) -> Result<Uri, Mistake> {
    let uri: Uri = url.parse().map_err(|error| Mistake(format!("URL: {error}")))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(Mistake::new("URL: needs to begin with https:// or http://"));
    }
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    if authority.contains('@') {
        return Err(Mistake::new("URL: must not have a user in it"));
    }
    // The colons of an IPv6 address are within brackets.
    let after_host = authority.rsplit(']').next().unwrap_or(authority);
    match after_host.split_once(':') {
        Some((_, port)) if port.parse::<u16>().is_err() => {
            Err(Mistake::new("URL: the port is not a number up to 65535"))
        }
        _ => Ok(uri),
    }
}

fn method(value: &mut Value<'_>) -> Result<Method, Mistake> {
    let method = Method::from_bytes(value.text()?.as_bytes())
        .map_err(|_| value.mistake("is not a method"))?;
    // CONNECT opens a tunnel, and has no response to print.
    if method == Method::CONNECT { Err(value.mistake("must not be CONNECT")) } else { Ok(method) }
}

fn header(value: &mut Value<'_>) -> Result<(HeaderName, HeaderValue), Mistake> {
    let (name, content) = value.pair(':')?;
    let name = HeaderName::try_from(name).map_err(|_| value.mistake("the name is not valid"))?;
    if FRAMING.contains(&name) {
        return Err(value.mistake(&format!("{name} is set by the client itself")));
    }
    let content = HeaderValue::try_from(content.trim())
        .map_err(|_| value.mistake(&format!("the value of {name} is not valid")))?;
    Ok((name, content))
}
