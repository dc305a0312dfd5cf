//! Tests that move the wall clock and the monotonic clock apart.
//!
//! The sources of the crate are compiled with a wall clock that tests set (`wall-clock/`). It
//! follows tokio's paused clock, so `tokio::time` moves both clocks. `manual_wall_clock` moves the
//! wall clock alone.
//!
//! ```sh
//! cargo test --package tower-oauth2-clocks
//! cargo test --package tower-oauth2-clocks --test clocks suspend
//! ```

mod adjusted;
mod frozen;
mod keep_warm;
mod stores;
mod support;
mod suspend;
mod waiting;
