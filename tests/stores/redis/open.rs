//! What `RedisStore::open` takes, and what it tells of it.

use redis::{ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisResult};
use tower_oauth2::store::{RedisStore, TokenStore};

use crate::support::{Redis, TlsRedis};

#[test]
fn a_url_that_is_of_no_use_is_an_error_without_it() {
    for (url, reason) in [
        ("s3cr3t", "is not valid"),
        ("http://s3cr3t", "is not valid"),
        ("redis://:s3cr3t@:x", "is not valid"),
        ("redis://:s3cr3t@", "is not valid"),
        ("rediss://:s3cr3t@host/#s3cr3t", "is not valid"),
        ("redis://:s3cr3t@0.0.0.0", "needs the address of a host, not a wildcard"),
        ("redis://host/s3cr3t", "needs a number as the database"),
        ("redis://host/?protocol=s3cr3t", "needs resp2 or resp3 as the protocol"),
    ] {
        let error = RedisStore::open(url).expect_err(url);
        assert_eq!(error.to_string(), format!("Redis URL: {reason}"), "{url}");
        assert_eq!(format!("{error:?}"), format!("ConfigError(Redis URL: {reason})"), "{url}");
    }
}

#[test]
fn a_missing_feature_for_tls_is_named() {
    /// A URL as the crate `redis` takes it without such a feature.
    struct WithoutTls;

    impl IntoConnectionInfo for WithoutTls {
        fn into_connection_info(self) -> RedisResult<ConnectionInfo> {
            let text = "can't connect with TLS, the feature is not enabled";
            Err((ErrorKind::InvalidClientConfig, text).into())
        }
    }

    let error = RedisStore::open(WithoutTls).unwrap_err().to_string();
    assert!(error.ends_with("enable a feature of the crate redis, such as tokio-rustls-comp"));
}

#[tokio::test]
async fn a_password_is_in_no_text() {
    let redis = Redis::start().await;
    redis.run::<()>("CONFIG SET requirepass other").await;
    let store = RedisStore::open(redis.url().replace("//", "//user:s3cr3t@")).unwrap();
    let error = store.get("key").await.unwrap_err();
    assert_eq!(error.to_string(), "Redis: authentication failed");
    assert_eq!(format!("{error:?}"), r#"Failure("authentication failed")"#);
    assert_eq!(format!("{store:?}"), r#"RedisStore { prefix: "tower-oauth2:", .. }"#);
}

#[tokio::test]
async fn a_store_is_created_while_nothing_listens() {
    let store = RedisStore::open("redis://127.0.0.1:1").unwrap();
    let error = store.get("key").await.unwrap_err();
    assert_eq!(error.to_string(), "Redis: the connection was refused");
}

#[tokio::test]
async fn a_certificate_of_an_own_authority_is_trusted_if_given() {
    let server = TlsRedis::start().await;
    server.redis.run::<()>("ACL SETUSER tokens on >s3cr3t ~* +@all").await;
    let untrusted = RedisStore::open(server.url_as("tokens:s3cr3t")).unwrap();
    assert!(untrusted.get("key").await.is_err());
    let store = server.open_as("tokens:s3cr3t");
    assert!(store.get("key").await.unwrap().is_none());
}
