//! Servers that a test starts.

mod process;
#[cfg(feature = "redis")]
mod proxy;
#[cfg(feature = "redis")]
mod redis;

pub use self::process::Process;
#[cfg(feature = "redis")]
pub use self::proxy::Proxy;
#[cfg(feature = "redis")]
pub use self::redis::{Cluster, Redis, TlsRedis, run_on};
