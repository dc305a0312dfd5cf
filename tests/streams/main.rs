//! Tests of streaming bodies: the data that is sent, remembered and replayed.
#![allow(unreachable_pub, missing_docs)]

mod corners;
mod policies;
mod properties;
mod servers;
mod support;
