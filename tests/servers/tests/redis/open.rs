//! `RedisStore::open`: accepted URLs and its errors.

use tower_oauth2::store::{RedisStore, TokenStore};
use tower_oauth2_testkit::servers::{Redis, TlsRedis};

#[test]
fn an_error_quotes_a_malformed_url_without_its_secrets() {
    let format = "must be redis://host:port/database";
    for (url, problem, shown) in [
        ("s3cr3t", format, ""),
        ("http://host", format, ": http://host"),
        ("redis://:s3cr3t@:x", format, ": redis://...@..."),
        ("redis://:s3cr3t@", format, ": redis://...@"),
        ("rediss://:s3cr3t@host/#s3cr3t", format, ": rediss://...@host/#..."),
        (
            "redis://:s3cr3t@0.0.0.0",
            "must contain the address of a host, not a wildcard",
            ": redis://...@0.0.0.0",
        ),
        ("redis://host/one", "must have a number as its database", ": redis://host/one"),
        (
            "redis://host/?protocol=s3cr3t",
            "must have resp2 or resp3 as its protocol",
            ": redis://host/?...",
        ),
    ] {
        let error = RedisStore::open(url).expect_err(url);
        let text = format!("Redis URL {problem}{shown}");
        assert_eq!(error.to_string(), text, "{url}");
        assert_eq!(format!("{error:?}"), format!("ConfigError({text})"), "{url}");
    }
}

#[tokio::test]
async fn error_and_debug_texts_do_not_contain_the_password() {
    let redis = Redis::start().await;
    redis.run::<()>("CONFIG SET requirepass other").await;
    let store = RedisStore::open(redis.url().replace("//", "//user:s3cr3t@")).unwrap();
    let error = store.get("key").await.unwrap_err();
    assert_eq!(error.to_string(), "Redis: authentication failed");
    assert_eq!(format!("{error:?}"), r#"Failure("authentication failed")"#);
    assert_eq!(format!("{store:?}"), r#"RedisStore { prefix: "tower-oauth2:", .. }"#);
}

#[tokio::test]
async fn a_store_can_be_created_while_the_server_is_down() {
    let store = RedisStore::open("redis://127.0.0.1:1").unwrap();
    let error = store.get("key").await.unwrap_err();
    assert_eq!(error.to_string(), "Redis: the connection was refused");
}

#[tokio::test]
async fn a_custom_authority_is_trusted_if_configured() {
    let server = TlsRedis::start().await;
    server.redis.run::<()>("ACL SETUSER tokens on >s3cr3t ~* +@all").await;
    let untrusted = RedisStore::open(server.url_as("tokens:s3cr3t")).unwrap();
    assert!(untrusted.get("key").await.is_err());
    let store = server.open_as("tokens:s3cr3t");
    assert!(store.get("key").await.unwrap().is_none());
}
