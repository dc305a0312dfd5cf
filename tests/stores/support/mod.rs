//! Servers of a test's own.

mod process;
mod redis;

pub use self::process::Process;
pub use self::redis::{Cluster, Redis, TlsRedis, run_on};
