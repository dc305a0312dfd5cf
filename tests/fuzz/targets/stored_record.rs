//! Fuzzes the value in a store. It is a token for the request, or a miss after which it is
//! replaced.
//!
//! It never leads to an error or to the rejected token.
//!
//! The first line consists of words. A number is the time to live that the store reports, in
//! milliseconds. `renewal` and `rejected` are causes to replace `shown-token`, and `claims`
//! requests claims. With `locked`, another process holds the lease. The rest is the value. `<n>` in
//! it, with an optional sign, is the time `n` milliseconds from now, in milliseconds since the
//! epoch.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokio::time::Instant;
use tower::{BoxError, Layer, ServiceExt, service_fn};
use tower_oauth2::source::Cause;
#[cfg(feature = "encryption")]
use tower_oauth2::store::{EncryptedStore, EncryptionKey};
use tower_oauth2::store::{StoredValue, TokenStore, TokenStoreLayer};
use tower_oauth2::{AccessToken, TokenRequest};

use super::support::*;

const CLAIMS: &str = r#"{"access_token":{"nbf":{"essential":true}}}"#;

struct Case {
    time_to_live: Option<Duration>,
    cause: Option<Cause>,
    has_claims: bool,
    is_locked: bool,
    value: Vec<u8>,
}

impl Case {
    fn read(data: &[u8]) -> Self {
        let (first, value) = match data.iter().position(|byte| *byte == b'\n') {
            Some(at) => (&data[..at], &data[at + 1..]),
            None => (data, &[][..]),
        };
        let first = String::from_utf8_lossy(first);
        let words: Vec<_> = first.split_ascii_whitespace().collect();
        Self {
            time_to_live: words
                .iter()
                .find_map(|word| word.parse().ok())
                .map(Duration::from_millis),
            cause: match words.as_slice() {
                words if words.contains(&"renewal") => Some(Cause::Renewal),
                words if words.contains(&"rejected") => Some(Cause::Rejected),
                _ => None,
            },
            has_claims: words.contains(&"claims"),
            is_locked: words.contains(&"locked"),
            value: with_times(&planted(value)),
        }
    }

    fn request(&self) -> TokenRequest {
        let mut request = TokenRequest::new(credentials());
        if let Some(cause) = self.cause {
            request = request.with_token(hour("shown-token"), cause);
        }
        if self.has_claims {
            request = request.with_claims(CLAIMS);
        }
        request
    }
}

/// Replaces `<n>` with milliseconds since the epoch.
fn with_times(text: &[u8]) -> Vec<u8> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| *byte == b'<') {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let end = rest.iter().take(24).position(|byte| *byte == b'>');
        let number =
            end.and_then(|end| std::str::from_utf8(&rest[1..end]).ok()?.parse::<i64>().ok());
        match (number, end) {
            (Some(number), Some(end)) => {
                let time = i128::try_from(now).unwrap() + i128::from(number);
                out.extend_from_slice(time.max(0).to_string().as_bytes());
                rest = &rest[end + 1..];
            }
            _ => {
                out.push(b'<');
                rest = &rest[1..];
            }
        }
    }
    out.extend_from_slice(rest);
    out
}

/// A store with the case's value under every key, until another value is stored.
#[derive(Clone)]
struct Found {
    case: Arc<Case>,
    written: Arc<Mutex<HashMap<String, Vec<u8>>>>,
}

impl Found {
    fn stored(&self, key: &str) -> StoredValue {
        if let Some(written) = self.written.lock().unwrap().get(key) {
            return StoredValue::new(written.clone()).with_time_to_live(Duration::from_secs(1800));
        }
        let stored = StoredValue::new(self.case.value.clone());
        match self.case.time_to_live {
            Some(time_to_live) => stored.with_time_to_live(time_to_live),
            None => stored,
        }
    }
}

impl TokenStore for Found {
    async fn get(&self, key: &str) -> Result<Option<StoredValue>, BoxError> {
        Ok(Some(self.stored(key)))
    }

    async fn set(&self, key: &str, value: &[u8], time_to_live: Duration) -> Result<(), BoxError> {
        assert!(time_to_live >= Duration::from_millis(1) && time_to_live <= YEAR);
        assert!(value.len() < 2 << 20);
        self.written.lock().unwrap().insert(key.to_owned(), value.to_vec());
        Ok(())
    }

    async fn lock(&self, _: &str, _: &str, _: Duration) -> Result<bool, BoxError> {
        Ok(!self.case.is_locked)
    }
}

pub fn run(data: &[u8]) {
    let case = Arc::new(Case::read(data));
    let found = || Found { case: case.clone(), written: Arc::default() };
    block_on(async {
        let began = Instant::now();
        let (store, fetches) = (found(), Arc::new(AtomicUsize::new(0)));
        let token = ask(store.clone(), &fetches, case.request()).await;
        // S5: callers wait for one and a half leases.
        assert!(began.elapsed() <= Duration::from_secs(16), "the request exceeds its timeout");
        assert_token(&token);
        if fetches.load(Ordering::Relaxed) == 0 {
            assert_answers(&case, &token);
        } else {
            // S6: a value that is not a record is replaced by a record.
            assert_eq!(token.secret(), "fresh-token");
            if !is_record(&case) {
                let again = ask(store, &fetches, TokenRequest::new(credentials())).await;
                assert_eq!((again.secret(), fetches.load(Ordering::Relaxed)), ("fresh-token", 1));
                let (life, again) = (token.lifetime().unwrap(), again.lifetime().unwrap());
                assert!(again <= life + Duration::from_secs(1));
            }
        }
        // S7: an unencrypted value is ignored.
        #[cfg(feature = "encryption")]
        {
            let key: EncryptionKey = format!("1:{}", "07".repeat(32)).parse().unwrap();
            let fetches = Arc::new(AtomicUsize::new(0));
            let store = Arc::new(EncryptedStore::new(found(), key));
            let token = ask(store.clone(), &fetches, case.request()).await;
            assert_eq!((token.secret(), fetches.load(Ordering::Relaxed)), ("fresh-token", 1));
            let again = ask(store, &fetches, TokenRequest::new(credentials())).await;
            assert_eq!((again.secret(), fetches.load(Ordering::Relaxed)), ("fresh-token", 1));
        }
    });
}

/// Returns a token through a store, and counts the calls of the source.
async fn ask(
    store: impl TokenStore,
    fetches: &Arc<AtomicUsize>,
    request: TokenRequest,
) -> AccessToken {
    let fetches = fetches.clone();
    let source = service_fn(move |_: TokenRequest| {
        fetches.fetch_add(1, Ordering::Relaxed);
        async { Ok::<_, BoxError>(hour("fresh-token")) }
    });
    let layer = TokenStoreLayer::new(store).layer(source);
    layer.oneshot(request).await.expect("a store is never the reason for an error")
}

/// Returns whether the value is a valid record of a token.
fn is_record(case: &Case) -> bool {
    let Ok(json) = serde_json::from_slice::<Value>(&case.value) else { return false };
    json["v"] == 1 && json["access_token"].is_string()
}

fn assert_answers(case: &Case, token: &AccessToken) {
    let json: Value = serde_json::from_slice(&case.value).expect("a record is JSON");
    assert_eq!(json["v"], 1);
    assert_eq!(json["access_token"], token.secret());
    assert_eq!(json["scope"].as_str(), token.scope());
    assert_eq!(token.refresh_token(), None);
    assert!(token.time_left().is_none_or(|left| !left.is_zero()), "the token has expired");
    assert!(token.time_left() <= token.lifetime());
    match case.time_to_live {
        // S3: the store's time to live counts, or else the expiry in the record.
        Some(left) if token.lifetime().is_some() => {
            assert!(token.time_left().unwrap() <= left);
        }
        None if token.lifetime().is_some() => {
            let ends = Duration::from_millis(json["ends"].as_u64().unwrap_or_default());
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            // The wall clock is not paused, so it has advanced a little.
            let left = ends.saturating_sub(now) + Duration::from_secs(60);
            assert!(token.time_left().unwrap() <= left);
        }
        _ => {}
    }
    if case.cause.is_some() {
        assert_ne!(token.secret(), "shown-token", "the rejected token is returned");
    }
    if case.has_claims {
        assert!(json["claims"].is_string(), "the token was requested with other claims");
    }
}
