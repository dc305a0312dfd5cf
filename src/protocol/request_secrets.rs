//! Removes the secrets of a token request from the text of an HTTP client's error.

use std::collections::HashSet;
use std::ops::Range;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, Request, Uri};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

/// The size of a part of a secret that is removed too.
///
/// A client may cut the text that it quotes.
const PART: usize = 8;

/// A secret below this size is removed only where it is a whole word.
const SHORT: usize = 4;

/// Stands for the words that are removed.
const REDACTED: &str = "**redacted**";

/// Header fields that are the same in all requests.
const PUBLIC_HEADERS: [HeaderName; 4] = [ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, USER_AGENT];

/// Form parameters that are not secret.
///
/// RFC 6749 section 4, RFC 7521, RFC 8693 and RFC 8707 define them.
const PUBLIC_PARAMETERS: &[&str] = &[
    "actor_token_type",
    "audience",
    "client_assertion_type",
    "grant_type",
    "requested_token_type",
    "resource",
    "scope",
    "subject_token_type",
];

/// The parts of a request that may contain secrets. Sharing them is cheap.
#[derive(Default)]
pub(crate) struct RequestSecrets {
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl RequestSecrets {
    pub(crate) fn of(request: &Request<Bytes>) -> Self {
        Self {
            uri: request.uri().clone(),
            headers: request.headers().clone(),
            body: request.body().clone(),
        }
    }

    /// Returns `text` without the words that contain a secret of the request.
    ///
    /// Words that look like a secret of another request are removed too: the user information of a
    /// URL, the credentials after an authentication scheme, and a JWT.
    pub(crate) fn scrub(&self, text: &str) -> String {
        // All comparisons ignore the case of ASCII letters, because the digits of an escape have
        // no particular case.
        let folded = text.to_ascii_lowercase();
        let mut found = Found::new(&folded);
        for secret in self.secrets() {
            found.mark(&secret);
        }
        let mut scrubbed = String::with_capacity(text.len());
        let (mut follows_scheme, mut is_after_redacted) = (false, false);
        for word in words(text) {
            let folded = &folded[word.clone()];
            let is_secret = found.has_mark(&word)
                || follows_scheme && folded.len() >= SHORT
                || is_foreign_secret(folded);
            follows_scheme = is_scheme(folded);
            let shown = if is_secret { REDACTED } else { &text[word] };
            // Several words in a row get one replacement, because their number may reveal
            // something.
            if !(is_secret && is_after_redacted) {
                if !scrubbed.is_empty() {
                    scrubbed.push(' ');
                }
                scrubbed.push_str(shown);
            }
            is_after_redacted = is_secret;
        }
        scrubbed
    }

    /// Returns the secrets in lower case, in each form that a text may contain.
    fn secrets(&self) -> Vec<Secret> {
        let mut secrets = Vec::new();
        for (name, value) in &self.headers {
            if PUBLIC_HEADERS.contains(name) {
                continue;
            }
            let value = String::from_utf8_lossy(value.as_bytes());
            add_forms(&mut secrets, &value);
            if let Some((_, credentials)) = value.split_once(' ') {
                add_forms(&mut secrets, credentials);
                add_basic(&mut secrets, credentials);
            }
        }
        let query = self.uri.query().unwrap_or_default().as_bytes();
        match serde_json::from_slice::<Map<String, Value>>(&self.body) {
            Ok(members) => add_members(&mut secrets, &members),
            Err(_) => add_form(&mut secrets, &self.body),
        }
        add_form(&mut secrets, query);
        secrets
    }
}

/// Adds the secret of HTTP Basic (RFC 7617), and its form before it was form-encoded.
fn add_basic(secrets: &mut Vec<Secret>, credentials: &str) {
    let Ok(decoded) = BASE64_STANDARD.decode(credentials) else {
        return;
    };
    let decoded = Zeroizing::new(decoded);
    let decoded = String::from_utf8_lossy(&decoded);
    let (id, secret) = decoded.split_once(':').unwrap_or(("", &decoded));
    secrets.push(Secret::whole(id));
    add_forms(secrets, secret);
    // The parser reads the text as the name of a parameter.
    for (decoded, _) in form_urlencoded::parse(secret.as_bytes()) {
        add_forms(secrets, &decoded);
    }
}

/// Adds the values of the parameters in a form or a query.
fn add_form(secrets: &mut Vec<Secret>, form: &[u8]) {
    for pair in form.split(|byte| *byte == b'&') {
        let encoded = String::from_utf8_lossy(pair);
        let encoded = encoded.split_once('=').map_or(&*encoded, |(_, value)| value);
        for (name, value) in form_urlencoded::parse(pair) {
            // A query may consist of one value without a name.
            let value = if value.is_empty() { &name } else { &value };
            add_parameter(secrets, &name, [encoded, value]);
        }
    }
}

/// Adds the values of the parameters in a JSON object.
fn add_members(secrets: &mut Vec<Secret>, members: &Map<String, Value>) {
    for (name, value) in members {
        let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        for value in values.iter().filter_map(Value::as_str) {
            let quoted = Zeroizing::new(Value::from(value).to_string());
            let encoded = quoted.get(1..quoted.len() - 1).unwrap_or_default();
            add_parameter(secrets, name, [encoded, value]);
        }
    }
}

/// Adds the encoded and the decoded value of a parameter.
fn add_parameter(secrets: &mut Vec<Secret>, name: &str, [encoded, value]: [&str; 2]) {
    match name {
        name if PUBLIC_PARAMETERS.contains(&name) => {}
        "client_id" => secrets.extend([Secret::whole(encoded), Secret::whole(value)]),
        _ => {
            add_forms(secrets, encoded);
            add_forms(secrets, &encoded.replace('+', "%20"));
            add_forms(secrets, value);
        }
    }
}

/// Adds a secret as it is, and as Rust's `Debug` and JSON quote it.
fn add_forms(secrets: &mut Vec<Secret>, secret: &str) {
    let quoted = Zeroizing::new(format!("{secret:?}"));
    let bytes = Zeroizing::new(secret.as_bytes().escape_ascii().to_string());
    for form in [secret, quoted.trim_matches('"'), &bytes] {
        let form = Secret::of(form);
        // Most secrets look the same in all forms.
        if !secrets.iter().any(|known| known.has_secret_parts && known.text == form.text) {
            secrets.push(form);
        }
    }
}

/// A secret in lower case.
struct Secret {
    text: Zeroizing<String>,
    /// `true` if parts of the text are secret too.
    has_secret_parts: bool,
}

impl Secret {
    fn of(text: &str) -> Self {
        Self { text: Zeroizing::new(text.to_ascii_lowercase()), has_secret_parts: true }
    }

    fn whole(text: &str) -> Self {
        Self { has_secret_parts: false, ..Self::of(text) }
    }

    /// Returns the part whose parts are secret.
    fn secret_part(&self) -> &[u8] {
        let text = &*self.text;
        let text = text.strip_prefix("https://").or(text.strip_prefix("http://")).unwrap_or(text);
        if self.has_secret_parts { text.as_bytes() } else { &[] }
    }
}

/// The parts of a text that are secret.
struct Found<'a> {
    text: &'a str,
    /// Contains `true` for each byte that belongs to a secret.
    is_marked: Vec<bool>,
    /// All parts of the text that have the length of a secret's part.
    parts: HashSet<&'a [u8]>,
}

impl<'a> Found<'a> {
    fn new(text: &'a str) -> Self {
        let parts = text.as_bytes().windows(PART).collect();
        Self { text, is_marked: vec![false; text.len()], parts }
    }

    fn mark(&mut self, secret: &Secret) {
        self.mark_whole(&secret.text);
        let parts = secret.secret_part().windows(PART);
        let common: HashSet<_> = parts.filter(|part| self.parts.contains(part)).collect();
        if common.is_empty() {
            return;
        }
        for (start, part) in self.text.as_bytes().windows(PART).enumerate() {
            if common.contains(part) {
                self.is_marked[start..start + PART].fill(true);
            }
        }
    }

    fn mark_whole(&mut self, secret: &str) {
        if secret.is_empty() {
            return;
        }
        for (start, _) in self.text.match_indices(secret) {
            let end = start + secret.len();
            let is_word = !self.text[..start].ends_with(char::is_alphanumeric)
                && !self.text[end..].starts_with(char::is_alphanumeric);
            if is_word || secret.len() >= SHORT {
                self.is_marked[start..end].fill(true);
            }
        }
    }

    fn has_mark(&self, range: &Range<usize>) -> bool {
        self.is_marked[range.clone()].contains(&true)
    }
}

/// Returns the ranges of the words in a text, separated by white space.
fn words(text: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    text.split_whitespace().map(|word| {
        let start = word.as_ptr().addr() - text.as_ptr().addr();
        start..start + word.len()
    })
}

/// Returns whether a word ends with an authentication scheme, so that credentials follow.
fn is_scheme(word: &str) -> bool {
    let word = word.trim_end_matches(|c: char| !c.is_alphanumeric());
    ["basic", "bearer", "dpop"].iter().any(|scheme| word.ends_with(scheme))
}

/// Returns whether a word looks like a secret, although the request does not contain it.
fn is_foreign_secret(word: &str) -> bool {
    let has_user = word.split_once("://").is_some_and(|(_, rest)| rest.contains('@'));
    // Each JWT begins with `{"` in base64.
    let is_jwt = word.find("eyj").is_some_and(|start| word.len() - start >= 20);
    has_user || is_jwt
}
