//! The gauge of open breakers.

use tower_oauth2::RequestExt;

use super::*;
use crate::support::Meter;

const BROKEN: &str = "tower_oauth2.broken_apis";
const API: &str = "https://api.test/";

/// Returns the changes of the gauge since the last call.
fn changes(meter: &Meter) -> Vec<String> {
    let lines = meter.take_of(BROKEN);
    lines.into_iter().map(|line| line.trim_start_matches("{} ").to_owned()).collect()
}

// R8, O
#[tokio::test(start_paused = true)]
async fn the_gauge_comes_down_30_s_after_the_last_rejection() {
    let (meter, _guard) = Meter::start();
    let service = layer(ScriptedSource::tokens(hour)).layer(Api::always(401).counting_only());
    assert_eq!(status(&service, API).await, 401);
    assert_eq!(changes(&meter), ["1"]);
    load(&service, ms(100), secs(40), API).await;
    assert_eq!(status(&service, API).await, 401);
    sleep(secs(30) - ms(10)).await;
    settle().await;
    assert!(changes(&meter).is_empty(), "open for as long as the API rejects tokens");
    sleep(ms(120)).await;
    settle().await;
    assert_eq!(changes(&meter), ["-1"]);
    sleep(secs(120)).await;
    assert!(changes(&meter).is_empty());
}

// R8, O
#[tokio::test(start_paused = true)]
async fn the_gauge_comes_down_although_a_healed_api_has_traffic() {
    let (meter, _guard) = Meter::start();
    let healed_at = Instant::now() + secs(20);
    let api = api_accepting(move |_| Instant::now() >= healed_at);
    let service = layer(ScriptedSource::tokens(hour)).layer(api);
    load(&service, ms(100), secs(20), API).await;
    assert_eq!(changes(&meter), ["1"]);
    assert_eq!(load(&service, ms(100), secs(29), API).await, 0);
    assert!(changes(&meter).is_empty());
    assert_eq!(load(&service, ms(100), secs(2), API).await, 0);
    assert_eq!(changes(&meter), ["-1"]);
}

// R8, O
#[tokio::test(start_paused = true)]
async fn the_gauge_counts_credentials_and_comes_down_for_each() {
    let (meter, _guard) = Meter::start();
    let cache = builder(&ScriptedSource::tokens(hour)).build();
    let service = OAuth2Layer::per_request(Origins::any()).layer(Api::always(401).counting_only());
    for n in 0..3 {
        let request = get("/").tokens(&cache.tokens(&tenant(n)));
        assert_eq!(send_request(&service, request).await, 401);
        sleep(secs(5)).await;
    }
    assert_eq!(changes(&meter), ["1"; 3]);
    // The rejections were 15, 10 and 5 s ago.
    sleep(secs(15) - ms(100)).await;
    for _ in 0..3 {
        settle().await;
        assert!(changes(&meter).is_empty());
        sleep(ms(200)).await;
        settle().await;
        assert_eq!(changes(&meter), ["-1"]);
        sleep(secs(5) - ms(200)).await;
    }
}

// R8, O
#[tokio::test(start_paused = true)]
async fn the_gauge_comes_down_with_the_cache() {
    let (meter, _guard) = Meter::start();
    let service = layer(ScriptedSource::tokens(hour)).layer(Api::always(401).counting_only());
    assert_eq!(status(&service, API).await, 401);
    assert_eq!(changes(&meter), ["1"]);
    drop(service);
    settle().await;
    assert_eq!(changes(&meter), ["-1"]);
    sleep(secs(60)).await;
    assert!(changes(&meter).is_empty());
}

// R8, O
#[tokio::test(start_paused = true)]
async fn one_revocation_does_not_move_the_gauge() {
    let (meter, _guard) = Meter::start();
    let server = TokenServer::default();
    let revoking = server.clone();
    let api = api_accepting(move |seen| revoking.accepts(&seen));
    let service = layer(server.source(ms(50))).layer(api);
    assert_eq!(status(&service, API).await, 200);
    server.revoke();
    assert_eq!(status(&service, API).await, 200);
    sleep(secs(60)).await;
    assert!(changes(&meter).is_empty());
}
