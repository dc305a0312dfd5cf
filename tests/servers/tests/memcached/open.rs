//! URLs, prefixes and keys.

use tower_oauth2::store::{MemcachedStore, TokenStore};
use tower_oauth2_testkit::servers::{Memcached, OnSocket};

use super::{KEY, MINUTE, until};

fn store() -> MemcachedStore {
    MemcachedStore::open("memcached://localhost").unwrap()
}

#[test]
fn a_malformed_url_is_a_configuration_error() {
    for url in [
        "",
        "localhost:11211",
        "redis://localhost:11211",
        "memcached://",
        "memcached://:11211",
        "memcached://localhost:",
        "memcached://localhost:port",
        "memcached://localhost:+1",
        "memcached://localhost:0",
        "memcached://localhost:65536",
        "memcached://user:secret@localhost:11211",
        "memcached://localhost:11211/path",
        "memcached://localhost/path",
        "memcached://local host:11211",
        "memcached://local\r\nhost:11211",
        "memcached://::1:11211",
        "unix:",
        "unix:/run/memcached.sock",
        "unix://",
        "unix://run/memcached.sock",
    ] {
        let error = MemcachedStore::open(url).expect_err(url);
        assert!(error.to_string().starts_with("memcached URL must "), "{error}");
    }
    for url in [
        "memcached://localhost:11211",
        "memcached://localhost:11211/",
        "memcached://127.0.0.1:1",
        "memcached://[::1]:11211",
        "unix:///run/memcached.sock",
    ] {
        assert!(MemcachedStore::open(url).is_ok(), "{url}");
    }
    for (url, address) in [
        ("memcached://localhost", "memcached://localhost:11211"),
        ("memcached://[::1]", "memcached://[::1]:11211"),
    ] {
        let store = format!("{:?}", MemcachedStore::open(url).unwrap());
        assert!(store.contains(&format!("address: {address},")), "{store}");
    }
}

#[test]
fn an_invalid_prefix_is_a_configuration_error() {
    for prefix in ["a b", "a\r\nflush_all\r\n", "a\0", "a\t", "caf\u{e9}:", "\u{7f}"] {
        let error = store().prefix(prefix).expect_err(prefix);
        let shown = prefix.escape_debug();
        let text = format!("key prefix must consist of visible ASCII characters: {shown}");
        assert_eq!(error.to_string(), text);
    }
    let error = store().prefix("p".repeat(181)).unwrap_err();
    let shown = "p".repeat(77);
    assert_eq!(
        error.to_string(),
        format!("key prefix must not be longer than 180 bytes: {shown}...")
    );
    assert!(store().prefix("").is_ok());
}

#[tokio::test]
async fn the_longest_prefix_fits_into_a_key() {
    let server = Memcached::start().await;
    let store = server.store().prefix("p".repeat(180)).unwrap();
    store.set(KEY, b"value", MINUTE).await.unwrap();
    assert_eq!(store.get(KEY).await.unwrap().unwrap().value(), b"value");
    assert!(store.lock(KEY, "owner", MINUTE).await.unwrap());
    assert!(!store.lock(KEY, "other", MINUTE).await.unwrap());
}

#[tokio::test]
async fn a_key_cannot_contain_a_command() {
    let server = Memcached::start().await;
    let store = server.store();
    store.set(KEY, b"value", MINUTE).await.unwrap();
    for key in ["x\r\nflush_all\r\n", "x y", "x\n", &"x".repeat(251)] {
        for error in [
            store.get(key).await.map(drop).unwrap_err(),
            store.set(key, b"", MINUTE).await.unwrap_err(),
            store.replace(key, None, b"", MINUTE).await.map(drop).unwrap_err(),
            store.lock(key, "owner", MINUTE).await.map(drop).unwrap_err(),
            store.unlock(key, "owner").await.unwrap_err(),
        ] {
            assert_eq!(error.to_string(), "the key is not valid in memcached");
        }
    }
    assert_eq!(store.get(KEY).await.unwrap().unwrap().value(), b"value");
}

#[tokio::test]
async fn stores_with_different_prefixes_share_nothing() {
    let server = Memcached::start().await;
    let (one, other) =
        (server.store().prefix("one:").unwrap(), server.store().prefix("other:").unwrap());
    one.set(KEY, b"value", MINUTE).await.unwrap();
    assert!(one.lock(KEY, "one", MINUTE).await.unwrap());
    assert_eq!(other.get(KEY).await.unwrap(), None);
    assert!(other.lock(KEY, "other", MINUTE).await.unwrap());
}

#[tokio::test]
async fn a_server_on_a_unix_socket_is_supported() {
    let server = OnSocket::start();
    let path = &server.path;
    let store = MemcachedStore::open(format!("unix://{path}")).unwrap();
    until(async || store.set(KEY, b"value", MINUTE).await.is_ok()).await;
    assert_eq!(store.get(KEY).await.unwrap().unwrap().value(), b"value");
    assert_eq!(
        format!("{store:?}"),
        format!("MemcachedStore {{ address: unix://{path}, prefix: \"tower-oauth2:\" }}")
    );
}
