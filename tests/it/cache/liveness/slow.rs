//! A fetch that is merely slow is not replaced.

use tower_oauth2::source::Cause;

use super::*;

// C3
#[tokio::test(start_paused = true)]
async fn a_slow_source_gets_one_request() {
    let source = ScriptedSource::new(|n, _| async move {
        sleep(secs(10)).await;
        Ok(hour(n))
    });
    let tokens = tokens(&source);
    let start = Instant::now();
    let waiters: Vec<_> = (0..10).map(|_| spawn_get(&tokens)).collect();
    for waiter in waiters {
        assert_eq!(secret_of(waiter.await.unwrap()), "token-1");
    }
    assert_eq!((source.count(), start.elapsed()), (1, secs(10)));
}

// C3
#[test]
fn a_slow_fetch_on_another_runtime_that_is_polled_is_waited_for() {
    let source = ScriptedSource::new(|n, _| async move {
        sleep(secs(10)).await;
        Ok(hour(n))
    });
    let tokens = tokens(&source);
    let (owner, other) = (paused(), paused());
    let _first = start_fetch(&owner, &tokens);
    let waiter = spawn_on(&other, &tokens);
    // Both clocks move in small steps, one after the other.
    for _ in 0..105 {
        owner.block_on(async { sleep(ms(100)).await });
        other.block_on(async { sleep(ms(100)).await });
    }
    assert!(waiter.is_finished());
    assert_eq!(secret_of(other.block_on(waiter).unwrap()), "token-1");
    assert_eq!(source.count(), 1);
}

// C3
#[tokio::test(start_paused = true)]
async fn a_thread_that_stalls_both_sides_replaces_nothing() {
    let (source, gate) = holding(1);
    let tokens = tokens(&source);
    let mut waiters = Vec::new();
    for _ in 0..12 {
        waiters.push(spawn_get(&tokens));
        settle().await;
        advance(secs(40)).await;
    }
    settle().await;
    assert_eq!(source.count(), 1);
    gate.add_permits(1);
    for waiter in waiters {
        assert_eq!(secret_of(waiter.await.unwrap()), "token-1");
    }
    assert_eq!(source.count(), 1);
}

/// Moves the clock while no other task can run, as a stalled thread does.
fn stall(time: Duration) {
    assert!(tokio_test::task::spawn(advance(time)).poll().is_pending());
}

// C3, C6
#[tokio::test(start_paused = true)]
async fn a_hit_after_a_stall_does_not_replace_the_renewal() {
    let gate = Arc::new(Semaphore::new(0));
    let permits = gate.clone();
    let source = ScriptedSource::new(move |n, _| {
        let permits = permits.clone();
        async move {
            if n == 2 {
                permits.acquire().await?.forget();
            }
            Ok(lasting(n, secs(1000)))
        }
    });
    let tokens = tokens(&source);
    tokens.get().await.unwrap();
    advance(secs(801)).await;
    for _ in 0..4 {
        // The hit runs before the fetch task, which is still alive.
        let mut hit = caller(&tokens);
        assert!(hit.poll().is_ready());
        settle().await;
        assert_eq!(source.count(), 2, "one renewal");
        stall(secs(20));
    }
    gate.add_permits(1);
    settle().await;
    assert_eq!(secret_of(tokens.get().await), "token-2");
    assert_eq!(source.requests()[1].cause(), Cause::Renewal);
    assert_eq!(source.count(), 2);
}
