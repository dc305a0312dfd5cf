//! Decodes token responses and error responses (RFC 6749 sections 5.1 and 5.2).

use std::time::Duration;

use http::response::Parts;
use serde_json::Value;
use serde_json::value::RawValue;

use super::dialect::Dialect;
use crate::error::{BOUND_TOKEN, TokenError, TokenErrorKind, UNBOUND_TOKEN};
use crate::protocol::json::{self, JsonResponse, Members, has_error, text, value};
use crate::token::AccessToken;
use crate::util::limits::MAX_LIFETIME;

/// The token type that a token request is answered with.
#[derive(Clone, Copy)]
pub(super) struct ExpectedToken<'a> {
    /// `true` if the credentials have a DPoP key.
    pub(super) must_be_bound: bool,
    pub(super) dialect: &'a Dialect,
}

/// Decodes a response to a token request.
pub(super) fn decode(
    head: Parts,
    body: &[u8],
    expected: ExpectedToken<'_>,
) -> Result<AccessToken, TokenError> {
    let response = JsonResponse::new(head, body);
    let status = response.head.status;
    if status.is_redirection() {
        return Err(response.refuse(TokenErrorKind::Redirect, ""));
    }
    let (kind, note) = match &response.members {
        None if status.is_success() => (TokenErrorKind::MalformedResponse, ""),
        Some(members) if status.is_success() && !has_error(members) => {
            match read_token(members, expected) {
                Ok(token) => return Ok(token),
                Err(refusal) => refusal,
            }
        }
        _ => (TokenErrorKind::ErrorResponse, ""),
    };
    Err(response.refuse(kind, note))
}

/// Reads the token in a success response. Fails with the kind and the details of the error.
fn read_token(
    members: &Members<'_>,
    ExpectedToken { must_be_bound, dialect }: ExpectedToken<'_>,
) -> Result<AccessToken, (TokenErrorKind, &'static str)> {
    use TokenErrorKind::{InvalidAccessToken, UnsupportedTokenType};

    let token_type = members.get("token_type").map(|_| value(members, "token_type"));
    let is_bearer = match &token_type {
        None | Some(Some(Value::Null)) => true,
        Some(Some(Value::String(found))) => dialect.is_bearer(found),
        _ => false,
    };
    let is_bound = matches!(&token_type, Some(Some(Value::String(found)))
        if found.eq_ignore_ascii_case("DPoP"));
    if is_bound != must_be_bound {
        let note = match must_be_bound {
            true => UNBOUND_TOKEN,
            false => BOUND_TOKEN,
        };
        return Err((UnsupportedTokenType, note));
    }
    if !is_bound && !is_bearer {
        let note = "neither Bearer nor a TokenEndpoint::token_type_alias";
        return Err((UnsupportedTokenType, note));
    }
    let access_token = match value(members, "access_token") {
        None | Some(Value::Null) => return Err((InvalidAccessToken, "access_token is missing")),
        Some(Value::String(access_token)) => access_token,
        Some(_) => return Err((InvalidAccessToken, "access_token is not a string")),
    };
    let token =
        if is_bound { AccessToken::dpop(access_token) } else { AccessToken::new(access_token) };
    let mut token = token
        .map_err(|_| (InvalidAccessToken, "access_token is empty or cannot be sent in a header"))?;

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

/// Returns the `error` of an error response, without decoding the rest.
pub(super) fn error(body: &[u8]) -> Option<String> {
    json::error_code(&json::members(body)?)
}

/// Returns the members that this crate has no name for.
fn extra<'a>(members: &'a Members<'_>) -> impl Iterator<Item = (&'a str, &'a RawValue)> {
    const NAMED: &[&str] =
        &["access_token", "expires_in", "refresh_in", "refresh_token", "scope", "token_type"];
    let members = members.iter().filter(|(name, _)| !NAMED.contains(&name.as_str()));
    members.map(|(name, value)| (name.as_str(), *value))
}

/// Returns a number of seconds, which may be an integer, a float or a string.
///
/// A negative number counts as zero, and a number above a year as a year. Any other value counts as
/// absent.
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
}
