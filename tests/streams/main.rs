//! Bodies that stream: what goes out, what is remembered of it, and what is sent again.
#![allow(unreachable_pub, missing_docs)]

mod corners;
mod policies;
mod properties;
mod servers;
mod support;
