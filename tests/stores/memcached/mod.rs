//! `MemcachedStore` on a real server and on hostile servers.

mod hostile;
mod leases;
mod open;
mod shared;
pub mod support;
mod values;

use std::time::Duration;

use self::support::Memcached;
use crate::conformance::{Promises, check};

/// Returns the contract of memcached, which counts in seconds and limits values to 1 MiB.
pub fn promises() -> Promises {
    Promises { unit: Duration::from_secs(2), largest: 1 << 19, ..Promises::all() }
}

#[tokio::test(flavor = "multi_thread")]
async fn memcached_meets_the_contract_of_a_store() {
    let server = Memcached::start().await;
    check(server.store().prefix("other-than-usual:").unwrap(), promises()).await;
}
