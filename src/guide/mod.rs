//! Longer reading: what is promised, where one comes from, and which servers it was tried with.

#[doc = include_str!("guarantees.md")]
pub mod guarantees {}

#[doc = include_str!("alf.md")]
pub mod alf {}

#[doc = include_str!("servers.md")]
pub mod servers {}

#[doc = include_str!("stores.md")]
#[doc = include_str!("fleet.svg")]
#[doc = ""]
#[doc = include_str!("fleet.md")]
pub mod stores {}
