//! Doubles that name types of tower-oauth2, and what else needs more than tokio.

pub mod conformance;
mod endpoint;
mod fake_memcached;
mod make;
mod meter;
mod random;
pub mod recipes;
mod server;
mod trace;

pub use self::endpoint::{
    RawEndpoint, ask, head, response, scripted, send, times, unreachable_url,
};
pub use self::fake_memcached::{FakeMemcached, Peer, opaque};
pub use self::make::*;
pub use self::meter::Meter;
pub use self::random::{property, seed};
pub use self::server::{Client, Seen, client, raw_server, server};
pub use self::trace::Trace;
pub use tower_oauth2::testing::{Reply, ScriptedEndpoint, ScriptedSource};
