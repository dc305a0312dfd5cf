//! C3: runtimes that are not polled.

use tokio::time::{Instant, advance, sleep, timeout};

use crate::support::*;

// C3
#[test]
fn a_fetch_on_a_stopped_runtime_is_replaced_in_a_second() {
    // The token request has begun, or its task was never polled. One or three callers wait.
    for (is_begun, waiters) in [(true, 1), (true, 3), (false, 1), (false, 3)] {
        let case = format!("begun: {is_begun}, {waiters} waiters");
        let source = ScriptedSource::new(|n, _| async move {
            sleep(ms(50)).await;
            Ok(hour(n))
        });
        let tokens = tokens(&source);
        let stopped = paused_runtime();
        stopped.block_on(async {
            let mut caller = tokio_test::task::spawn(tokens.get());
            assert!(caller.poll().is_pending());
            if is_begun {
                settle().await;
            }
        });
        let before = usize::from(is_begun);
        assert_eq!(source.count(), before);

        let expected = format!("token-{}", before + 1);
        let driven = paused_runtime();
        driven.block_on(async {
            let start = Instant::now();
            let callers: Vec<_> = (0..waiters)
                .map(|_| {
                    let tokens = tokens.clone();
                    tokio::spawn(async move { tokens.get().await })
                })
                .collect();
            for caller in callers {
                let got = timeout(secs(60), caller).await.expect(&case).unwrap();
                assert_eq!(got.unwrap().secret(), expected, "{case}");
            }
            let waited = start.elapsed();
            let about_a_second = ms(750)..=ms(1500);
            assert!(about_a_second.contains(&waited), "{case}: {waited:?}");
            assert_eq!(source.count(), before + 1, "{case}: one token request for all");
        });

        // The late result of the first fetch has no effect.
        stopped.block_on(async { sleep(secs(1)).await });
        assert_eq!(driven.block_on(tokens.get()).unwrap().secret(), expected, "{case}");
        assert!(source.count() <= 2, "{case}");
    }
}

// C3, C6
#[test]
fn a_hit_replaces_a_renewal_that_shows_no_sign_of_life() {
    for is_begun in [true, false] {
        let source = ScriptedSource::new(|n, _| async move {
            if n > 1 {
                sleep(ms(50)).await;
            }
            Ok(lasting(n, secs(1000)))
        });
        let tokens = tokens(&source);
        let stopped = paused_runtime();
        stopped.block_on(async {
            tokens.get().await.unwrap();
            advance(secs(801)).await;
            let mut hit = tokio_test::task::spawn(tokens.get());
            assert!(hit.poll().is_ready());
            if is_begun {
                settle().await;
            }
        });
        let before = 1 + usize::from(is_begun);
        assert_eq!(source.count(), before);

        let driven = paused_runtime();
        let expected = format!("token-{}", before + 1);
        driven.block_on(async {
            advance(secs(801)).await;
            // Hits every 100 ms use the old token until the new one arrives.
            for _ in 0..30 {
                let mut hit = tokio_test::task::spawn(tokens.get());
                assert!(hit.poll().is_ready(), "a hit waits for nothing");
                sleep(ms(100)).await;
            }
            assert_eq!(secret(&tokens).await, expected, "begun: {is_begun}");
            assert_eq!(source.count(), before + 1);
        });
        stopped.block_on(async { sleep(secs(1)).await });
        assert_eq!(driven.block_on(tokens.get()).unwrap().secret(), expected);
    }
}
