//! The most token requests that APIs can cause.

use std::collections::HashMap;

use tokio::task::JoinSet;
use tower_oauth2::{Credentials, RequestExt};

use super::*;

// R8
#[tokio::test(start_paused = true)]
async fn a_broken_api_costs_130_token_requests_in_10_minutes() {
    let (server, start) = (TokenServer::default(), Instant::now());
    let service = layer(server.source(ms(50))).layer(Api::always(401).counting_only());
    load(&service, ms(5), secs(60), "https://api.test/").await;
    // Fewer requests from here on, so that the test is quick. Each window still ends with one.
    load(&service, ms(20), secs(540), "https://api.test/").await;
    let times = server.times_since(start);
    assert!(times.len() <= 130, "{}", times.len());
    assert!(times.iter().filter(|at| **at < secs(10)).count() <= 8, "{times:?}");
}

// R8
#[tokio::test(start_paused = true)]
async fn each_tenant_costs_8_token_requests_and_then_one_in_5_s() {
    // The unit tests simulate 3,000.
    const TENANTS: usize = 600;
    let start = Instant::now();
    let times = Arc::<Mutex<HashMap<Credentials, Vec<Duration>>>>::default();
    let seen = times.clone();
    let source = ScriptedSource::new(move |n, request: TokenRequest| {
        let credentials = request.credentials().clone();
        seen.lock().unwrap().entry(credentials).or_default().push(start.elapsed());
        std::future::ready(Ok(hour(n)))
    });
    let cache = builder(&source).build();
    let service = OAuth2Layer::per_request(Origins::any()).layer(Api::always(401).counting_only());
    let tenants: Vec<_> = (0..TENANTS).map(|n| cache.tokens(&tenant(n))).collect();
    // The first pauses are shorter, because the first windows of the breaker are.
    for pause in [ms(500); 3].into_iter().chain([secs(3); 6]) {
        for tenant in &tenants {
            assert_eq!(send_request(&service, get("/").tokens(tenant)).await, 401);
        }
        sleep(pause).await;
    }
    let times = times.lock().unwrap();
    assert_eq!(times.len(), TENANTS);
    for times in times.values() {
        assert!(times.iter().filter(|at| **at < secs(10)).count() <= 8, "{times:?}");
        for pair in times[7.min(times.len() - 1)..].windows(2) {
            assert!(pair[1] - pair[0] >= secs(5), "{times:?}");
        }
    }
}

// R8
#[tokio::test(start_paused = true)]
async fn one_of_many_tenants_with_many_requests_costs_no_more() {
    let (server, start) = (TokenServer::default(), Instant::now());
    let service = layer(server.source(Duration::ZERO)).layer(Api::always(401).counting_only());
    load(&service, ms(20), secs(60), "https://api.test/").await;
    let times = server.times_since(start);
    assert!(times.iter().filter(|at| **at < secs(10)).count() <= 8, "{times:?}");
    assert!(times[7..].windows(2).all(|pair| pair[1] - pair[0] >= secs(5)), "{times:?}");
}

// R8
#[tokio::test(start_paused = true)]
async fn broken_origins_of_one_client_cost_no_more_than_one() {
    let server = TokenServer::default();
    let service = layer(server.source(ms(50))).layer(Api::always(401).counting_only());
    let uris: Vec<_> = (0..2000).map(|n| format!("https://api-{n}.test/")).collect();
    for uri in uris.iter().cycle().take(10_000) {
        assert_eq!(status(&service, uri).await, 401);
        sleep(ms(1)).await;
    }
    assert!(server.count() <= 9, "{}", server.count());
}

async fn assert_bad_node_of_costs_60_a_minute(nodes: u64) {
    let (server, start) = (TokenServer::default(), Instant::now());
    let is_bad = one_in(nodes);
    let api = api_accepting(move |_| !is_bad());
    let service = layer(server.source(ms(50))).layer(api);
    let failed = load(&service, ms(5), secs(65), "https://api.test/").await;
    let most = most_in_a_minute(&server.times_since(start));
    assert!(most <= 60, "one bad node of {nodes}: {most}");
    assert!(failed <= 65 * 200 * 11 / 10 / nodes as usize, "one bad node of {nodes}: {failed}");
}

// R8
#[tokio::test(start_paused = true)]
async fn one_bad_node_of_two_or_three_costs_60_a_minute() {
    assert_bad_node_of_costs_60_a_minute(2).await;
    assert_bad_node_of_costs_60_a_minute(3).await;
}

// R8
#[tokio::test(start_paused = true)]
async fn one_bad_node_of_ten_or_more_costs_60_a_minute() {
    assert_bad_node_of_costs_60_a_minute(10).await;
    assert_bad_node_of_costs_60_a_minute(100).await;
}

// R8
#[tokio::test(start_paused = true)]
async fn one_bad_node_of_ten_delays_at_most_15_percent() {
    let server = TokenServer::default();
    let is_bad = one_in(10);
    let api = api_accepting(move |_| !is_bad());
    let service = layer(server.source(secs(1))).layer(api);
    let mut requests = JoinSet::new();
    for _ in 0..60 * 200 {
        let service = service.clone();
        requests.spawn(async move {
            let start = Instant::now();
            send_request(&service, get("/")).await;
            // The API answers at once, so this is the time that the request waited for a token.
            !start.elapsed().is_zero()
        });
        sleep(ms(5)).await;
    }
    let waited = requests.join_all().await.into_iter().filter(|waited| *waited).count();
    assert!(waited * 100 <= 60 * 200 * 15, "{waited}");
}

// R8
#[tokio::test(start_paused = true)]
async fn an_api_that_answers_401_and_503_in_turn_costs_no_more() {
    let (server, sends) = (TokenServer::default(), AtomicUsize::new(0));
    let failing =
        api(move |_| if sends.fetch_add(1, Ordering::SeqCst) % 3 == 0 { 503 } else { 401 });
    let service = layer(server.source(ms(50))).layer(failing);
    load(&service, ms(10), secs(120), "https://api.test/").await;
    assert!(server.count() <= 30, "{}", server.count());
}

/// The source caches its token, so the token is old whenever it arrives.
// R8
#[tokio::test(start_paused = true)]
async fn a_source_that_repeats_an_old_token_is_not_flooded() {
    let token = AccessToken::new("token-1").unwrap();
    sleep(secs(3600)).await;
    let source = ScriptedSource::tokens(move |_| token.clone());
    let service = layer(source.clone()).layer(Api::always(401).counting_only());
    load(&service, ms(10), secs(60), "https://api.test/").await;
    assert!(source.count() <= 20, "{}", source.count());
}
