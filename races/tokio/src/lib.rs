//! A runtime whose end can be played, a clock that tests turn, and tokio's own channels and locks.

pub mod runtime;
pub mod sync;
pub mod time;
