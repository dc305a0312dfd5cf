use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::time::{Instant, advance, sleep};
use tower::{BoxError, Layer, ServiceExt};
use tower_oauth2::TokenRequest;
use tower_oauth2::store::{MemoryStore, TokenStore, TokenStoreLayer};

use super::double::{Act, Double, Op, Plain};
use super::*;

fn wall_clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis().try_into().unwrap()
}

/// Returns the token for a stored value, and the number of token requests. The first result is with
/// a time to live, the second without.
async fn found(value: impl AsRef<[u8]>) -> [(AccessToken, usize); 2] {
    let key = key_of(&credentials()).await;
    let (knows, does_not) = (MemoryStore::new(), Plain::default());
    knows.set(&key, value.as_ref(), secs(3600)).await.unwrap();
    does_not.set(&key, value.as_ref(), secs(3600)).await.unwrap();
    [through(knows).await, through(does_not).await]
}

async fn through(store: impl TokenStore + Clone) -> (AccessToken, usize) {
    let source = ScriptedSource::tokens(|n| hour(n + 100));
    let token = ask(&TokenStoreLayer::new(store.clone()), &source).await.unwrap();
    let fetches = source.count();
    // The store now has a token.
    let again = ask(&TokenStoreLayer::new(store), &source).await.unwrap();
    assert_eq!(again.secret(), token.secret());
    assert_eq!(source.count(), fetches);
    (token, fetches)
}

// S6, alf 27
#[tokio::test(start_paused = true)]
async fn malformed_values_are_replaced() {
    let token = |token: &str| json!({ "v": 1, "access_token": token }).to_string();
    let with = |name: &str, value: Value| {
        let mut record = json!({ "v": 1, "access_token": "t", "lifetime": 3_600_000 });
        record["ends"] = json!(wall_clock() + 3_600_000);
        record[name] = value;
        record.to_string()
    };
    let deep = "[".repeat(500_000);
    for value in [
        String::new(),
        "no json".to_owned(),
        "null".to_owned(),
        "[]".to_owned(),
        "\"text\"".to_owned(),
        "{}".to_owned(),
        r#"{"v":1"#.to_owned(),
        r#"{"access_token":"t"}"#.to_owned(),
        r#"{"v":1}"#.to_owned(),
        with("v", json!(2)),
        with("v", json!(0)),
        with("v", json!("1")),
        with("access_token", json!(7)),
        token(""),
        token("a\r\nb"),
        token("a b"),
        token("\u{7f}"),
        token("tökén"),
        with("lifetime", json!(-5)),
        with("lifetime", json!(0)),
        with("lifetime", json!(0.5)),
        with("lifetime", json!("3600000")),
        with("lifetime", json!([])),
        "x".repeat(2 << 20),
        deep,
        with("extra", json!({ "much": "x".repeat(2 << 20) })),
        with("extra", json!(vec![0; 1 << 20])),
    ] {
        for (got, fetches) in found(&value).await {
            let start: String = value.chars().take(80).collect();
            assert_eq!((got.secret(), fetches), ("token-101", 1), "{start}");
        }
    }
    for (got, fetches) in found(b"\xff\xfe\0").await {
        assert_eq!((got.secret(), fetches), ("token-101", 1));
    }
}

// S6
#[tokio::test(start_paused = true)]
async fn a_byte_order_mark_before_a_record_is_skipped() {
    let ends = wall_clock() + 3_600_000;
    let record = json!({ "v": 1, "access_token": "t", "lifetime": 3_600_000, "ends": ends });
    for (token, asked) in found(format!("\u{feff}{record}")).await {
        assert_eq!((token.secret(), asked), ("t", 0));
    }
}

// S6
#[tokio::test(start_paused = true)]
async fn malformed_optional_members_are_ignored() {
    for (name, value) in [
        ("scope", json!(7)),
        ("scope", Value::Null),
        ("extra", json!([])),
        ("extra", json!("text")),
        ("claims", json!({})),
        ("refresh_in", json!(-1)),
        ("refresh_in", json!("soon")),
        ("refresh_in", json!(u64::MAX)),
        ("unheard_of", json!([[], {}])),
        ("extra", json!({ "much": "x".repeat(1 << 20) })),
    ] {
        let mut record = json!({ "v": 1, "access_token": "t", "lifetime": 7_200_000 });
        record["ends"] = json!(wall_clock() + 3_600_000);
        record[name] = value;
        for (got, fetches) in found(record.to_string()).await {
            assert_eq!((got.secret(), fetches), ("t", 0), "{name}");
        }
    }
}

// S3, S6, alf 28: setting the clock of a store back prolongs its values.
#[tokio::test(start_paused = true)]
async fn the_shorter_lifetime_of_store_and_record_counts() {
    let key = key_of(&credentials()).await;
    let (minute, hour) = (60_000, 3_600_000);
    let now = wall_clock();
    for (ends, kept, left) in [
        (now + 5 * hour, secs(600), Some(secs(600))),
        (u64::MAX, secs(600), Some(secs(600))),
        (now + 30 * minute, secs(90 * 60), Some(secs(30 * 60))),
        (now + 30 * minute, secs(50 * 60), Some(secs(30 * 60))),
        (now - minute, secs(59 * 60), None),
        (0, secs(600), None),
    ] {
        let store = MemoryStore::new();
        let record = json!({ "v": 1, "access_token": "t", "lifetime": hour, "ends": ends });
        store.set(&key, record.to_string().as_bytes(), kept).await.unwrap();
        let (got, fetches) = through(store).await;
        assert_eq!(fetches, usize::from(left.is_none()), "{ends} {kept:?}");
        let Some(left) = left else { continue };
        let lives = got.time_left().unwrap();
        // The wall clock advances during the test.
        assert!(lives <= left && lives + secs(30) > left, "{ends} {kept:?}: {lives:?}");
        assert_eq!((got.secret(), got.lifetime()), ("t", Some(secs(3600))));
    }
}

// S5: setting the clock of a store back prolongs its marks.
#[tokio::test(start_paused = true)]
async fn a_mark_expires_although_the_store_clock_was_set_back() {
    let failing =
        ScriptedSource::new(|_, _| async { Err::<AccessToken, _>(BoxError::from("down")) });
    let store = Double::default();
    ask(&TokenStoreLayer::new(store.clone()), &failing).await.unwrap_err();
    let mark = store.log().into_iter().find(|entry| entry.op == Op::Set).unwrap().key;
    let mut value: Value =
        serde_json::from_slice(store.inner.get(&mark).await.unwrap().unwrap().value()).unwrap();
    value["ends"] = (wall_clock() - 60_000).into();
    store.inner.set(&mark, value.to_string().as_bytes(), secs(3600)).await.unwrap();
    let key = key_of(&credentials()).await;
    assert!(store.lock(&key, "other", secs(2)).await.unwrap());
    let start = Instant::now();
    ask(&TokenStoreLayer::new(store), &ScriptedSource::tokens(hour)).await.unwrap();
    assert!(start.elapsed() >= secs(2), "{:?}", start.elapsed());
}

// S6, W10: the credentials determine the type of the token.
#[cfg(feature = "jwt")]
#[tokio::test(start_paused = true)]
async fn a_record_with_another_token_type_is_a_miss() {
    let bound = credentials().dpop(tower_oauth2::jwt::DpopKey::generate().unwrap());
    let record = |token_type: &str| {
        json!({ "v": 1, "access_token": "stored", "token_type": token_type }).to_string()
    };
    for (credentials, token_type) in
        [(bound.clone(), "Bearer"), (credentials(), "DPoP"), (credentials(), "mac"), (bound, "mac")]
    {
        let store = MemoryStore::new();
        let key = key_of(&credentials).await;
        store.set(&key, record(token_type).as_bytes(), secs(3600)).await.unwrap();
        let is_bound = credentials != crate::support::credentials();
        let source = ScriptedSource::new(move |_, _| async move {
            let make = if is_bound { AccessToken::dpop } else { AccessToken::new };
            Ok(make("fetched".to_owned())?.with_expires_in(secs(3600)))
        });
        for _ in 0..2 {
            let layer = TokenStoreLayer::new(store.clone());
            let tokens =
                tower_oauth2::Tokens::new(credentials.clone(), layer.layer(source.clone()));
            assert_eq!(secret(&tokens).await, "fetched", "{token_type}");
        }
        assert_eq!(source.count(), 1, "the record was replaced");
    }
}

// S3, S6
#[tokio::test(start_paused = true)]
async fn a_wrong_wall_clock_costs_at_most_one_token_request() {
    let key = key_of(&credentials()).await;
    let hours = 3_600_000;
    for (ends, expected) in [
        (json!(0), None),
        (json!(wall_clock() - 5 * hours), None),
        (json!("soon"), None),
        (json!(-1), None),
        (Value::Null, None),
        // At most the lifetime of the token.
        (json!(wall_clock() + 5 * hours), Some(secs(3600))),
        (json!(u64::MAX), Some(secs(3600))),
    ] {
        let store = Plain::default();
        let record = json!({ "v": 1, "access_token": "t", "lifetime": hours, "ends": ends });
        store.set(&key, record.to_string().as_bytes(), secs(0)).await.unwrap();
        let (got, fetches) = through(store).await;
        assert_eq!(fetches, usize::from(expected.is_none()), "{ends}");
        if let Some(left) = expected {
            assert_eq!(got.time_left(), Some(left));
        }
    }
}

// S3, S6
#[tokio::test(start_paused = true)]
async fn a_stored_life_is_limited_to_the_lifetime_and_a_year() {
    let key = key_of(&credentials()).await;
    let (hour, year) = (3600, 365 * 86_400);
    for (lifetime, kept, left) in [
        // The store keeps the value for longer than the lifetime.
        (hour, 100 * hour, hour),
        (1000 * year, hour, hour),
        (u64::MAX / 1000, hour, hour),
        (1000 * year, 1000 * year, year),
    ] {
        let store = MemoryStore::new();
        let record = json!({
            "v": 1, "access_token": "t", "lifetime": lifetime * 1000, "ends": u64::MAX,
        });
        store.set(&key, record.to_string().as_bytes(), secs(kept)).await.unwrap();
        let (got, fetches) = through(store).await;
        assert_eq!((got.secret(), fetches), ("t", 0));
        let lives = got.time_left().unwrap();
        assert_eq!(lives, secs(left), "{lifetime} {kept}");
    }
}

// S3
#[tokio::test(start_paused = true)]
async fn a_token_that_is_about_to_expire_is_a_miss() {
    let key = key_of(&credentials()).await;
    for (lifetime, left, fetches) in
        [(3600, ms(10_000), 1), (3600, ms(10_001), 0), (20, ms(2_000), 1), (20, ms(2_001), 0)]
    {
        let store = MemoryStore::new();
        let record = json!({ "v": 1, "access_token": "t", "lifetime": lifetime * 1000 });
        store.set(&key, record.to_string().as_bytes(), left).await.unwrap();
        assert_eq!(through(store).await.1, fetches, "{lifetime} {left:?}");
    }
}

// S3
#[tokio::test(start_paused = true)]
async fn all_data_of_a_token_is_stored() {
    let layer = TokenStoreLayer::new(MemoryStore::new());
    let source = ScriptedSource::tokens(|n| {
        hour(n)
            .with_refresh_in(secs(1800))
            .with_scope("read write")
            .with_extra("instance_url", "https://x.test")
            .with_extra("much", json!({ "a": [1, null, "ü\u{0}\"\\"], "b": 1e300 }))
    });
    let fetched = ask(&layer, &source).await.unwrap();
    advance(secs(100)).await;
    let found = ask(&layer, &source).await.unwrap();
    assert_eq!(source.count(), 1);
    assert_eq!(found.secret(), fetched.secret());
    assert_eq!(found.header_value(), fetched.header_value());
    assert!(found.header_value().is_sensitive());
    assert_eq!(found.lifetime(), fetched.lifetime());
    assert_eq!(found.time_left(), fetched.time_left());
    assert_eq!(found.refresh_in(), fetched.refresh_in());
    assert_eq!(found.scope(), Some("read write"));
    for name in ["instance_url", "much", "none"] {
        assert_eq!(found.extra(name), fetched.extra(name));
    }
}

// S3
#[tokio::test(start_paused = true)]
async fn a_stored_lifetime_counts_from_the_start_of_the_attempt() {
    let store = MemoryStore::new();
    let source = ScriptedSource::new(|n, _| async move {
        let token = hour(n);
        sleep(secs(5)).await;
        Ok(token)
    });
    ask(&TokenStoreLayer::new(store.clone()), &source).await.unwrap();
    let found = ask(&TokenStoreLayer::new(store), &source).await.unwrap();
    assert_eq!(found.time_left(), Some(secs(3595)));
    assert_eq!(source.count(), 1);
}

// S3, alf 29
#[tokio::test(start_paused = true)]
async fn a_token_without_an_expiry_is_stored_for_a_day() {
    let store = MemoryStore::new();
    let source = ScriptedSource::tokens(|n| AccessToken::new(format!("token-{n}")).unwrap());
    ask(&TokenStoreLayer::new(store.clone()), &source).await.unwrap();
    let key = key_of(&credentials()).await;
    let left = store.get(&key).await.unwrap().unwrap().time_to_live();
    assert_eq!(left, Some(secs(86_400)));
    let found = ask(&TokenStoreLayer::new(store.clone()), &source).await.unwrap();
    assert_eq!((found.secret(), found.lifetime()), ("token-1", None));
    sleep(secs(86_400)).await;
    assert_eq!(ask(&TokenStoreLayer::new(store), &source).await.unwrap().secret(), "token-2");
}

// S3, S4: memcached keeps values for at most 30 days, and a token must not look older than it is.
#[tokio::test(start_paused = true)]
async fn a_token_is_stored_for_at_most_thirty_days() {
    let day = 86_400;
    let store = MemoryStore::new();
    let source = ScriptedSource::tokens(move |n| lasting(n, secs(60 * day)));
    let handles = [process(store.clone(), &source), process(store.clone(), &source)];
    let tokens = [handles[0].get().await.unwrap(), handles[1].get().await.unwrap()];
    assert_eq!(tokens[0].lifetime(), Some(secs(60 * day)));
    assert_eq!(tokens[1].lifetime(), Some(secs(30 * day)));
    let left = |token: &AccessToken| token.time_left().unwrap();
    assert_eq!(left(&tokens[0]) - left(&tokens[1]), secs(30 * day));
    let key = key_of(&credentials()).await;
    let kept = store.get(&key).await.unwrap().unwrap();
    assert_eq!(kept.time_to_live(), Some(secs(30 * day)));
    assert_eq!(source.count(), 1);
}

// S3: part of the remaining life passes while the store answers.
#[tokio::test(start_paused = true)]
async fn a_slow_answer_does_not_prolong_a_token() {
    let store = Double::default();
    let source = ScriptedSource::tokens(hour);
    ask(&TokenStoreLayer::new(store.clone()), &source).await.unwrap();
    store.becomes(|_| Act::WorkThenWait(secs(5)));
    let layer = TokenStoreLayer::new(store).deadline(secs(10));
    let found = ask(&layer, &source).await.unwrap();
    assert_eq!((found.time_left(), source.count()), (Some(secs(3595)), 1));
}

// S3
#[tokio::test(start_paused = true)]
async fn default_expires_in_applies_to_stored_tokens() {
    let store = MemoryStore::new();
    let layer = TokenStoreLayer::new(store.clone());
    let source = ScriptedSource::tokens(|n| AccessToken::new(format!("token-{n}")).unwrap());
    let request = || TokenRequest::new(credentials().default_expires_in(secs(600)));
    layer.layer(source.clone()).oneshot(request()).await.unwrap();
    let key = key_of(&credentials()).await;
    let left = store.get(&key).await.unwrap().unwrap().time_to_live();
    assert_eq!(left, Some(secs(600)));
    advance(secs(100)).await;
    let found = layer.layer(source.clone()).oneshot(request()).await.unwrap();
    assert_eq!((found.secret(), found.lifetime()), ("token-1", Some(secs(600))));
    assert_eq!(found.time_left(), Some(secs(500)));
}

// S3, S6
#[tokio::test(start_paused = true)]
async fn expired_and_oversized_tokens_are_not_stored() {
    type Make = fn(usize) -> AccessToken;
    let over: Make = |n| lasting(n, secs(0));
    let soon: Make = |n| lasting(n, std::time::Duration::from_micros(999));
    let big: Make = |n| hour(n).with_scope("x".repeat(2 << 20));
    for make in [over, soon, big] {
        let store = Plain::default();
        let layer = TokenStoreLayer::new(store.clone());
        let source = ScriptedSource::tokens(make);
        assert_eq!(ask(&layer, &source).await.unwrap().secret(), "token-1");
        assert_eq!(ask(&layer, &source).await.unwrap().secret(), "token-2");
        // The store has only the mark.
        let values = store.values();
        let texts: Vec<_> = values.iter().map(|value| String::from_utf8_lossy(value)).collect();
        assert!(texts.iter().all(|text| !text.contains("token-")), "{texts:?}");
    }
}
