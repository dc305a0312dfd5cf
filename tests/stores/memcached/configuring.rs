use tower_oauth2::store::{MemcachedStore, TokenStore};

use super::support::{KEY, MINUTE, Memcached, OnSocket, until};

fn store() -> MemcachedStore {
    MemcachedStore::new("localhost:11211").unwrap()
}

#[test]
fn an_address_that_is_none_is_a_configuration_error() {
    for address in [
        "",
        "localhost",
        ":11211",
        "localhost:",
        "localhost:port",
        "localhost:0",
        "localhost:65536",
        "memcached://localhost:11211",
        "user:secret@localhost:11211",
        "local host:11211",
        "local\r\nhost:11211",
        "::1:11211",
        "unix:",
    ] {
        let error = MemcachedStore::new(address).expect_err(address);
        assert!(error.to_string().starts_with("memcached address: "), "{error}");
    }
    for address in ["localhost:11211", "127.0.0.1:1", "[::1]:11211", "unix:/run/memcached.sock"] {
        assert!(MemcachedStore::new(address).is_ok(), "{address}");
    }
}

#[test]
fn a_prefix_that_makes_no_key_is_a_configuration_error() {
    for prefix in ["a b", "a\r\nflush_all\r\n", "a\0", "a\t", "caf\u{e9}:", "\u{7f}"] {
        let error = store().prefix(prefix).expect_err(prefix);
        let text = "memcached prefix: has something else than visible ASCII characters";
        assert_eq!(error.to_string(), text);
    }
    let error = store().prefix(&"p".repeat(181)).unwrap_err();
    assert_eq!(error.to_string(), "memcached prefix: is longer than 180 bytes");
    assert!(store().prefix("").is_ok());
}

#[tokio::test]
async fn keys_are_as_long_as_the_server_takes() {
    let server = Memcached::start().await;
    let store = server.store().prefix(&"p".repeat(180)).unwrap();
    store.set(KEY, b"value", MINUTE).await.unwrap();
    assert_eq!(store.get(KEY).await.unwrap().unwrap().value(), b"value");
    assert!(store.lock(KEY, "owner", MINUTE).await.unwrap());
    assert!(!store.lock(KEY, "other", MINUTE).await.unwrap());
}

#[tokio::test]
async fn a_key_can_not_smuggle_a_command() {
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
            assert_eq!(error.to_string(), "the key is not one for memcached");
        }
    }
    assert_eq!(store.get(KEY).await.unwrap().unwrap().value(), b"value");
}

#[tokio::test]
async fn stores_with_other_prefixes_do_not_meet() {
    let server = Memcached::start().await;
    let (one, other) =
        (server.store().prefix("one:").unwrap(), server.store().prefix("other:").unwrap());
    one.set(KEY, b"value", MINUTE).await.unwrap();
    assert!(one.lock(KEY, "one", MINUTE).await.unwrap());
    assert_eq!(other.get(KEY).await.unwrap(), None);
    assert!(other.lock(KEY, "other", MINUTE).await.unwrap());
}

#[tokio::test]
async fn a_server_on_a_unix_socket_is_as_good() {
    let server = OnSocket::start();
    let path = &server.path;
    let store = MemcachedStore::new(&format!("unix:{path}")).unwrap();
    until(async || store.set(KEY, b"value", MINUTE).await.is_ok()).await;
    assert_eq!(store.get(KEY).await.unwrap().unwrap().value(), b"value");
    assert_eq!(
        format!("{store:?}"),
        format!("MemcachedStore {{ address: unix:{path}, prefix: \"tower-oauth2:\" }}")
    );
}
