//! Servers that a test starts as processes, each on its own free port.

mod memcached;
mod process;
mod proxy;
mod redis;

use std::collections::BTreeSet;
use std::iter;
use std::net::TcpListener;
use std::sync::Mutex;
use std::time::Duration;

pub use self::memcached::{Memcached, OnSocket};
pub use self::process::Process;
pub use self::proxy::Proxy;
pub use self::redis::{Cluster, Redis, TlsRedis, run_on};

/// The limit of a wait, which is not a measurement.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// Returns a free port. The port 10,000 above, which the nodes of a Redis cluster use, is free too.
///
/// Neither is one of those that the system assigns by itself, and no port is returned twice in a
/// process, so that the port stays free while the server is down.
fn free_port() -> u16 {
    static RETURNED: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let is_free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let mut ports = iter::repeat_with(|| fastrand::u16(10_000..20_000)).take(1_000);
    let is_new = |port| RETURNED.lock().unwrap().insert(port);
    ports
        .find(|&port| is_free(port) && is_free(port + 10_000) && is_new(port))
        .expect("no port is free")
}
