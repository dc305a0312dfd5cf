use tower_oauth2::store::MemoryStore;

use crate::conformance::{Promises, check};

#[tokio::test(flavor = "multi_thread")]
async fn memory_does_what_a_store_promises() {
    check(MemoryStore::new(), Promises::all()).await;
}
