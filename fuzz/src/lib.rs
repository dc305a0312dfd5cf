//! The targets, as the tests have them.

#[path = "../../tests/fuzz/targets/mod.rs"]
pub mod targets;
