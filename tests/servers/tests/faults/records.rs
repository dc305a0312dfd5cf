use std::time::{SystemTime, UNIX_EPOCH};

use redis::cmd;
use serde_json::{Value, json};
use tower_oauth2_testkit::servers::Redis;

use super::{Load, Trace};

const DAY: u64 = 24 * 60 * 60 * 1000;

/// Returns a server with the record of a valid token, and its key.
async fn with_record() -> (Redis, Load, String) {
    let redis = Redis::start().await;
    let load = Load::new(&redis);
    assert_eq!(load.round().await, 1);
    let key = key(&redis).await;
    (redis, load, key)
}

/// Returns the only key in the server.
async fn key(redis: &Redis) -> String {
    let keys = redis.keys().await;
    let tokens: Vec<_> = keys.into_iter().filter(|key| key.ends_with(":token")).collect();
    let [key] = &tokens[..] else { panic!("{tokens:?}") };
    key.clone()
}

async fn record(redis: &Redis, key: &str) -> Vec<u8> {
    redis.run(&format!("GET {key}")).await
}

async fn put(redis: &Redis, key: &str, record: &[u8], milliseconds: u64) {
    let mut command = cmd("SET");
    command.arg(key).arg(record).arg("PX").arg(milliseconds);
    command.query_async::<()>(&mut redis.connect().await).await.unwrap();
}

/// Returns the number of token requests of a process without a token.
async fn newcomer(redis: &Redis, load: &Load) -> usize {
    let before = load.token_requests();
    load.client(redis).call().await;
    load.token_requests() - before
}

fn with(record: &[u8], name: &str, value: impl Into<Value>) -> Vec<u8> {
    let mut record: Value = serde_json::from_slice(record).unwrap();
    assert!(record.get(name).is_some(), "{name}");
    record[name] = value.into();
    record.to_string().into_bytes()
}

#[tokio::test]
async fn a_truncated_record_is_replaced() {
    let (redis, load, key) = with_record().await;
    let whole = record(&redis, &key).await;
    assert_eq!(newcomer(&redis, &load).await, 0, "the whole record is good");
    for length in 0..whole.len() {
        let (trace, _guard) = Trace::start();
        put(&redis, &key, &whole[..length], DAY).await;
        assert_eq!(newcomer(&redis, &load).await, 1, "{length}");
        let warned = "the stored value is not a token record; the next token replaces it";
        assert!(trace.lines().iter().any(|line| line.contains(warned)), "{length}");
        assert_eq!(newcomer(&redis, &load).await, 0, "{length}: the record was replaced");
    }
}

#[tokio::test]
async fn a_changed_record_costs_at_most_one_token_request() {
    let (redis, load, key) = with_record().await;
    let whole = record(&redis, &key).await;
    for n in 0..whole.len() {
        for flip in [0x01, 0x20, 0x80] {
            let mut record = whole.clone();
            record[n] ^= flip;
            put(&redis, &key, &record, DAY).await;
            let asked = newcomer(&redis, &load).await;
            assert!(asked <= 1, "{}", String::from_utf8_lossy(&record));
        }
    }
}

#[tokio::test]
async fn malformed_records_are_replaced() {
    let (redis, load, key) = with_record().await;
    let whole = record(&redis, &key).await;
    let deep = "[".repeat(100_000);
    for malformed in [
        &b"\xff\xfe\x00"[..],
        b"null",
        b"[]",
        b"{}",
        deep.as_bytes(),
        &vec![b'a'; 1 << 20],
        // The record of a later version, and one without a version.
        &with(&whole, "v", 2),
        &with(&whole, "v", -1),
        &with(&whole, "v", "1"),
        &with(&whole, "access_token", ""),
        &with(&whole, "access_token", "to\nken"),
        &with(&whole, "access_token", Value::Null),
        &with(&whole, "access_token", json!({})),
    ] {
        let (trace, _guard) = Trace::start();
        put(&redis, &key, malformed, DAY).await;
        let short = String::from_utf8_lossy(&malformed[..malformed.len().min(80)]).into_owned();
        assert_eq!(newcomer(&redis, &load).await, 1, "{short}");
        assert!(trace.lines().iter().any(|line| line.contains("is not a token record")), "{short}");
        assert_eq!(newcomer(&redis, &load).await, 0, "{short}: the record was replaced");
    }
}

#[tokio::test]
async fn values_of_other_types_are_replaced() {
    let (redis, load, key) = with_record().await;
    for command in ["RPUSH KEY a", "HSET KEY a b", "SET KEY a"] {
        redis.run::<()>(&format!("DEL {key}")).await;
        redis.run::<redis::Value>(&command.replace("KEY", &key)).await;
        let (trace, _guard) = Trace::start();
        assert_eq!(newcomer(&redis, &load).await, 1, "{command}");
        let warned = "replaced a value in Redis that is not a token";
        assert!(trace.lines().iter().any(|line| line.contains(warned)), "{command}");
        assert_eq!(newcomer(&redis, &load).await, 0, "{command}: the record was replaced");
        assert_eq!(load.renewal().await, 0, "{command}: all other caches use the new record");
    }
}

#[tokio::test]
async fn malformed_optional_members_are_harmless() {
    let (redis, load, key) = with_record().await;
    let whole = record(&redis, &key).await;
    let years = |years: u64| years * 365 * DAY;
    for (name, value) in [
        ("lifetime", json!(years(1_000))),
        ("lifetime", json!(u64::MAX)),
        ("ends", json!(u64::MAX)),
        ("ends", json!(-1)),
        ("refresh_in", json!(u64::MAX)),
        ("refresh_in", json!("soon")),
        ("scope", json!(["a"])),
        ("claims", json!(1)),
        ("extra", json!([])),
    ] {
        for milliseconds in [DAY, years(1_000)] {
            put(&redis, &key, &with(&whole, name, value.clone()), milliseconds).await;
            let asked = newcomer(&redis, &load).await;
            assert!(asked == 0, "{name}: {value}, {milliseconds}: {asked}");
        }
    }
    // A token with such a life can be rejected.
    put(&redis, &key, &with(&whole, "lifetime", years(1_000)), years(1_000)).await;
    let newcomer = load.client(&redis);
    newcomer.clone().call().await;
    newcomer.reject().await;
    let before = load.token_requests();
    newcomer.call().await;
    assert_eq!(load.token_requests() - before, 1);
}

#[tokio::test]
async fn an_older_token_does_not_replace_a_rejected_one() {
    let (redis, load, key) = with_record().await;
    let first = record(&redis, &key).await;
    let left: u64 = redis.run(&format!("PTTL {key}")).await;
    let client = load.client(&redis);
    for n in 1..=3 {
        client.clone().call().await;
        assert_eq!(load.token_requests(), n);
        assert_eq!(client.refused(), 0, "the older one was not tried");
        client.reject().await;
        // The older record is still there, because writes to the store have failed.
        put(&redis, &key, &first, left).await;
    }
}

// S1
#[tokio::test]
async fn the_shorter_lifetime_of_redis_and_the_record_counts() {
    let (redis, load, key) = with_record().await;
    let whole = record(&redis, &key).await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = u64::try_from(now.as_millis()).unwrap();
    for ends in [now + DAY / 2, now + 3 * DAY] {
        let record = with(&whole, "ends", ends);
        put(&redis, &key, &record, DAY).await;
        assert_eq!(
            newcomer(&redis, &load).await,
            0,
            "the token is valid by the record and by Redis"
        );
        // A token that lives for a day is not used in its last ten seconds.
        put(&redis, &key, &record, 9_000).await;
        assert_eq!(newcomer(&redis, &load).await, 1, "the token ends soon by Redis");
    }
    for ends in [now - DAY / 2, now] {
        put(&redis, &key, &with(&whole, "ends", ends), DAY).await;
        assert_eq!(newcomer(&redis, &load).await, 1, "the token has ended by the record");
    }
}

/// A server whose clock is set back by an hour keeps keys an hour longer.
// S1
#[tokio::test]
async fn an_expired_token_stays_expired_if_the_clock_is_set_back() {
    let (redis, load, key) = with_record().await;
    let whole = record(&redis, &key).await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let ended = u64::try_from(now.as_millis()).unwrap() - 1_000;
    put(&redis, &key, &with(&whole, "ends", ended), DAY).await;
    redis.run::<()>(&format!("PEXPIRE {key} {}", 60 * 60 * 1000)).await;
    assert_eq!(newcomer(&redis, &load).await, 1);
    assert_eq!(newcomer(&redis, &load).await, 0, "the expired token was replaced");
}
