//! The fuzz targets: functions over the public API that panic when a promise is broken.
//!
//! The tests in this folder and the programs in `fuzz/` call these functions.
//!
//! A case is readable text. Each target's file describes its format.

pub mod challenge;
#[cfg(feature = "jwt")]
pub mod dpop_nonces;
pub mod error_response;
pub mod metadata;
pub mod replay_body;
pub mod replay_schedule;
pub mod retry_after;
pub mod stored_record;
mod support;
pub mod token_response;

/// The name of a target and of its folder in `corpus/`, and its function.
pub type Target = (&'static str, fn(&[u8]));

pub const ALL: &[Target] = &[
    ("challenge", challenge::run),
    #[cfg(feature = "jwt")]
    ("dpop_nonces", dpop_nonces::run),
    ("error_response", error_response::run),
    ("metadata", metadata::run),
    ("replay_body", replay_body::run),
    ("replay_schedule", replay_schedule::run),
    ("retry_after", retry_after::run),
    ("stored_record", stored_record::run),
    ("token_response", token_response::run),
];
