//! memcached: a real server, and servers that are none.

mod configuring;
mod hostile;
mod leases;
mod shared;
pub mod support;
mod values;

use std::time::Duration;

use self::support::Memcached;
use crate::conformance::{Promises, check};

/// Seconds are all that it counts in, and it takes no more than a mebibyte with what it adds.
pub fn promises() -> Promises {
    Promises { unit: Duration::from_secs(2), largest: 1 << 19, ..Promises::all() }
}

#[tokio::test(flavor = "multi_thread")]
async fn memcached_does_what_a_store_promises() {
    let server = Memcached::start().await;
    check(server.store().prefix("other-than-usual:").unwrap(), promises()).await;
}
