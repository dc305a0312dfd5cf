//! What is stored: a token and what is known of it, as JSON.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{Stored, key};
use crate::clock::wall_clock;
use crate::request::{Cause, TokenRequest};
use crate::token::{AccessToken, MAX_LIFETIME};

/// Of the record's layout and of what goes into its key.
pub(super) const VERSION: u64 = 1;

/// No value is longer.
const MAX_SIZE: usize = 2 << 20;

/// Left for what a store may put around a record.
const ROOM: usize = 1024;

/// How long a token is kept at most. It is what memcached can keep it for: a store that ends a record before its time
/// makes the token in it look older than it is.
const LONGEST_KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How long a token is kept that does not end by itself.
const KEPT_WITHOUT_END: Duration = Duration::from_secs(24 * 60 * 60);

/// A token out of a store.
pub(super) struct Record {
    pub(super) token: AccessToken,
    /// The claims that it was asked for with.
    claims: Option<String>,
}

/// The bytes of a record, and for how long to keep them; none for a token that is over, and for one
/// that came with more than is to be stored.
pub(super) fn encode(request: &TokenRequest, token: &AccessToken) -> Option<(Vec<u8>, Duration)> {
    let lifetime = token.lifetime().or(request.credentials().lifetime_unless_told());
    let lifetime = lifetime.map(|lifetime| lifetime.min(LONGEST_KEPT));
    let time_to_live = match lifetime {
        Some(lifetime) => lifetime.checked_sub(token.requested_at().elapsed())?,
        None => KEPT_WITHOUT_END,
    };
    // What is shorter than a millisecond can not be told to most stores.
    if time_to_live < Duration::from_millis(1) {
        return None;
    }
    let ends = lifetime.map(|_| millis(since_epoch() + time_to_live));
    let record = json!({
        "v": VERSION,
        "access_token": token.secret(),
        "token_type": token.token_type(),
        "lifetime": lifetime.map(millis),
        "ends": ends,
        "refresh_in": token.refresh_in().map(millis),
        "scope": token.scope(),
        "claims": request.claims().map(key::of_claims),
        "extra": token.all_extra(),
    });
    let record = record.to_string().into_bytes();
    // Numbers may be longer here than they were on the wire.
    (record.len() <= MAX_SIZE - ROOM).then_some((record, time_to_live))
}

/// The token in what a store answered with that was asked at that time; none for anything else. What was left then
/// may be less by now.
pub(super) fn decode(stored: &Stored, asked_at: Instant) -> Option<Record> {
    if stored.value().len() > MAX_SIZE {
        return None;
    }
    let Value::Object(mut record) = serde_json::from_slice(stored.value()).ok()? else {
        return None;
    };
    if record.get("v")?.as_u64()? != VERSION {
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
        let left = match stored.time_to_live() {
            Some(left) => left,
            None => duration(&record, "ends")?.saturating_sub(since_epoch()),
        };
        let age = lifetime.saturating_sub(left);
        token = match asked_at.checked_sub(age) {
            Some(requested_at) => token.with_expires_in(lifetime).with_requested_at(requested_at),
            // On a clock that does not reach back that far.
            None => token.with_expires_in(left.min(lifetime)).with_requested_at(asked_at),
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

/// That a token request has failed, as it is told for `time_to_live`.
pub(super) fn encode_failure(time_to_live: Duration) -> Vec<u8> {
    let ends = millis(since_epoch() + time_to_live);
    json!({ "v": VERSION, "failed": true, "ends": ends }).to_string().into_bytes()
}

/// Whether a token request has failed just now.
pub(super) fn is_failure(stored: &Stored) -> bool {
    let Ok(Value::Object(record)) = serde_json::from_slice(stored.value()) else {
        return false;
    };
    let ends = duration(&record, "ends");
    let is_told = stored.time_to_live().is_some() || ends.is_some_and(|end| end > since_epoch());
    is_told && record.get("failed") == Some(&Value::Bool(true))
}

impl Record {
    /// Whether it answers `request`: not with the token that it shows, not with an older one than that, not with
    /// one that is about to end, not with one that has other claims.
    pub(super) fn answers(&self, request: &TokenRequest) -> bool {
        let Self { token, claims } = self;
        if request.claims().is_some_and(|wanted| *claims != Some(key::of_claims(wanted))) {
            return false;
        }
        if token.expires_at().is_some_and(|end| end <= Instant::now() + margin(token)) {
            return false;
        }
        request.token().is_none_or(|shown| {
            !token.has_same_secret_as(shown)
                && !self.is_older_than(shown)
                && !self.is_outlived_by(shown, request)
        })
    }

    /// A store that can not be written to may keep a token for long after others have followed it. If one of
    /// those has been rejected, it has too.
    fn is_older_than(&self, shown: &AccessToken) -> bool {
        // Stores that count in whole seconds may make it look a little older than it is.
        self.token.lifetime().is_some()
            && self.token.requested_at() + Duration::from_secs(5) < shown.requested_at()
    }

    /// A renewal is for a longer life.
    fn is_outlived_by(&self, shown: &AccessToken, request: &TokenRequest) -> bool {
        request.cause() == Cause::Renewal
            && self.token.expires_at().is_some_and(|end| {
                // Stores may count in whole seconds.
                shown.expires_at().is_none_or(|shown| end <= shown + Duration::from_secs(1))
            })
    }
}

/// What is left of a life that is of no use any more.
fn margin(token: &AccessToken) -> Duration {
    let lifetime = token.lifetime().unwrap_or_default();
    (lifetime / 10).min(Duration::from_secs(10))
}

fn duration(record: &Map<String, Value>, name: &str) -> Option<Duration> {
    record.get(name)?.as_u64().map(Duration::from_millis)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn since_epoch() -> Duration {
    wall_clock().duration_since(UNIX_EPOCH).unwrap_or_default()
}
