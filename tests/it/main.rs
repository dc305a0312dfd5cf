//! What can be seen from outside, rule by rule.
#![allow(unreachable_pub, missing_docs)]

mod support;

mod alf;
mod cache;
mod composition;
mod edges;
mod flights;
mod hostile;
mod named;
mod observing;
mod replay;
mod security;
mod store;
mod storms;
mod wire;
