//! Tests of wake-ups, memory and calls, which the properties cannot check.

mod kept;
mod memory;
mod panics;
mod reentrant;
mod takeover;
mod tokens;
