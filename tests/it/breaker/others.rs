//! A broken API does not affect requests to other APIs.

use tokio::task::JoinSet;
use tower::Layer;
use tower_oauth2::store::{MemoryStore, TokenStoreLayer};

use super::*;

// R8
#[tokio::test(start_paused = true)]
async fn one_forbidden_path_does_not_affect_other_paths() {
    for pause in [ms(5), ms(50), secs(1)] {
        let (server, start) = (TokenServer::default(), Instant::now());
        let revoking = server.clone();
        let api = api_accepting(move |seen| seen.path() != "/forbidden" && revoking.accepts(&seen));
        let service = layer(server.source(ms(50))).layer(api);
        let revocations = async {
            for _ in 0..2 {
                sleep(ms(30_700)).await;
                server.revoke();
            }
        };
        let (forbidden, failed, ()) = tokio::join!(
            load(&service, pause, secs(65), "https://api.test/forbidden"),
            load(&service, ms(50), secs(65), "https://api.test/allowed"),
            revocations,
        );
        assert!(forbidden > 0);
        assert_eq!(failed, 0, "every {pause:?}");
        let most = most_in_a_minute(&server.times_since(start));
        assert!(most <= 20, "every {pause:?}: {most}");
    }
}

// R8
#[tokio::test(start_paused = true)]
async fn a_broken_origin_does_not_affect_a_healthy_one() {
    let (server, start) = (TokenServer::default(), Instant::now());
    let revoking = server.clone();
    let api =
        api_accepting(move |seen| seen.host() == Some("healthy.test") && revoking.accepts(&seen));
    let service = layer(server.source(ms(50))).layer(api);
    let revocations = async {
        for pause in [12_300, 1_000, 20_100, 5_050] {
            sleep(ms(pause)).await;
            server.revoke();
        }
    };
    let (_, failed, ()) = tokio::join!(
        load(&service, ms(10), secs(65), "https://broken.test/"),
        load(&service, ms(50), secs(65), "https://healthy.test/"),
        revocations,
    );
    assert_eq!(failed, 0);
    let most = most_in_a_minute(&server.times_since(start));
    assert!(most <= 20 + 4, "{most}");
}

/// Relative URIs have no origin, so the layer takes each service for one.
// R8
#[tokio::test(start_paused = true)]
async fn relative_uris_of_two_services_have_two_origins() {
    let (server, start) = (TokenServer::default(), Instant::now());
    let revoking = server.clone();
    let layer = layer(server.source(ms(50)));
    let healthy = layer.layer(api_accepting(move |seen| revoking.accepts(&seen)));
    let broken = layer.layer(Api::always(401).counting_only());
    let (_, failed) = tokio::join!(
        load(&broken, ms(10), secs(65), "/things"),
        load(&healthy, ms(50), secs(65), "/things"),
    );
    assert_eq!(failed, 0);
    // An acceptance by the healthy service says nothing about the broken one.
    let most = most_in_a_minute(&server.times_since(start));
    assert!(most <= 20, "{most}");
    // A revocation is healed by the healthy service, and not by the broken one.
    assert_eq!(status(&broken, "/things").await, 401);
    let before = server.count();
    server.revoke();
    assert_eq!(status(&broken, "/things").await, 401);
    assert_eq!(server.count(), before, "the breaker is open");
    assert_eq!(status(&healthy, "/things").await, 200);
    assert_eq!(server.count(), before + 1);
}

// R8
#[tokio::test(start_paused = true)]
async fn clones_of_a_service_have_one_origin() {
    let server = TokenServer::default();
    let revoking = server.clone();
    let layer = layer(server.source(ms(50)));
    let one = layer.layer(api_accepting(move |seen| revoking.accepts(&seen)));
    let broken = layer.layer(Api::always(401).counting_only());
    load(&broken, ms(10), secs(10), "/").await;
    assert_eq!(status(&one, "/").await, 200);
    server.revoke();
    assert_eq!(status(&one.clone(), "/").await, 200);
}

/// The store may have a token that is as old as the rejected one.
// R8, S4
#[tokio::test(start_paused = true)]
async fn processes_that_share_a_store_make_no_more_token_requests() {
    const PROCESSES: usize = 8;
    let (server, store) = (TokenServer::default(), MemoryStore::new());
    let source = server.source(ms(50));
    let processes = (0..PROCESSES as u64).map(|n| {
        let source = TokenStoreLayer::new(store.clone()).layer(source.clone());
        let tokens = Tokens::new(credentials(), source);
        let service =
            OAuth2Layer::new(tokens, Origins::any()).layer(Api::always(401).counting_only());
        async move {
            sleep(ms(7 * n)).await;
            let mut requests = JoinSet::new();
            for _ in 0..30 * 50 {
                let service = service.clone();
                requests.spawn(async move { send_request(&service, get("/")).await });
                sleep(ms(20)).await;
            }
            requests.join_all().await
        }
    });
    processes.collect::<JoinSet<_>>().join_all().await;
    assert!(server.count() <= PROCESSES * 13, "{}", server.count());
}
