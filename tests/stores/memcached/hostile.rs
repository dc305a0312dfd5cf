use std::time::Duration;

use futures_util::poll;
use proptest::prelude::*;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tower_oauth2::store::TokenStore;

use super::support::{Fake, KEY, MINUTE, Memcached, OTHER, get_error, opaque};

/// What must be in no error.
const TOKEN: &str = "t0k3n";

const MALFORMED: &str = "memcached's answer can not be understood";
const OUT_OF_STEP: &str = "memcached's answer is to another command";
const OVERSIZED: &str = "memcached's answer is larger than 2 MiB";
const BROKEN_OFF: &str = "memcached's answer broke off";
const REFUSED: &str = "memcached answered with an error";

#[tokio::test]
async fn an_operation_that_was_dropped_leaves_its_answer_to_nobody() {
    let (asked, mut commands) = mpsc::unbounded_channel();
    let (late, go) = oneshot::channel::<()>();
    let go = std::sync::Mutex::new(Some(go));
    let server = Fake::new(move |_, mut peer| {
        let (asked, go) = (asked.clone(), go.lock().unwrap().take());
        async move {
            if let Some(go) = go {
                // The first connection has answered once, is known to be good, and then is late.
                let command = peer.command().await.unwrap();
                peer.say(format!("EN O{}\r\n", opaque(&command))).await;
                let command = peer.command().await.unwrap();
                asked.send(()).unwrap();
                go.await.unwrap();
                // Answers for the next command too, whatever number it has.
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
    let store = server.store();
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
async fn an_operation_may_be_dropped_at_any_moment() {
    let server = Memcached::start().await;
    let store = server.store();
    let value = vec![b'x'; 256 * 1024];
    store.set(KEY, &value, MINUTE).await.unwrap();
    store.set(OTHER, b"other", MINUTE).await.unwrap();
    for polls in 0..60 {
        let mut dropped = Box::pin(store.get(KEY));
        for _ in 0..polls {
            if poll!(&mut dropped).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(dropped);
        let mut dropped = Box::pin(store.set(KEY, &value, MINUTE));
        for _ in 0..polls {
            if poll!(&mut dropped).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(dropped);
        assert_eq!(store.get(OTHER).await.unwrap().unwrap().value(), b"other", "{polls}");
    }
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_a_typed_error_and_the_end_of_its_connection() {
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
        (value("VA 5 t1 c1"), OUT_OF_STEP),
        (value("VA 5 t1 c1 O"), OUT_OF_STEP),
        (value("VA 5 t1 c1 O2"), OUT_OF_STEP),
        (value("EN O1"), OUT_OF_STEP),
        (line("EN O2"), OUT_OF_STEP),
        (line("EN x"), OUT_OF_STEP),
        (line("HD O1"), OUT_OF_STEP),
        (line("NF O1"), OUT_OF_STEP),
        (line(TOKEN), MALFORMED),
        (line(""), MALFORMED),
        (line("va 5 t1 c1 O1"), MALFORMED),
        (b"EN O1\n".to_vec(), MALFORMED),
        (b"\xff\xfe\r\n".to_vec(), MALFORMED),
        (line(&format!("SERVER_ERROR {TOKEN}")), REFUSED),
        (line(&format!("CLIENT_ERROR {TOKEN}")), REFUSED),
        (line("ERROR"), "memcached does not know the command: its meta commands are needed"),
    ] {
        let text = String::from_utf8_lossy(&answer).into_owned();
        let server = Fake::once(answer, false).await;
        let store = server.store();
        assert_eq!(get_error(&store).await, expected, "{text:?}");
        assert_eq!(store.get(KEY).await.unwrap(), None, "{text:?}");
        assert_eq!(server.connections(), 2, "{text:?}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_a_typed_error() {
    for (answer, expected) in [
        ("E", BROKEN_OFF),
        ("EN O1\r", BROKEN_OFF),
        ("VA 5 t1 c1 O1", BROKEN_OFF),
        ("VA 5 t1 c1 O1\r\n", BROKEN_OFF),
        ("VA 5 t1 c1 O1\r\nt0k", BROKEN_OFF),
        ("VA 5 t1 c1 O1\r\nt0k3n\r", BROKEN_OFF),
        ("VA 2097152 t1 c1 O1\r\nt0k3n\r\n", BROKEN_OFF),
        ("", "the connection to memcached was lost"),
    ] {
        let server = Fake::once(answer, true).await;
        let store = server.store();
        assert_eq!(get_error(&store).await, expected, "{answer:?}");
        assert_eq!(store.get(KEY).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_line_without_end_is_not_read_to_its_end() {
    let (done, mut ended) = mpsc::unbounded_channel();
    let server = Fake::new(move |_, mut peer| {
        let done = done.clone();
        async move {
            peer.command().await.unwrap();
            while peer.say([b'x'; 4096]).await {}
            done.send(()).unwrap();
        }
    })
    .await;
    assert_eq!(get_error(&server.store()).await, MALFORMED);
    timeout(MINUTE, ended.recv()).await.expect("the connection is closed").unwrap();
}

#[tokio::test]
async fn a_server_that_does_not_compare_is_not_trusted_with_a_replacement() {
    let server = Fake::new(|_, mut peer| async move {
        while let Some(command) = peer.command().await {
            assert!(command.starts_with("mg "), "nothing is written without a comparison");
            peer.say(format!("VA 5 t60 c0 O{}\r\nvalue\r\n", opaque(&command))).await;
        }
    })
    .await;
    let store = server.store();
    for error in [
        store.replace(KEY, Some(b"value"), b"new", MINUTE).await.map(drop).unwrap_err(),
        store.lock(KEY, "value", MINUTE).await.map(drop).unwrap_err(),
        store.unlock(KEY, "value").await.unwrap_err(),
    ] {
        assert_eq!(error.to_string(), "memcached runs without compare-and-swap");
    }
    assert_eq!(store.get(KEY).await.unwrap().unwrap().value(), b"value");
}

#[tokio::test]
async fn what_changes_between_a_look_and_a_write_stays() {
    // Looks find the owner's, writes come too late.
    for late in ["EX", "NF"] {
        let server = Fake::new(move |_, mut peer| async move {
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
        let store = server.store();
        assert!(!store.replace(KEY, Some(b"owner"), b"new", MINUTE).await.unwrap());
        assert!(!store.lock(KEY, "owner", MINUTE).await.unwrap());
        store.unlock(KEY, "owner").await.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_closes_every_connection_is_asked_twice_at_most() {
    let server = Fake::new(|_, mut peer| async move {
        let command = peer.command().await.unwrap();
        peer.say(format!("EN O{}\r\n", opaque(&command))).await;
        // Long enough for the connection to be kept.
        sleep(Duration::from_millis(5)).await;
    })
    .await;
    let store = server.store();
    for _ in 0..20 {
        let _ = timeout(MINUTE, store.get(KEY)).await.expect("it ends");
    }
    assert!(server.connections() <= 20);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_answer_makes_it_panic_or_hang(
        start in prop_oneof![
            Just(""), Just("VA "), Just("VA 3 "), Just("VA 3 t1 c1 O1\r\n"), Just("EN"), Just("HD O1")
        ],
        rest in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = Fake::once([start.as_bytes(), &rest].concat(), true).await;
            let store = server.store();
            let answer = timeout(MINUTE, store.get(KEY)).await.expect("it does not hang");
            if let Ok(Some(stored)) = answer {
                prop_assert_eq!(stored.value().len(), 3);
            }
            Ok(())
        })?;
    }
}
