//! Token requests and responses as text without secrets.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{AUTHORIZATION, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use serde_json::{Map, Value};

use super::jwt::Jwt;
use crate::printable::{self, printable};
use crate::secrets::{MASK, Secrets};
use crate::wire;

/// The longest value that is shown, in characters.
const MAX_CHARS: usize = 512;

/// The ends of names of members and claims that hold secrets.
const SECRET_NAMES: [&str; 6] = ["assertion", "code", "key", "password", "secret", "token"];

/// The members of a JWK with a private or symmetric key (RFC 7518 section 6).
const KEY_MEMBERS: [&str; 8] = ["d", "dp", "dq", "k", "oth", "p", "q", "qi"];

/// Records requests and responses without their secrets. Clones share the record.
#[derive(Clone)]
pub(crate) struct Transcript {
    text: Arc<Mutex<String>>,
    secrets: Secrets,
}

impl Transcript {
    pub(crate) fn new(secrets: Secrets) -> Self {
        Self { text: Arc::default(), secrets }
    }

    pub(crate) fn text(&self) -> String {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn request(&self, request: &Request<Bytes>) {
        self.secrets.add_request(request);
        let uri = printable::url(&self.secrets.scrub(&request.uri().to_string()));
        let mut out = format!("# Token request\n{} {uri}\n", request.method());
        let mut jwts = self.headers(&mut out, request.headers());
        let parameters = wire::parameters(request.body());
        match wire::members(request.body()) {
            Some(members) => {
                let masked = self.masked(members, wire::is_public_parameter);
                push_line(&mut out, &format!("\n{}", pretty(masked)));
            }
            None => push_line(&mut out, &format!("\n{}", self.form(&parameters))),
        }
        jwts.extend(named_jwts(parameters));
        self.jwts(&mut out, jwts);
        self.append(&out);
    }

    pub(super) fn response(&self, response: &Response<Bytes>) {
        let members = wire::members(response.body());
        let private = members.iter().flatten().filter(|(name, _)| !wire::is_public_member(name));
        let private: Vec<_> = private
            .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
            .collect();
        private.iter().for_each(|(_, value)| self.secrets.add(value));
        let mut out = format!("# Token response\n{}\n", response.status());
        let mut jwts = self.headers(&mut out, response.headers());
        match members {
            Some(members) => {
                let masked = self.masked(members, wire::is_public_member);
                push_line(&mut out, &format!("\n{}", pretty(masked)));
            }
            None => {
                let length = response.body().len();
                push_line(&mut out, &format!("\n({length} bytes that are not a JSON object)"));
            }
        }
        jwts.extend(named_jwts(private));
        self.jwts(&mut out, jwts);
        self.append(&out);
    }

    /// Writes the headers, and returns the JWTs among them.
    fn headers(&self, out: &mut String, headers: &HeaderMap) -> Vec<(String, Jwt)> {
        let mut headers: Vec<_> = headers.iter().collect();
        headers.sort_by_key(|(name, _)| name.as_str());
        for &(name, value) in &headers {
            push_line(out, &format!("{name}: {}", self.header(name, value)));
        }
        let texts = headers.into_iter().map(|(name, value)| {
            (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        });
        named_jwts(texts.collect())
    }

    fn header(&self, name: &HeaderName, value: &HeaderValue) -> String {
        let value = String::from_utf8_lossy(value.as_bytes());
        let scheme = value.split_once(' ').map(|(scheme, _)| scheme);
        match scheme {
            _ if wire::is_public_header(name) => self.clean(&value),
            _ if *name == LOCATION => printable::url(&self.secrets.scrub(&value)),
            Some(scheme) if *name == AUTHORIZATION => format!("{} {MASK}", self.clean(scheme)),
            _ => MASK.to_owned(),
        }
    }

    /// Returns the form, encoded as it is sent, with a parameter on each line.
    fn form(&self, parameters: &[(String, String)]) -> String {
        let lines: Vec<_> = parameters
            .iter()
            .map(|(name, value)| {
                let encode = |text: &str| -> String {
                    form_urlencoded::byte_serialize(text.as_bytes()).collect()
                };
                let value = match wire::is_public_parameter(name) {
                    true => encode(&self.clean(value)),
                    false => MASK.to_owned(),
                };
                format!("{}={value}", encode(&self.clean(name)))
            })
            .collect();
        lines.join("\n&")
    }

    /// Writes the header and claims of JWTs.
    fn jwts(&self, out: &mut String, jwts: Vec<(String, Jwt)>) {
        for (name, jwt) in jwts {
            push_line(out, &format!("\n## JWT in {} (signature not shown)", self.clean(&name)));
            push_line(out, &format!("header {}", pretty(self.cleaned_members(jwt.header))));
            match jwt.claims {
                Some(claims) => {
                    push_line(out, &format!("claims {}", pretty(self.cleaned_members(claims))));
                }
                None => push_line(out, "claims are encrypted"),
            }
        }
    }

    /// Returns the members, with a mask instead of each value that is not public.
    fn masked(
        &self,
        members: Map<String, Value>,
        is_public: impl Fn(&str) -> bool,
    ) -> Map<String, Value> {
        let masked = members.into_iter().map(|(name, value)| match is_public(&name) {
            true => (self.clean(&name), self.cleaned(value)),
            false => (self.clean(&name), MASK.into()),
        });
        masked.collect()
    }

    fn cleaned(&self, value: Value) -> Value {
        match value {
            Value::String(text) => self.clean(&text).into(),
            Value::Array(values) => values.into_iter().map(|value| self.cleaned(value)).collect(),
            Value::Object(members) => self.cleaned_members(members).into(),
            value => value,
        }
    }

    /// Returns claims with a mask instead of secrets.
    fn cleaned_members(&self, members: Map<String, Value>) -> Map<String, Value> {
        let is_key = members.contains_key("kty");
        let cleaned = members.into_iter().map(|(name, value)| {
            let lower = name.to_ascii_lowercase();
            let is_secret = SECRET_NAMES.iter().any(|end| lower.ends_with(end))
                || is_key && KEY_MEMBERS.contains(&&*name);
            let value = if is_secret { MASK.into() } else { self.cleaned(value) };
            (self.clean(&name), value)
        });
        cleaned.collect()
    }

    fn clean(&self, text: &str) -> String {
        printable(&self.secrets.scrub(text), MAX_CHARS)
    }

    fn append(&self, section: &str) {
        let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(section);
    }
}

fn push_line(out: &mut String, line: &str) {
    out.push_str(line);
    out.push('\n');
}

/// Returns the JWTs among named values.
fn named_jwts(values: Vec<(String, String)>) -> Vec<(String, Jwt)> {
    let jwts = values.into_iter().filter_map(|(name, text)| Some((name, Jwt::decode(&text)?)));
    jwts.collect()
}

fn pretty(members: Map<String, Value>) -> String {
    format!("{:#}", Value::Object(members))
}
