//! Reads the challenges of APIs and proxies (RFC 9110 section 11).
//!
//! An API sends them in `WWW-Authenticate`, and a proxy in `Proxy-Authenticate`.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::header::{PROXY_AUTHENTICATE, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use serde_json::Value;

/// The maximum length of encoded claims, which is more than servers need.
const MAX_CLAIMS: usize = 8 * 1024;

/// Holds one challenge: a scheme and its parameters.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Challenge {
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    fn is_dpop(&self) -> bool {
        self.scheme.eq_ignore_ascii_case("DPoP")
    }

    fn is_for_tokens(&self) -> bool {
        self.scheme.eq_ignore_ascii_case("Bearer") || self.is_dpop()
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// Returns whether a challenge says that the token is expired, revoked or malformed.
///
/// See RFC 6750 section 3.1 and RFC 9449 section 7.1.
pub(crate) fn says_invalid_token(status: StatusCode, headers: &HeaderMap) -> bool {
    for_tokens(status, headers)
        .any(|challenge| challenge.parameter("error") == Some("invalid_token"))
}

/// Returns the error code of a DPoP challenge (RFC 9449 section 7.1).
#[cfg(feature = "jwt")]
pub(crate) fn dpop_error(headers: &HeaderMap) -> Option<String> {
    let mut challenges = for_tokens(StatusCode::UNAUTHORIZED, headers).filter(Challenge::is_dpop);
    challenges.find_map(|challenge| challenge.parameter("error").map(str::to_owned))
}

/// Returns the claims that a challenge requires of the next token, as JSON.
///
/// Entra ID's continuous access evaluation sends such challenges. The next token request sends the
/// JSON text as `claims`.
pub(crate) fn claims(status: StatusCode, headers: &HeaderMap) -> Option<String> {
    // Servers differ in alphabet and in padding.
    const LENIENT: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

    for_tokens(status, headers).find_map(|challenge| {
        let encoded = challenge.parameter("claims").filter(|claims| claims.len() <= MAX_CLAIMS)?;
        let encoded = encoded.replace('+', "-").replace('/', "_");
        let claims = String::from_utf8(URL_SAFE.decode(encoded).ok()?).ok()?;
        let is_object = matches!(serde_json::from_str(&claims), Ok(Value::Object(_)));
        is_object.then_some(claims)
    })
}

/// Merges the claims of a challenge into the claims that the client requests anyway.
pub(crate) fn merge_claims(own: &str, challenge: &str) -> String {
    match (serde_json::from_str::<Value>(own), serde_json::from_str::<Value>(challenge)) {
        (Ok(mut own @ Value::Object(_)), Ok(challenge)) => {
            merge(&mut own, challenge);
            own.to_string()
        }
        _ => challenge.to_owned(),
    }
}

/// Merges recursively. The parser limits the depth.
fn merge(own: &mut Value, challenge: Value) {
    match (own, challenge) {
        (Value::Object(own), Value::Object(challenge)) => {
            for (name, value) in challenge {
                merge(own.entry(name).or_insert(Value::Null), value);
            }
        }
        (own, challenge) => *own = challenge,
    }
}

fn for_tokens(status: StatusCode, headers: &HeaderMap) -> impl Iterator<Item = Challenge> {
    let field = match status {
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => PROXY_AUTHENTICATE,
        _ => WWW_AUTHENTICATE,
    };
    headers
        .get_all(field)
        .iter()
        .flat_map(|field| parse(&String::from_utf8_lossy(field.as_bytes())))
        .filter(Challenge::is_for_tokens)
}

/// Parses the challenges of one field. Skips malformed parts up to the next comma.
pub(crate) fn parse(field: &str) -> Vec<Challenge> {
    let mut all: Vec<Challenge> = Vec::new();
    let mut input = Input(field);
    loop {
        input.skip(|c| matches!(c, ' ' | '\t' | ','));
        if input.0.is_empty() {
            return all;
        }
        let name = input.token();
        if name.is_empty() {
            input.skip_element();
            continue;
        }
        if let Some(value) = input.value() {
            // `name=value` belongs to the challenge before it.
            if let Some(challenge) = all.last_mut() {
                challenge.parameters.push((name.to_owned(), value));
            }
            continue;
        }
        if !input.0.is_empty() && !input.0.starts_with([' ', '\t', ',']) {
            input.skip_element();
            continue;
        }
        all.push(Challenge { scheme: name.to_owned(), parameters: Vec::new() });
        // A `token68` may follow, and is skipped.
        input.skip_space();
        if !input.is_at_parameter() {
            input.skip_element();
        }
    }
}

struct Input<'a>(&'a str);

impl<'a> Input<'a> {
    fn skip(&mut self, is_skipped: impl Fn(char) -> bool) {
        self.0 = self.0.trim_start_matches(is_skipped);
    }

    fn skip_space(&mut self) {
        self.skip(|c| matches!(c, ' ' | '\t'));
    }

    /// Reads a `token`, which is empty if there is none (RFC 9110 section 5.6.2).
    fn token(&mut self) -> &'a str {
        let end = self.0.find(|c| !is_token(c)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        token
    }

    /// Reads `= value`, where the value is a token or a quoted string. Moves only if it is there.
    fn value(&mut self) -> Option<String> {
        let mut ahead = Input(self.0);
        ahead.skip_space();
        ahead.0 = ahead.0.strip_prefix('=')?;
        ahead.skip_space();
        let value = match ahead.0.strip_prefix('"') {
            Some(quoted) => {
                ahead.0 = quoted;
                ahead.quoted()?
            }
            None => ahead.token().to_owned(),
        };
        ahead.skip_space();
        if !ahead.0.is_empty() && !ahead.0.starts_with(',') {
            return None;
        }
        *self = ahead;
        Some(value)
    }

    /// Reads the rest of a quoted string. Returns `None` without its end (RFC 9110 section 5.6.4).
    fn quoted(&mut self) -> Option<String> {
        let mut value = String::new();
        let mut chars = self.0.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.0 = &self.0[at + 1..];
                    return Some(value);
                }
                '\\' => value.push(chars.next()?.1),
                c => value.push(c),
            }
        }
        None
    }

    /// Returns whether `name=value` follows, instead of the padding of a `token68`.
    fn is_at_parameter(&self) -> bool {
        let mut ahead = Input(self.0);
        let has_name = !ahead.token().is_empty();
        ahead.skip_space();
        let Some(value) = ahead.0.strip_prefix('=') else {
            return false;
        };
        ahead.0 = value;
        ahead.skip_space();
        has_name && ahead.0.starts_with(|c| c == '"' || is_token(c))
    }

    /// Moves to the next comma outside of quotes.
    fn skip_element(&mut self) {
        let mut is_quoted = false;
        let mut is_escaped = false;
        let end = self.0.find(|c| {
            match c {
                _ if is_escaped => is_escaped = false,
                '\\' if is_quoted => is_escaped = true,
                '"' => is_quoted = !is_quoted,
                ',' if !is_quoted => return true,
                _ => {}
            }
            false
        });
        self.0 = &self.0[end.unwrap_or(self.0.len())..];
    }
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(field: &str) -> Vec<String> {
        let show = |challenge: Challenge| {
            let mut text = challenge.scheme;
            for (name, value) in challenge.parameters {
                text += &format!(" {name}=<{value}>");
            }
            text
        };
        parse(field).into_iter().map(show).collect()
    }

    // R7
    #[test]
    fn challenges_are_parsed_as_in_rfc_9110() {
        for (field, expected) in [
            ("", &[][..]),
            ("Bearer", &["Bearer"]),
            ("bearer realm=\"x\"", &["bearer realm=<x>"]),
            (
                "Bearer realm=\"x\", error=\"invalid_token\"",
                &["Bearer realm=<x> error=<invalid_token>"],
            ),
            ("Bearer error=invalid_token", &["Bearer error=<invalid_token>"]),
            ("Bearer error = \"a\" , b=c", &["Bearer error=<a> b=<c>"]),
            (
                "Basic realm=\"a, b\", Bearer error=\"c\"",
                &["Basic realm=<a, b>", "Bearer error=<c>"],
            ),
            (
                "Newauth realm=\"apps\", type=1, title=\"Login to \\\"apps\\\"\", Basic realm=\"simple\"",
                &[
                    "Newauth realm=<apps> type=<1> title=<Login to \"apps\">",
                    "Basic realm=<simple>",
                ],
            ),
            ("Negotiate YWJj==, Bearer error=\"x\"", &["Negotiate", "Bearer error=<x>"]),
            (
                "Negotiate YWJj, Bearer, Basic realm=\"\"",
                &["Negotiate", "Bearer", "Basic realm=<>"],
            ),
            ("Negotiate a=, Bearer x=y", &["Negotiate", "Bearer x=<y>"]),
            (",, ,Bearer a=b,,c=d,", &["Bearer a=<b> c=<d>"]),
            ("realm=\"no scheme\"", &[]),
            ("Bearer a=\"open", &["Bearer"]),
            ("Bearer a=\"b\"c=\"d\", e=f", &["Bearer e=<f>"]),
            ("@@@, Bearer a=b", &["Bearer a=<b>"]),
            ("Bearer/2 a=b, c=d", &[]),
            ("Bearer \u{e9}=b, c=d", &["Bearer c=<d>"]),
        ] {
            assert_eq!(all(field), expected, "{field}");
        }
    }

    fn headers(fields: &[&str]) -> HeaderMap {
        fields.iter().map(|field| (WWW_AUTHENTICATE, field.parse().unwrap())).collect()
    }

    // R7
    #[test]
    fn only_a_challenge_for_tokens_says_invalid_token() {
        for fields in [
            &["Bearer error=\"invalid_token\""][..],
            &["bEARER realm=x, ERROR=invalid_token"],
            &["Basic realm=\"x\"", "Bearer error=\"invalid_token\""],
            &["Bearer", "DPoP algs=\"ES256\", error=\"invalid_token\""],
        ] {
            assert!(says_invalid_token(StatusCode::UNAUTHORIZED, &headers(fields)), "{fields:?}");
        }
        for fields in [
            &[][..],
            &["Bearer"],
            &["Bearer error=\"insufficient_scope\""],
            &["Basic error=\"invalid_token\""],
            &["Bearer realm=\"error=invalid_token\""],
        ] {
            assert!(!says_invalid_token(StatusCode::UNAUTHORIZED, &headers(fields)), "{fields:?}");
        }
    }

    // R7
    #[test]
    fn claims_are_decoded_in_each_alphabet_and_padding() {
        let json = r#"{"access_token":{"nbf":{"essential":true,"value":"1?>~"}}}"#;
        for engine in [
            base64::prelude::BASE64_STANDARD,
            base64::prelude::BASE64_STANDARD_NO_PAD,
            base64::prelude::BASE64_URL_SAFE,
            base64::prelude::BASE64_URL_SAFE_NO_PAD,
        ] {
            let field = format!("Bearer error=\"x\", claims=\"{}\"", engine.encode(json));
            assert_eq!(
                claims(StatusCode::UNAUTHORIZED, &headers(&[&field])).as_deref(),
                Some(json)
            );
        }
        let large = base64::prelude::BASE64_STANDARD.encode(vec![b' '; MAX_CLAIMS]);
        for malformed in ["", "!!!", "YWJj", "WzFd", "//79", &large] {
            let field = format!("Bearer claims=\"{malformed}\"");
            assert_eq!(claims(StatusCode::UNAUTHORIZED, &headers(&[&field])), None, "{malformed}");
        }
    }
}
