//! A runtime and a clock that scenarios control, and tokio's own channels and locks.

pub mod runtime;
pub mod sync;
pub mod time;

pub mod task {
    pub use shuttle::future::yield_now;
}
