//! What to send to the API.

use std::ffi::OsString;

use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};

use super::Mistake;
use super::value::Value;

pub(super) const HELP: &str = "\
Request:
  --method M                 GET unless given, or POST with --data
  --header NAME:VALUE        may be given several times
";

/// How the request is framed is the client's to say, and it takes no other word for it.
const FRAMING: [HeaderName; 4] = [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE];

#[derive(Default)]
pub(super) struct Group {
    uri: Option<Uri>,
    method: Option<Method>,
    headers: HeaderMap,
}

/// All of a request but its body.
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

    pub(super) fn finish(self, has_data: bool) -> Result<Template, Mistake> {
        let default = if has_data { Method::POST } else { Method::GET };
        Ok(Template {
            method: self.method.unwrap_or(default),
            uri: self.uri.ok_or_else(|| Mistake::new("the URL is missing"))?,
            headers: self.headers,
        })
    }
}

impl Template {
    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Scheme, host and port.
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
    // An IPv6 address has colons of its own, within brackets.
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
    // Its answer is a tunnel, and no response to be read.
    if method == Method::CONNECT { Err(value.mistake("can not be CONNECT")) } else { Ok(method) }
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
