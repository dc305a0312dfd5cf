//! A fetch that shows no sign of life is replaced.

use std::sync::Mutex;
use std::sync::mpsc;

use tokio::time::timeout;
use tower::BoxError;

use super::*;

/// Waits on a runtime that is polled. Returns the token and the duration of the wait.
fn wait_on(runtime: &Runtime, tokens: &Tokens) -> (String, Duration) {
    runtime.block_on(async {
        let start = Instant::now();
        let got = timeout(secs(60), tokens.get()).await.expect("waits without end");
        (secret_of(got), start.elapsed())
    })
}

// C3
#[test]
fn a_thread_that_blocks_in_a_fetch_holds_up_no_other_runtime() {
    let (entered, has_entered) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let blocked = Arc::new(Mutex::new((entered, released)));
    let source = ScriptedSource::new(move |n, _| {
        let blocked = blocked.clone();
        async move {
            if n == 1 {
                let blocked = blocked.lock().unwrap();
                blocked.0.send(()).unwrap();
                blocked.1.recv().unwrap();
            }
            Ok(hour(n))
        }
    });
    let tokens = tokens(&source);
    let owner = std::thread::spawn({
        let tokens = tokens.clone();
        move || paused().block_on(tokens.get())
    });
    has_entered.recv().unwrap();
    let (secret, waited) = wait_on(&paused(), &tokens);
    release.send(()).unwrap();
    assert_eq!(secret, "token-2");
    assert!(waited <= ms(1500), "{waited:?}");
    owner.join().unwrap().unwrap();
    assert_eq!(secret_of(paused().block_on(tokens.get())), "token-2", "the late token is ignored");
    assert_eq!(source.count(), 2);
}

// C3
#[test]
fn many_waiters_replace_a_silent_fetch_by_one() {
    let (source, _gate) = holding(1);
    let tokens = tokens(&source);
    let stopped = paused();
    let _owner = start_fetch(&stopped, &tokens);
    let driven = paused();
    driven.block_on(async {
        let waiters: Vec<_> = (0..100).map(|_| spawn_get(&tokens)).collect();
        for waiter in waiters {
            let got = timeout(secs(60), waiter).await.expect("waits without end").unwrap();
            assert_eq!(secret_of(got), "token-2");
        }
    });
    assert_eq!(source.count(), 2);
}

// C3, C10
#[test]
fn a_waiter_of_removed_credentials_gets_a_token() {
    let (source, _gate) = holding(1);
    let cache = builder(&source).build();
    let tokens = cache.tokens(&credentials());
    let stopped = paused();
    let _owner = start_fetch(&stopped, &tokens);
    let driven = paused();
    let mut waiter = caller(&tokens);
    poll_pending(&driven, &mut waiter);
    // The slot does not know the silent fetch any more, but this caller still waits for it.
    cache.remove(&credentials());
    let got = driven.block_on(async { timeout(secs(60), waiter).await });
    assert_eq!(secret_of(got.expect("waits without end")), "token-2");
}

// C3
#[test]
fn the_late_token_of_a_replaced_fetch_is_not_published() {
    let gate = Arc::new(Semaphore::new(0));
    let permits = gate.clone();
    let source = ScriptedSource::new(move |n, _| {
        let permits = permits.clone();
        async move {
            match n {
                1 => permits.acquire().await?.forget(),
                _ => sleep(secs(10)).await,
            }
            Ok(hour(n))
        }
    });
    let tokens = tokens(&source);
    let stopped = paused();
    let owner = start_fetch(&stopped, &tokens);
    let driven = paused();
    let waiter = spawn_on(&driven, &tokens);
    driven.block_on(async { sleep(secs(2)).await });
    assert_eq!(source.count(), 2, "replaced");
    gate.add_permits(1);
    stopped.block_on(settle());
    let (secret, _) = wait_on(&driven, &tokens);
    assert_eq!(secret, "token-2", "not the token of the first fetch");
    assert_eq!(secret_of(driven.block_on(waiter).unwrap()), "token-2");
    assert!(stopped.block_on(owner).is_ok());
    assert_eq!(secret_of(driven.block_on(tokens.get())), "token-2");
    assert_eq!(source.count(), 2);
}

// C3, C9
#[test]
fn the_late_error_of_a_replaced_fetch_is_not_remembered() {
    let gate = Arc::new(Semaphore::new(0));
    let permits = gate.clone();
    let source = ScriptedSource::new(move |n, _| {
        let permits = permits.clone();
        async move {
            if n == 1 {
                permits.acquire().await?.forget();
                return Err(BoxError::from("down"));
            }
            Ok(hour(n))
        }
    });
    let tokens = tokens(&source);
    let stopped = paused();
    let _owner = start_fetch(&stopped, &tokens);
    let driven = paused();
    let (secret, _) = wait_on(&driven, &tokens);
    assert_eq!(secret, "token-2");
    gate.add_permits(1);
    stopped.block_on(settle());
    driven.block_on(async {
        let token = tokens.get().await.unwrap();
        assert_eq!(token.secret(), "token-2");
        token.reject();
        assert_eq!(secret_of(tokens.get().await), "token-3", "nothing holds back the next fetch");
    });
}

// C3
#[test]
fn short_timeouts_are_not_stuck_behind_a_silent_fetch() {
    let (source, _gate) = holding(1);
    let tokens = tokens(&source);
    let stopped = paused();
    let _owner = start_fetch(&stopped, &tokens);
    paused().block_on(async {
        // None of them waits for a whole second, but together they see no sign of life for longer.
        let mut tries = 0;
        while timeout(ms(600), tokens.get()).await.is_err() {
            tries += 1;
            assert!(tries < 10, "no caller gets a token");
        }
    });
    assert_eq!(source.count(), 2);
}

// C3
#[test]
fn a_caller_that_gives_up_after_a_takeover_fails_no_other() {
    let gate = Arc::new(Semaphore::new(0));
    let source = ScriptedSource::new(move |n, _| {
        let gate = gate.clone();
        async move {
            match n {
                1 => gate.acquire().await?.forget(),
                _ => sleep(secs(10)).await,
            }
            Ok(hour(n))
        }
    });
    let tokens = tokens(&source);
    let stopped = paused();
    let _owner = start_fetch(&stopped, &tokens);
    paused().block_on(async {
        let impatient = timeout(secs(2), tokens.get());
        let patient = timeout(secs(60), tokens.get());
        let (impatient, patient) = tokio::join!(impatient, patient);
        assert!(impatient.is_err(), "gave up");
        assert_eq!(secret_of(patient.expect("waits without end")), "token-2");
    });
    assert_eq!(source.count(), 2);
}

// C3, C11
#[test]
fn keeping_warm_replaces_a_silent_first_fetch() {
    let (source, _gate) = holding(1);
    let tokens = tokens(&source);
    let stopped = paused();
    let _owner = start_fetch(&stopped, &tokens);
    paused().block_on(async {
        tokens.keep_warm().unwrap();
        sleep(secs(5)).await;
        assert_eq!(source.count(), 2, "no caller asked for a token");
        assert!(caller(&tokens).poll().is_ready());
    });
}

// C3, C6, C11
#[test]
fn keeping_warm_replaces_a_silent_renewal() {
    let gate = Arc::new(Semaphore::new(0));
    let source = ScriptedSource::new(move |n, _| {
        let gate = gate.clone();
        async move {
            if n == 2 {
                gate.acquire().await?.forget();
            }
            Ok(lasting(n, secs(1000)))
        }
    });
    let tokens = tokens(&source);
    let stopped = paused();
    stopped.block_on(async {
        tokens.get().await.unwrap();
        advance(secs(801)).await;
        tokens.get().await.unwrap();
        settle().await;
    });
    assert_eq!(source.count(), 2);
    paused().block_on(async {
        advance(secs(801)).await;
        tokens.keep_warm().unwrap();
        // The token ends after 990 s.
        sleep(secs(60)).await;
        assert_eq!(source.count(), 3, "no caller asked for a token");
        assert_eq!(secret_of(tokens.get().await), "token-3");
    });
}
