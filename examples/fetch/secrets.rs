//! Removes the secrets of token requests from text that is printed.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::Request;
use http::header::AUTHORIZATION;

use crate::wire;

/// Stands for a secret in all output.
pub(crate) const MASK: &str = "***";

/// The length from which on a text is masked. A shorter text may also occur in words that are not
/// secret.
const MIN_CHARS: usize = 4;

/// The beginning of a JWT: `{"` in base64url.
const JWT_START: &str = "eyJ";

/// The secrets of the token requests and token responses of this process. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Secrets(Arc<Mutex<BTreeSet<String>>>);

impl Secrets {
    /// Adds a secret in the forms in which a server may repeat it.
    pub(crate) fn add(&self, secret: &str) {
        let encoded: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        let with_percent = encoded.replace('+', "%20");
        // The signature alone lets others complete a JWT whose claims they know.
        let jwt = secret.strip_prefix(JWT_START);
        let signature = jwt.and_then(|jwt| jwt.rsplit('.').next()).unwrap_or_default().to_owned();
        let forms = [secret.to_owned(), encoded, with_percent, signature];
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.extend(forms.into_iter().filter(|form| form.chars().count() >= MIN_CHARS));
    }

    /// Adds all values of a token request that are not known to be public.
    pub(crate) fn add_request(&self, request: &Request<Bytes>) {
        for (name, value) in request.headers() {
            let value = String::from_utf8_lossy(value.as_bytes());
            if !wire::is_public_header(name) {
                self.add(&value);
            }
            if *name == AUTHORIZATION {
                self.add_authorization(&value);
            }
        }
        for (name, value) in wire::parameters(request.body()) {
            if !wire::is_public_parameter(&name) {
                self.add(&value);
            }
        }
    }

    fn add_authorization(&self, value: &str) {
        let Some((_, credentials)) = value.split_once(' ') else { return };
        self.add(credentials);
        let Ok(decoded) = BASE64_STANDARD.decode(credentials) else { return };
        let decoded = String::from_utf8_lossy(&decoded);
        let Some((_, password)) = decoded.split_once(':') else { return };
        self.add(password);
        // RFC 6749 section 2.3.1: the password is form-encoded.
        for (name, _) in form_urlencoded::parse(password.as_bytes()) {
            self.add(&name);
        }
    }

    /// Returns the text without these secrets, and without anything that begins like a JWT.
    pub(crate) fn scrub(&self, text: &str) -> String {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The longest one first, because a secret may contain another one.
        let mut known: Vec<_> = known.iter().collect();
        known.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        let mut text = text.to_owned();
        for secret in known {
            if text.contains(&**secret) {
                text = text.replace(&**secret, MASK);
            }
        }
        without_jwts(&text)
    }
}

fn without_jwts(mut text: &str) -> String {
    let mut out = String::new();
    while let Some(start) = text.find(JWT_START) {
        let (before, jwt) = text.split_at(start);
        let is_part = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let end = jwt.find(|c| !is_part(c)).unwrap_or(jwt.len());
        out.push_str(before);
        out.push_str(MASK);
        text = &jwt[end..];
    }
    out.push_str(text);
    out
}
