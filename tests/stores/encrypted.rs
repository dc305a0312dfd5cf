//! `EncryptedStore` meets the contract of a store.

use tower_oauth2::store::{EncryptedStore, EncryptionKey, MemoryStore};
use tower_oauth2_testkit::conformance::{Promises, check};

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_memory_store_meets_the_contract() {
    // During a key rotation.
    let [new, old] = ["new", "old"].map(|id| EncryptionKey::generate(id).unwrap());
    let store = EncryptedStore::new(MemoryStore::new(), new).also_opens(old);
    check(store, Promises::all()).await;
}
