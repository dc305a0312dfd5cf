//! The servers of the examples on loopback, and a report on their requests. The report compares the
//! requests with what the crate promises.
#![allow(dead_code, reason = "no example uses all of it")]

pub(crate) mod api;
pub(crate) mod grants;
pub(crate) mod issuer;
pub(crate) mod report;
pub(crate) mod server;
pub(crate) mod tls;
