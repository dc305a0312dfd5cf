use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, advance, sleep, timeout};

use super::{builder, secret, secs};
use crate::support::*;

/// A runtime with a clock of its own, which starts now and is moved by hand.
fn paused() -> Runtime {
    Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

// C3
#[test]
fn a_fetch_on_a_runtime_that_is_not_polled_is_replaced_in_a_second() {
    // With the token request begun, and with the task never polled; for one waiter, and for three.
    for (is_begun, waiters) in [(true, 1), (true, 3), (false, 1), (false, 3)] {
        let case = format!("begun: {is_begun}, {waiters} waiters");
        let source = Source::new(|n, _| async move {
            sleep(Duration::from_millis(50)).await;
            Ok(hour(n))
        });
        let cache = builder(&source).build();
        let stopped = paused();
        stopped.block_on(async {
            let mut caller = tokio_test::task::spawn(cache.get());
            assert!(caller.poll().is_pending());
            if is_begun {
                settle().await;
            }
        });
        let before = usize::from(is_begun);
        assert_eq!(source.count(), before);

        let expected = format!("token-{}", before + 1);
        let driven = paused();
        driven.block_on(async {
            let start = Instant::now();
            let callers: Vec<_> = (0..waiters)
                .map(|_| {
                    let cache = cache.clone();
                    tokio::spawn(async move { cache.get().await })
                })
                .collect();
            for caller in callers {
                let got = timeout(secs(60), caller).await.expect(&case).unwrap();
                assert_eq!(got.unwrap().secret(), expected, "{case}");
            }
            let waited = start.elapsed();
            let about_a_second = Duration::from_millis(750)..=Duration::from_millis(1500);
            assert!(about_a_second.contains(&waited), "{case}: {waited:?}");
            assert_eq!(source.count(), before + 1, "{case}: one token request for all");
        });

        // The result of the first fetch comes late and changes nothing.
        stopped.block_on(async { sleep(secs(1)).await });
        assert_eq!(driven.block_on(cache.get()).unwrap().secret(), expected, "{case}");
        assert!(source.count() <= 2, "{case}");
    }
}

// C3, C6
#[test]
fn a_hit_replaces_a_renewal_that_shows_no_sign_of_life() {
    for is_begun in [true, false] {
        let source = Source::new(|n, _| async move {
            if n > 1 {
                sleep(Duration::from_millis(50)).await;
            }
            Ok(lasting(n, secs(1000)))
        });
        let cache = builder(&source).build();
        let stopped = paused();
        stopped.block_on(async {
            cache.get().await.unwrap();
            advance(secs(801)).await;
            let mut hit = tokio_test::task::spawn(cache.get());
            assert!(hit.poll().is_ready());
            if is_begun {
                settle().await;
            }
        });
        let before = 1 + usize::from(is_begun);
        assert_eq!(source.count(), before);

        let driven = paused();
        let expected = format!("token-{}", before + 1);
        driven.block_on(async {
            advance(secs(801)).await;
            // Hits every 100 ms use the old token until the new one is there.
            for _ in 0..30 {
                let mut hit = tokio_test::task::spawn(cache.get());
                assert!(hit.poll().is_ready(), "a hit waits for nothing");
                sleep(Duration::from_millis(100)).await;
            }
            assert_eq!(secret(&cache).await, expected, "begun: {is_begun}");
            assert_eq!(source.count(), before + 1);
        });
        stopped.block_on(async { sleep(secs(1)).await });
        assert_eq!(driven.block_on(cache.get()).unwrap().secret(), expected);
    }
}
