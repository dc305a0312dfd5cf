use tower_oauth2::store::MemoryStore;
use tower_oauth2_testkit::conformance::{Promises, check};

#[tokio::test(flavor = "multi_thread")]
async fn a_memory_store_meets_the_contract() {
    check(MemoryStore::new(), Promises::all()).await;
}
