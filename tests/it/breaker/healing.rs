//! Requests recover from revocations, also while the breaker is open.

use std::sync::atomic::AtomicBool;

use super::*;

const API: &str = "https://api.test/";

/// Creates an API that answers 401 to revoked tokens, and to all while broken.
fn breakable(server: &TokenServer) -> (Api, Arc<AtomicBool>) {
    let (server, is_broken) = (server.clone(), Arc::new(AtomicBool::new(false)));
    let broken = is_broken.clone();
    let api = api_accepting(move |seen| !broken.load(Ordering::SeqCst) && server.accepts(&seen));
    (api, is_broken)
}

// R8
#[tokio::test(start_paused = true)]
async fn a_revocation_while_open_is_healed_by_the_next_request() {
    let server = TokenServer::default();
    let (api, is_broken) = breakable(&server);
    let service = layer(server.source(ms(50))).layer(api);
    is_broken.store(true, Ordering::SeqCst);
    load(&service, ms(10), secs(20), API).await;
    is_broken.store(false, Ordering::SeqCst);
    for _ in 0..3 {
        assert_eq!(status(&service, API).await, 200, "accepted while the breaker is open");
        let before = server.count();
        server.revoke();
        assert_eq!(status(&service, API).await, 200);
        assert_eq!(server.count(), before + 1);
    }
}

// R8
#[tokio::test(start_paused = true)]
async fn a_second_revocation_right_after_the_first_is_healed() {
    for age in [secs(0), secs(60)] {
        let server = TokenServer::default();
        let (api, _) = breakable(&server);
        let service = layer(server.source(ms(50))).layer(api);
        assert_eq!(status(&service, API).await, 200);
        sleep(age).await;
        for revocation in 1..=4 {
            server.revoke();
            assert_eq!(status(&service, API).await, 200, "revocation {revocation}");
            assert_eq!(server.count(), 1 + revocation);
        }
    }
}

/// The token that replaces a revoked one is revoked before any API has seen it.
// R8
#[tokio::test(start_paused = true)]
async fn a_token_that_is_revoked_before_its_first_use_is_healed() {
    let server = TokenServer::default();
    let (api, _) = breakable(&server);
    let layer = layer(server.source(ms(50)));
    let (service, broken) = (layer.layer(api), layer.layer(Api::always(401).counting_only()));
    for _ in 0..3 {
        // The broken origin opens the breaker and has the token replaced.
        load(&broken, ms(10), secs(8), "https://broken.test/").await;
        assert_eq!(status(&service, API).await, 200);
        let before = server.count();
        while server.count() == before {
            load(&broken, ms(10), ms(10), "https://broken.test/").await;
        }
        server.revoke();
        assert_eq!(status(&service, API).await, 200);
        assert_eq!(server.count(), before + 2);
    }
}

/// Such an API never sees an accepted token if each rejection replaces the token.
// R8
#[tokio::test(start_paused = true)]
async fn an_api_whose_clock_is_10_s_late_recovers() {
    let issued = Arc::<Mutex<Vec<Instant>>>::default();
    let times = issued.clone();
    let source = ScriptedSource::tokens(move |n| {
        times.lock().unwrap().push(Instant::now());
        hour(n)
    });
    let api =
        api_accepting(move |seen| issued.lock().unwrap()[seen.token - 1].elapsed() >= secs(10));
    let service = layer(source.clone()).layer(api);
    load(&service, ms(10), secs(40), API).await;
    assert_eq!(load(&service, ms(10), secs(60), API).await, 0);
    assert!(source.count() <= 12, "{}", source.count());
}
