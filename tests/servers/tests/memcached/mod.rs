//! `MemcachedStore` on a real server.

mod leases;
mod open;
mod shared;
mod values;

use std::time::Duration;

use tokio::time::{sleep, timeout};
use tower_oauth2_testkit::conformance::{Promises, check};
use tower_oauth2_testkit::servers::Memcached;

/// Two keys in the format of a layer.
const KEY: &str = "00000000000000000000000000000000000000000000000000000000000000aa";
const OTHER: &str = "00000000000000000000000000000000000000000000000000000000000000bb";

const MINUTE: Duration = Duration::from_secs(60);

/// Waits until `holds`, in real time, because the clock of the server cannot be paused.
async fn until<F: Future<Output = bool>>(mut holds: impl FnMut() -> F) {
    let wait = async {
        while !holds().await {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(MINUTE, wait).await.expect("the condition holds in time");
}

/// Returns the contract of memcached, which counts in seconds and limits values to 1 MiB.
pub fn promises() -> Promises {
    Promises { unit: Duration::from_secs(2), largest: 1 << 19, ..Promises::all() }
}

#[tokio::test(flavor = "multi_thread")]
async fn memcached_meets_the_contract_of_a_store() {
    let server = Memcached::start().await;
    check(server.store().prefix("other-than-usual:").unwrap(), promises()).await;
}
