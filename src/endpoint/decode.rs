//! Token responses and error responses (RFC 6749 sections 5.1 and 5.2).

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use http::header::{DATE, RETRY_AFTER};
use http::response::Parts;
use http::{HeaderMap, HeaderName};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::clock::wall_clock;
use crate::error::{ErrorResponse, TokenError, TokenErrorKind};
use crate::token::{AccessToken, MAX_LIFETIME};

/// A JSON object whose members are read one by one.
///
/// A number that is out of range, or a value that is nested too deeply, spoils only its own member.
pub(super) type Members<'a> = BTreeMap<String, &'a RawValue>;

/// A response whose body has been read.
pub(super) struct JsonResponse<'a> {
    pub(super) head: Parts,
    pub(super) body: &'a [u8],
    /// `None` if the body is not a JSON object.
    pub(super) members: Option<Members<'a>>,
}

impl<'a> JsonResponse<'a> {
    pub(super) fn new(head: Parts, body: &'a [u8]) -> Self {
        // The parser's own errors quote the text, so they are dropped here.
        let members = serde_json::from_slice(body).ok();
        Self { head, body, members }
    }

    /// Returns an error that keeps a bounded part of the response.
    pub(super) fn refuse(self, kind: TokenErrorKind, note: &'static str) -> TokenError {
        // A redirect is not an answer of the server that was asked.
        let members = self.members.filter(|_| kind != TokenErrorKind::Redirect);
        let text = |name| text(members.as_ref()?, name);
        let members = [text("error"), text("error_description"), text("error_uri")];
        let retry_after = retry_after(&self.head.headers, wall_clock());
        let response = ErrorResponse::new(self.head, self.body, members, retry_after);
        TokenError::with_response(kind, note, response)
    }
}

/// Decodes a response to a token request.
pub(super) fn decode(
    head: Parts,
    body: &[u8],
    is_to_be_bound: bool,
) -> Result<AccessToken, TokenError> {
    let response = JsonResponse::new(head, body);
    let status = response.head.status;
    if status.is_redirection() {
        return Err(response.refuse(TokenErrorKind::Redirect, ""));
    }
    let (kind, note) = match &response.members {
        None if status.is_success() => (TokenErrorKind::MalformedResponse, ""),
        Some(members) if status.is_success() && !is_string(members, "error") => {
            match read_token(members, is_to_be_bound) {
                Ok(token) => return Ok(token),
                Err(refusal) => refusal,
            }
        }
        _ => (TokenErrorKind::ErrorResponse, ""),
    };
    Err(response.refuse(kind, note))
}

fn read_token(
    members: &Members<'_>,
    is_to_be_bound: bool,
) -> Result<AccessToken, (TokenErrorKind, &'static str)> {
    use TokenErrorKind::{InvalidAccessToken, UnsupportedTokenType};

    let token_type = members.get("token_type").map(|_| value(members, "token_type"));
    let is = |name: &str| match &token_type {
        Some(Some(Value::String(found))) => found.eq_ignore_ascii_case(name),
        _ => false,
    };
    let is_bound = is("DPoP");
    if is_bound != is_to_be_bound {
        let note = match is_to_be_bound {
            true => "one that is bound to a key (DPoP) was asked for",
            false => "only Bearer is, and DPoP where there is a key",
        };
        return Err((UnsupportedTokenType, note));
    }
    if !is_bound && !is("Bearer") && !matches!(token_type, None | Some(Some(Value::Null))) {
        return Err((UnsupportedTokenType, "only Bearer is, and DPoP where there is a key"));
    }
    let access_token = match value(members, "access_token") {
        None | Some(Value::Null) => return Err((InvalidAccessToken, "it is missing")),
        Some(Value::String(access_token)) => access_token,
        Some(_) => return Err((InvalidAccessToken, "it is not a string")),
    };
    let token =
        if is_bound { AccessToken::dpop(access_token) } else { AccessToken::new(access_token) };
    let mut token =
        token.map_err(|_| (InvalidAccessToken, "it is empty or can not be sent in a header"))?;

    if let Some(expires_in) = seconds(members, "expires_in") {
        token = token.with_expires_in(expires_in);
    }
    if let Some(refresh_in) = seconds(members, "refresh_in") {
        token = token.with_refresh_in(refresh_in);
    }
    if let Some(scope) = text(members, "scope") {
        token = token.with_scope(scope);
    }
    if let Some(refresh_token) = text(members, "refresh_token") {
        token = token.with_refresh_token(refresh_token);
    }
    Ok(token.with_members(extra(members)))
}

/// Returns the `error` of an error response, for callers that need it before they decode the rest.
pub(super) fn error(body: &[u8]) -> Option<String> {
    text(&serde_json::from_slice(body).ok()?, "error")
}

/// Returns the members that this crate has no name for.
fn extra<'a>(members: &'a Members<'_>) -> impl Iterator<Item = (&'a str, &'a RawValue)> {
    const NAMED: &[&str] =
        &["access_token", "expires_in", "refresh_in", "refresh_token", "scope", "token_type"];
    let members = members.iter().filter(|(name, _)| !NAMED.contains(&name.as_str()));
    members.map(|(name, value)| (name.as_str(), *value))
}

/// Returns whether a member is a string, even one that cannot be read.
pub(super) fn is_string(members: &Members<'_>, name: &str) -> bool {
    members.get(name).is_some_and(|raw| raw.get().starts_with('"'))
}

/// Returns the value of a member, if it can be read.
pub(super) fn value(members: &Members<'_>, name: &str) -> Option<Value> {
    serde_json::from_str(members.get(name)?.get()).ok()
}

fn text(members: &Members<'_>, name: &str) -> Option<String> {
    serde_json::from_str(members.get(name)?.get()).ok()
}

/// Returns a number of seconds, which servers write as a number, a float, or either in a string.
///
/// A negative number is zero, one that is larger than a year is a year, and anything else is absent.
fn seconds(members: &Members<'_>, name: &str) -> Option<Duration> {
    let raw = members.get(name)?.get();
    let text = serde_json::from_str::<String>(raw).unwrap_or_else(|_| raw.to_owned());
    let text = text.trim();
    // `parse` would accept words such as `inf`. A number that is out of range parses as infinity.
    if !text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte)) {
        return None;
    }
    let seconds: f64 = text.parse().ok()?;
    Some(Duration::from_secs_f64(seconds.clamp(0.0, MAX_LIFETIME.as_secs_f64())))
}

/// Returns the time of `Retry-After`, which is in seconds or a date (RFC 9110 section 10.2.3).
///
/// A date is compared with the server's own clock if the response has a `Date`.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok().map(str::trim);
    let date = |text: &str| httpdate::parse_http_date(text).ok();

    let value = text(RETRY_AFTER)?;
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number has room for is a very long time.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)).min(MAX_LIFETIME));
    }
    let now = text(DATE).and_then(date).unwrap_or(now);
    Some(date(value)?.duration_since(now).unwrap_or_default().min(MAX_LIFETIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds_of(json: &str) -> Option<f64> {
        let object = format!(r#"{{"n":{json}}}"#);
        let members = serde_json::from_str(&object).unwrap();
        seconds(&members, "n").map(|duration| duration.as_secs_f64())
    }

    // W3, alf 16
    #[test]
    fn odd_numbers_of_seconds_are_read_or_clamped_or_absent() {
        let year = Some(31_536_000.0);
        for (json, expected) in [
            ("3600", Some(3600.0)),
            ("3600.9", Some(3600.9)),
            (r#""3600""#, Some(3600.0)),
            (r#"" 3600.5 ""#, Some(3600.5)),
            (r#""+60""#, Some(60.0)),
            ("0", Some(0.0)),
            ("-5", Some(0.0)),
            (r#""-5""#, Some(0.0)),
            ("-1e400", Some(0.0)),
            ("1e400", year),
            (r#""1e400""#, year),
            ("1000000000000000000000000000000", year),
            ("1000000000000000000", year),
            ("null", None),
            ("true", None),
            ("[]", None),
            ("{}", None),
            (r#""""#, None),
            (r#""inf""#, None),
            (r#""-inf""#, None),
            (r#""nan""#, None),
            (r#""soon""#, None),
            (r#""12 parsecs""#, None),
        ] {
            assert_eq!(seconds_of(json), expected, "{json}");
        }
    }

    // W5
    #[test]
    fn retry_after_is_read_in_both_forms() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let read = |fields: &[(HeaderName, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.insert(name, value.parse().unwrap());
            }
            retry_after(&headers, now).map(|duration| duration.as_secs())
        };
        assert_eq!(read(&[(RETRY_AFTER, "120")]), Some(120));
        assert_eq!(read(&[(RETRY_AFTER, "0")]), Some(0));
        assert_eq!(read(&[(RETRY_AFTER, "99999999999999999999999")]), Some(31_536_000));
        assert_eq!(read(&[(RETRY_AFTER, "Sun, 06 Nov 1994 08:50:37 GMT")]), Some(60));
        assert_eq!(read(&[(RETRY_AFTER, "Sun, 06 Nov 1994 08:00:00 GMT")]), Some(0));
        assert_eq!(
            read(&[
                (RETRY_AFTER, "Sun, 06 Nov 1994 12:00:30 GMT"),
                (DATE, "Sun, 06 Nov 1994 12:00:00 GMT"),
            ]),
            Some(30)
        );
        for rubbish in ["", "soon", "-1", "1.5", "\u{fd}"] {
            assert_eq!(read(&[(RETRY_AFTER, rubbish)]), None, "{rubbish}");
        }
        assert_eq!(read(&[]), None);
    }
}
