//! Records in stores end by either clock too.

use tower::Layer;
use tower_oauth2_clocks::source::TokenRetry;
use tower_oauth2_clocks::store::{MemoryStore, TokenStoreLayer};
use tower_oauth2_clocks::{TokenCache, TokenEndpoint, Tokens};

use crate::support::*;

/// Creates the tokens of one process, over a store that several processes share.
fn process(store: &MemoryStore, server: &ScriptedEndpoint) -> Tokens {
    let endpoint = TokenEndpoint::new(server.clone()).retry(TokenRetry::none());
    let source = TokenStoreLayer::new(store.clone()).layer(endpoint);
    TokenCache::builder(source)
        .renew_ahead(std::time::Duration::ZERO)
        .build()
        .tokens(&credentials())
}

fn store() -> MemoryStore {
    manual_wall_clock::reset();
    MemoryStore::new()
}

// C5, S3
#[tokio::test(start_paused = true)]
async fn a_record_that_ended_during_a_suspend_is_not_used() {
    let (store, server) = (store(), hourly());
    let process_1 = process(&store, &server);
    assert_eq!(get(&process_1).await, "token-1");
    suspend(61 * MINUTE);
    assert_eq!(get(&process(&store, &server)).await, "token-2");
    pass(WALL_CLOCK_INTERVAL).await;
    assert_eq!(get(&process_1).await, "token-2", "the new record is used");
    assert_eq!(server.count(), 2);
}

// C5, S3
#[tokio::test(start_paused = true)]
async fn a_suspend_does_not_prolong_a_record() {
    let (store, server) = (store(), hourly());
    get(&process(&store, &server)).await;
    pass(MINUTE).await;
    suspend(30 * MINUTE);
    let process_2 = process(&store, &server);
    assert_eq!(get(&process_2).await, "token-1");
    // The store counts in milliseconds.
    pass(USABLE - 31 * MINUTE - SECOND).await;
    assert_eq!(get(&process_2).await, "token-1");
    pass(SECOND).await;
    assert_eq!(get(&process_2).await, "token-2");
    assert_eq!(server.count(), 2);
}

// C5, S3
#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_does_not_prolong_a_record() {
    let (store, server) = (store(), hourly());
    get(&process(&store, &server)).await;
    pass(MINUTE).await;
    manual_wall_clock::set_back(DAY);
    let process_2 = process(&store, &server);
    assert_eq!(get(&process_2).await, "token-1");
    pass(USABLE - MINUTE - SECOND).await;
    assert_eq!(get(&process_2).await, "token-1");
    pass(SECOND).await;
    assert_eq!(get(&process_2).await, "token-2");
    assert_eq!(get(&process(&store, &server)).await, "token-2");
    assert_eq!(server.count(), 2);
}
