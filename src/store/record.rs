//! Defines the JSON format of a stored token.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::{StoredValue, key};
use crate::credentials::request::{Cause, TokenRequest};
use crate::token::AccessToken;
use crate::util::byte_order_mark;
use crate::util::clock::Now;
use crate::util::limits::MAX_LIFETIME;

/// The largest size of a stored value.
const MAX_SIZE: usize = 2 << 20;

/// The size that is reserved for the data of a store, such as a nonce.
const MAX_OVERHEAD: usize = 1024;

/// The longest time to live of a record, because memcached keeps values no longer.
///
/// A store that removes a record early makes its token look older than it is.
const MAX_TIME_TO_LIVE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The time to live of a token without an expiry.
const TIME_TO_LIVE_WITHOUT_EXPIRY: Duration = Duration::from_secs(24 * 60 * 60);

/// A token from a store.
pub(super) struct Record {
    pub(super) token: AccessToken,
    /// The hash of the requested claims, if any.
    claims: Option<String>,
}

/// Encodes a record and returns it with its time to live.
///
/// Returns `None` for a token that is too large or is about to expire.
pub(super) fn encode(
    request: &TokenRequest,
    token: &AccessToken,
    now: Now,
) -> Option<(Vec<u8>, Duration)> {
    let lifetime = token.lifetime().or(request.credentials().lifetime_by_default());
    let lifetime = lifetime.map(|lifetime| lifetime.min(MAX_TIME_TO_LIVE));
    let time_to_live = match lifetime {
        Some(lifetime) => lifetime.checked_sub(now.since(token.requested_at_both()))?,
        None => TIME_TO_LIVE_WITHOUT_EXPIRY,
    };
    // Most stores cannot express less than a millisecond.
    let shortest = margin(lifetime.unwrap_or_default()).max(Duration::from_millis(1));
    if time_to_live < shortest {
        return None;
    }
    let ends = lifetime.map(|_| millis(since_epoch(now.wall) + time_to_live));
    let record = json!({
        "v": key::RECORD_VERSION,
        "access_token": token.secret(),
        "token_type": token.token_type(),
        "lifetime": lifetime.map(millis),
        "ends": ends,
        "refresh_in": token.refresh_in().map(millis),
        "scope": token.scope(),
        "claims": request.claims().map(key::hash_claims),
        "extra": token.all_extra(),
    });
    let record = record.to_string().into_bytes();
    // Check the size again, because numbers may be longer here than they were on the wire.
    (record.len() <= MAX_SIZE - MAX_OVERHEAD).then_some((record, time_to_live))
}

/// Decodes a record that a store returned for an operation started at `asked_at`.
///
/// The remaining life counts from `asked_at`, because part of it has passed when the answer
/// arrives. It is the shorter one of those that the store and the record state, because the clock
/// of a store may be set back. Returns `None` if the value is not a token record.
pub(super) fn decode(stored: &StoredValue, asked_at: Now) -> Option<Record> {
    if stored.value().len() > MAX_SIZE {
        return None;
    }
    let Value::Object(mut record) =
        serde_json::from_slice(byte_order_mark::skip(stored.value())).ok()?
    else {
        return None;
    };
    if record.get("v")?.as_u64()? != key::RECORD_VERSION {
        return None;
    }
    let access_token = record.get("access_token")?.as_str()?;
    let mut token = match record.get("token_type").map(Value::as_str) {
        None | Some(Some("Bearer")) => AccessToken::new(access_token).ok()?,
        Some(Some("DPoP")) => AccessToken::dpop(access_token).ok()?,
        Some(_) => return None,
    };
    if record.get("lifetime").is_some_and(|lifetime| !lifetime.is_null()) {
        let lifetime = duration(&record, "lifetime")?.min(MAX_LIFETIME);
        let ends = duration(&record, "ends");
        let by_record = ends.map(|ends| ends.saturating_sub(since_epoch(asked_at.wall)));
        let left = match (stored.time_to_live(), by_record) {
            // The clocks of two machines differ slightly, and cannot be read at the same time. The
            // store's time may be longer by half of the margin, and the other half keeps an expired
            // token from being returned.
            (Some(left), Some(by_record)) if by_record + margin(lifetime) / 2 < left => by_record,
            (Some(left), _) => left,
            (None, by_record) => by_record?,
        };
        let age = lifetime.saturating_sub(left);
        token = match asked_at.mono.checked_sub(age) {
            Some(requested_at) => token
                .with_expires_in(lifetime)
                .with_requested_at_both(asked_at.shifted_to(requested_at)),
            // The monotonic clock may not reach back that far, because it starts with the host.
            None => token.with_expires_in(left.min(lifetime)).with_requested_at_both(asked_at),
        };
    }
    if let Some(refresh_in) = duration(&record, "refresh_in") {
        token = token.with_refresh_in(refresh_in);
    }
    if let Some(scope) = record.get("scope").and_then(Value::as_str) {
        token = token.with_scope(scope);
    }
    let claims = record.get("claims").and_then(Value::as_str).map(str::to_owned);
    if let Some(Value::Object(extra)) = record.remove("extra") {
        token = token.with_all_extra(extra);
    }
    Some(Record { token: token.into_stored(), claims })
}

/// Encodes the mark that a token request has produced no token to share.
pub(super) fn encode_mark(time_to_live: Duration, now: Now) -> Vec<u8> {
    let ends = millis(since_epoch(now.wall) + time_to_live);
    json!({ "v": key::RECORD_VERSION, "nothing_to_share": true, "ends": ends })
        .to_string()
        .into_bytes()
}

/// Returns whether a stored value is a mark that is still recent.
///
/// A mark whose remaining time in the store exceeds `time_to_live` is recent only if the wall clock
/// confirms it, because the clock of the store may have been set back.
pub(super) fn is_mark(stored: &StoredValue, time_to_live: Duration, now: Now) -> bool {
    let Ok(Value::Object(record)) = serde_json::from_slice(byte_order_mark::skip(stored.value()))
    else {
        return false;
    };
    // A store may round to whole seconds.
    let latest = time_to_live + Duration::from_secs(1);
    let is_recent_by_record =
        || duration(&record, "ends").is_some_and(|end| end > since_epoch(now.wall));
    record.get("nothing_to_share") == Some(&Value::Bool(true))
        && (stored.time_to_live().is_some_and(|left| left <= latest) || is_recent_by_record())
}

impl Record {
    /// Returns whether the record answers `request`.
    ///
    /// A record does not answer the request if its token
    ///
    /// - is the token in the request, or older than that token,
    /// - is about to expire, or
    /// - has another type or other claims than requested.
    pub(super) fn answers(&self, request: &TokenRequest, now: Now) -> bool {
        let Self { token, claims } = self;
        // A cache would return an error for this type (W10), and nothing would replace the record.
        if token.is_dpop() != request.credentials().dpop_key().is_some() {
            return false;
        }
        if request.claims().is_some_and(|wanted| *claims != Some(key::hash_claims(wanted))) {
            return false;
        }
        if time_left(token, now).is_some_and(|left| left <= token_margin(token)) {
            return false;
        }
        let Some(shown) = request.token() else {
            return true;
        };
        if token.has_same_secret_as(shown) || self.is_older_than(shown) {
            return false;
        }
        request.cause() != Cause::Renewal || !self.ends_before(shown, now)
    }

    /// Returns whether the token was requested before `shown`.
    ///
    /// A store whose writes fail may keep a token that processes have replaced in the meantime. If
    /// a newer token was rejected, the older one is not valid either.
    fn is_older_than(&self, shown: &AccessToken) -> bool {
        // A store that rounds to whole seconds may make the token look slightly older than it is.
        self.token.lifetime().is_some()
            && self.token.requested_at() + Duration::from_secs(5) < shown.requested_at()
    }

    /// Returns whether the token does not outlive `shown`, and therefore does not renew it.
    fn ends_before(&self, shown: &AccessToken, now: Now) -> bool {
        // A store may round to whole seconds.
        let rounding = Duration::from_secs(1);
        time_left(&self.token, now).is_some_and(|left| {
            time_left(shown, now).is_none_or(|of_shown| left <= of_shown + rounding)
        })
    }
}

/// Returns the remaining life by both clocks, or `None` for a token without an expiry.
fn time_left(token: &AccessToken, now: Now) -> Option<Duration> {
    let lifetime = token.lifetime()?;
    Some(lifetime.saturating_sub(now.since(token.requested_at_both())))
}

/// Returns the [`margin`] of a token.
fn token_margin(token: &AccessToken) -> Duration {
    margin(token.lifetime().unwrap_or_default())
}

/// Returns how long before its expiry a token with this lifetime is no longer returned.
fn margin(lifetime: Duration) -> Duration {
    (lifetime / 10).min(Duration::from_secs(10))
}

fn duration(record: &Map<String, Value>, name: &str) -> Option<Duration> {
    record.get(name)?.as_u64().map(Duration::from_millis)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client_auth::ClientAuth;
    use crate::credentials::Credentials;

    const HOUR: Duration = Duration::from_secs(3600);
    const MINUTE: Duration = Duration::from_secs(60);

    fn request() -> TokenRequest {
        let auth = ClientAuth::client_secret_basic("client-id", "s3cr3t");
        TokenRequest::new(Credentials::new("https://auth.example.com/token", auth).unwrap())
    }

    /// Returns a token that was requested at `now` and lives for an hour.
    fn token(now: Now) -> AccessToken {
        AccessToken::new("token").unwrap().with_expires_in(HOUR).with_requested_at_both(now)
    }

    /// Returns the time after a suspend that began at `now`.
    fn resumed(now: Now, suspended: Duration) -> Now {
        Now { wall: now.wall + suspended, ..now }
    }

    // C5
    #[test]
    fn a_suspend_shortens_the_stored_life() {
        let start = Now::read();
        let encode = |now| encode(&request(), &token(start), now);
        let (_, time_to_live) = encode(resumed(start, 20 * MINUTE)).unwrap();
        assert_eq!(time_to_live, 40 * MINUTE);
        assert!(encode(resumed(start, HOUR)).is_none(), "the token has expired");
        let set_back = Now { wall: start.wall - HOUR, ..start };
        assert_eq!(encode(set_back).unwrap().1, HOUR);
    }

    // C5
    #[test]
    fn a_suspend_during_a_lookup_shortens_the_life() {
        let asked_at = Now::read();
        let (value, _) = encode(&request(), &token(asked_at), asked_at).unwrap();
        let timeless = StoredValue::new(value.clone());
        for stored in [timeless, StoredValue::new(value).with_time_to_live(HOUR)] {
            let record = decode(&stored, asked_at).unwrap();
            let left = |suspended| time_left(&record.token, resumed(asked_at, suspended));
            // A record rounds its expiry to milliseconds.
            assert!(left(20 * MINUTE).unwrap() <= 40 * MINUTE);
            assert!(left(20 * MINUTE).unwrap() > 39 * MINUTE);
            assert!(record.answers(&request(), resumed(asked_at, 20 * MINUTE)));
            assert!(!record.answers(&request(), resumed(asked_at, HOUR - MINUTE / 10)));
        }
    }

    // C5
    #[test]
    fn a_renewal_compares_lives_by_both_clocks() {
        let start = Now::read();
        let now = resumed(start, 20 * MINUTE);
        // The token in the request has lost 20 minutes to a suspend. The stored token has not.
        let (value, time_to_live) = encode(&request(), &token(now), now).unwrap();
        let stored = StoredValue::new(value).with_time_to_live(time_to_live - 10 * MINUTE);
        let record = decode(&stored, now).unwrap();
        let shown = AccessToken::new("shown").unwrap();
        let shown = shown.with_expires_in(HOUR).with_requested_at_both(start);
        assert!(!record.ends_before(&shown, now));
        let renewed = shown.with_requested_at_both(now);
        assert!(record.ends_before(&renewed, now));
    }
}
