//! The doubles, recorders and servers that the tests of tower-oauth2 share.
//!
//! | for | use |
//! |---|---|
//! | the API | [`Api`] |
//! | the token source, below a cache | [`ScriptedSource`] |
//! | the HTTP client of the token endpoint | [`ScriptedEndpoint`], [`scripted`], [`Api`] |
//! | the token endpoint, byte by byte | [`RawEndpoint`], [`raw_server`] |
//! | an HTTP server | [`server`] |
//! | a request body | [`body`] |
//! | a subscriber of `tracing` | [`Trace`] |
//! | a recorder of `metrics` | [`Meter`] |
//! | random numbers that can be replayed | [`seed`], [`property`] |
//! | a file that changes | [`Folder`] |
//! | TLS | [`certificates::Ca`] (feature `certificates`) |
//! | a memcached server that breaks its protocol | [`FakeMemcached`] |
//! | a store under test | [`conformance::check`] |
//! | the HTTP client of a recipe in the guide | [`recipes::Http`] |
//! | an example as a process, with a server | [`examples`] (feature `examples`) |
//! | redis-server, a cluster, memcached, a lossy network | [`servers`] (feature `servers`) |
//!
//! Time is paused (`#[tokio::test(start_paused = true)]`), and [`settle`] runs all tasks that can
//! make progress. Two clocks that move apart need sources that read another wall clock: the package
//! in `tests/clocks` compiles them that way, and its `support` module moves the clocks.
//! `races/tests/support` has doubles of its own, because its schedules know only the stand-ins for
//! std and tokio in `races/`.
#![allow(clippy::new_without_default, reason = "no test needs the default value of a double")]

mod api;
pub mod body;
#[cfg(feature = "certificates")]
pub mod certificates;
mod folder;
mod runtime;

#[cfg(feature = "doubles")]
mod doubles;
#[cfg(feature = "examples")]
pub mod examples;
#[cfg(feature = "servers")]
pub mod servers;

pub use self::api::Api;
#[cfg(feature = "doubles")]
pub use self::doubles::*;
pub use self::folder::{File, Folder};
pub use self::runtime::{get, ms, paused_runtime, secs, settle, text};
