//! Doubles that name types of tower-oauth2, and what else needs more than tokio.

pub mod conformance;
mod endpoint;
mod fake_memcached;
mod make;
mod meter;
mod server;
mod source;
mod trace;

pub use self::endpoint::{Http, RawEndpoint, ask, head, nobody, response, send};
pub use self::fake_memcached::{FakeMemcached, Peer, opaque};
pub use self::make::*;
pub use self::meter::Meter;
pub use self::server::{Client, Seen, client, raw_server, server};
pub use self::source::Source;
pub use self::trace::Trace;
