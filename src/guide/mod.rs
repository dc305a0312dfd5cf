//! Longer reading: what is promised, and where one comes from.

#[doc = include_str!("guarantees.md")]
pub mod guarantees {}

#[doc = include_str!("alf.md")]
pub mod alf {}
