//! `MemcachedStore` and servers that break the protocol.

use std::time::Duration;

use futures_util::poll;
use proptest::prelude::*;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tower_oauth2::store::{MemcachedStore, TokenStore};
use tower_oauth2_testkit::{FakeMemcached, opaque, property};

/// Two keys in the format of a layer.
const KEY: &str = "00000000000000000000000000000000000000000000000000000000000000aa";
const OTHER: &str = "00000000000000000000000000000000000000000000000000000000000000bb";

/// A limit that detects an operation that hangs.
const MINUTE: Duration = Duration::from_secs(60);

/// A text that no error may contain.
const TOKEN: &str = "t0k3n";

const MALFORMED: &str = "the answer of memcached is malformed";
const WRONG_ANSWER: &str = "memcached answered another command";
const OVERSIZED: &str = "the answer of memcached is larger than 2 MiB";
const TRUNCATED: &str = "the answer of memcached is truncated";
const REFUSED: &str = "memcached returned an error";

fn store(server: &FakeMemcached) -> MemcachedStore {
    MemcachedStore::open(server.url()).unwrap()
}

/// Returns the text of the error of `get`.
async fn get_error(store: &MemcachedStore) -> String {
    let answer = timeout(MINUTE, store.get(KEY)).await.expect("the operation does not hang");
    answer.expect_err("the operation fails").to_string()
}

#[tokio::test]
async fn no_operation_reads_the_answer_of_a_dropped_one() {
    let (asked, mut commands) = mpsc::unbounded_channel();
    let (late, go) = oneshot::channel::<()>();
    let go = std::sync::Mutex::new(Some(go));
    let server = FakeMemcached::new(move |_, mut peer| {
        let (asked, go) = (asked.clone(), go.lock().unwrap().take());
        async move {
            if let Some(go) = go {
                // The first connection has answered once, and then answers late.
                let command = peer.command().await.unwrap();
                peer.say(format!("EN O{}\r\n", opaque(&command))).await;
                let command = peer.command().await.unwrap();
                asked.send(()).unwrap();
                go.await.unwrap();
                // Also answers the next command, for any number.
                peer.say(format!("VA 5 t60 c1 O{}\r\nfirst\r\n", opaque(&command))).await;
                peer.say("VA 5 t60 c1 O3\r\nfirst\r\n").await;
            }
            while let Some(command) = peer.command().await {
                assert!(command.contains(OTHER));
                peer.say(format!("VA 5 t60 c1 O{}\r\nother\r\n", opaque(&command))).await;
            }
        }
    })
    .await;
    let store = store(&server);
    assert_eq!(store.get(KEY).await.unwrap(), None);
    {
        let mut first = Box::pin(store.get(KEY));
        tokio::select! {
            _ = &mut first => unreachable!("there is no answer yet"),
            _ = commands.recv() => {}
        }
        assert!(poll!(&mut first).is_pending());
    }
    late.send(()).unwrap();
    let stored = store.get(OTHER).await.unwrap().unwrap();
    assert_eq!(stored.value(), b"other");
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_malformed_answer_is_an_error_and_closes_the_connection() {
    let value = |head: &str| format!("{head}\r\n{TOKEN}\r\n").into_bytes();
    let line = |line: &str| format!("{line}\r\n").into_bytes();
    for (answer, expected) in [
        (value("VA 99999999999999999999999 t1 c1 O1"), MALFORMED),
        (value("VA 18446744073709551615 t1 c1 O1"), OVERSIZED),
        (value("VA 2097153 t1 c1 O1"), OVERSIZED),
        (value("VA -5 t1 c1 O1"), MALFORMED),
        (value("VA +5 t1 c1 O1"), MALFORMED),
        (value("VA  t1 c1 O1"), MALFORMED),
        (value("VA 5 c1 O1"), MALFORMED),
        (value("VA 5 t1 O1"), MALFORMED),
        (value("VA 5 t-2 c1 O1"), MALFORMED),
        (value("VA 5 t c1 O1"), MALFORMED),
        (value("VA 5 t1 c99999999999999999999999 O1"), MALFORMED),
        (value("VA 4 t1 c1 O1"), MALFORMED),
        (value("VA 5 t1 c1"), WRONG_ANSWER),
        (value("VA 5 t1 c1 O"), WRONG_ANSWER),
        (value("VA 5 t1 c1 O2"), WRONG_ANSWER),
        (value("EN O1"), WRONG_ANSWER),
        (line("EN O2"), WRONG_ANSWER),
        (line("EN x"), WRONG_ANSWER),
        (line("HD O1"), WRONG_ANSWER),
        (line("NF O1"), WRONG_ANSWER),
        (line(TOKEN), MALFORMED),
        (line(""), MALFORMED),
        (line("va 5 t1 c1 O1"), MALFORMED),
        (b"EN O1\n".to_vec(), MALFORMED),
        (b"\xff\xfe\r\n".to_vec(), MALFORMED),
        (line(&format!("SERVER_ERROR {TOKEN}")), REFUSED),
        (line(&format!("CLIENT_ERROR {TOKEN}")), REFUSED),
        (line("ERROR"), "memcached does not support meta commands: use version 1.6.18 or later"),
    ] {
        let text = String::from_utf8_lossy(&answer).into_owned();
        let server = FakeMemcached::once(answer, false).await;
        let store = store(&server);
        assert_eq!(get_error(&store).await, expected, "{text:?}");
        assert_eq!(store.get(KEY).await.unwrap(), None, "{text:?}");
        assert_eq!(server.connections(), 2, "{text:?}");
    }
}

#[tokio::test]
async fn a_truncated_answer_is_an_error() {
    for (answer, expected) in [
        ("E", TRUNCATED),
        ("EN O1\r", TRUNCATED),
        ("VA 5 t1 c1 O1", TRUNCATED),
        ("VA 5 t1 c1 O1\r\n", TRUNCATED),
        ("VA 5 t1 c1 O1\r\nt0k", TRUNCATED),
        ("VA 5 t1 c1 O1\r\nt0k3n\r", TRUNCATED),
        ("VA 2097152 t1 c1 O1\r\nt0k3n\r\n", TRUNCATED),
        ("", "the connection to memcached was lost"),
    ] {
        let server = FakeMemcached::once(answer, true).await;
        let store = store(&server);
        assert_eq!(get_error(&store).await, expected, "{answer:?}");
        assert_eq!(store.get(KEY).await.unwrap(), None);
    }
}

#[tokio::test]
async fn an_endless_line_is_not_read_completely() {
    let (done, mut ended) = mpsc::unbounded_channel();
    let server = FakeMemcached::new(move |_, mut peer| {
        let done = done.clone();
        async move {
            peer.command().await.unwrap();
            while peer.say([b'x'; 4096]).await {}
            done.send(()).unwrap();
        }
    })
    .await;
    assert_eq!(get_error(&store(&server)).await, MALFORMED);
    timeout(MINUTE, ended.recv()).await.expect("the connection is closed").unwrap();
}

#[tokio::test]
async fn replace_needs_compare_and_swap() {
    let server = FakeMemcached::new(|_, mut peer| async move {
        while let Some(command) = peer.command().await {
            assert!(command.starts_with("mg "), "nothing is written without a comparison");
            peer.say(format!("VA 5 t60 c0 O{}\r\nvalue\r\n", opaque(&command))).await;
        }
    })
    .await;
    let store = store(&server);
    for error in [
        store.replace(KEY, Some(b"value"), b"new", MINUTE).await.map(drop).unwrap_err(),
        store.lock(KEY, "value", MINUTE).await.map(drop).unwrap_err(),
        store.unlock(KEY, "value").await.unwrap_err(),
    ] {
        assert_eq!(
            error.to_string(),
            "memcached runs without compare-and-swap: start it without -C"
        );
    }
    assert_eq!(store.get(KEY).await.unwrap().unwrap().value(), b"value");
}

#[tokio::test]
async fn a_value_that_changes_before_a_write_is_kept() {
    // Reads return the value of the owner, and writes conflict.
    for late in ["EX", "NF"] {
        let server = FakeMemcached::new(move |_, mut peer| async move {
            while let Some(command) = peer.command().await {
                let number = opaque(&command);
                let answer = match command.split(' ').next().unwrap() {
                    "mg" => format!("VA 5 t60 c7 O{number}\r\nowner\r\n"),
                    "ms" if command.contains(" ME") => format!("NS O{number}\r\n"),
                    _ => {
                        assert!(command.contains(" C7 "), "{command}");
                        format!("{late} O{number}\r\n")
                    }
                };
                peer.say(answer).await;
            }
        })
        .await;
        let store = store(&server);
        assert!(!store.replace(KEY, Some(b"owner"), b"new", MINUTE).await.unwrap());
        assert!(!store.lock(KEY, "owner", MINUTE).await.unwrap());
        store.unlock(KEY, "owner").await.unwrap();
    }
}

#[tokio::test]
async fn an_operation_is_sent_at_most_twice() {
    let server = FakeMemcached::new(|_, mut peer| async move {
        let command = peer.command().await.unwrap();
        peer.say(format!("EN O{}\r\n", opaque(&command))).await;
        // Open long enough for the store to keep the connection.
        sleep(Duration::from_millis(5)).await;
    })
    .await;
    let store = store(&server);
    for _ in 0..20 {
        let _ = timeout(MINUTE, store.get(KEY)).await.expect("the operation ends");
    }
    assert!(server.connections() <= 20);
}

proptest! {
    #![proptest_config(property(128))]

    #[test]
    fn arbitrary_answers_cause_no_panic_and_no_hang(
        start in prop_oneof![
            Just(""), Just("VA "), Just("VA 3 "), Just("VA 3 t1 c1 O1\r\n"), Just("EN"), Just("HD O1")
        ],
        rest in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = FakeMemcached::once([start.as_bytes(), &rest].concat(), true).await;
            let store = store(&server);
            let answer = timeout(MINUTE, store.get(KEY)).await.expect("get ends");
            if let Ok(Some(stored)) = answer {
                prop_assert_eq!(stored.value().len(), 3);
            }
            Ok(())
        })?;
    }
}
