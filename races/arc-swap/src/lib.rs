//! arc-swap with a point before each operation, at which another thread may run next.
//!
//! Each operation counts as atomic: the value that `load` returns was current at some time during
//! the call.

use std::fmt;
use std::sync::Arc;

pub use arc_swap::Guard;
use races_std::point;

pub struct ArcSwapOption<T>(arc_swap::ArcSwapOption<T>);

impl<T> ArcSwapOption<T> {
    #[must_use]
    pub fn empty() -> Self {
        Self(arc_swap::ArcSwapOption::empty())
    }

    pub fn load(&self) -> Guard<Option<Arc<T>>> {
        point();
        self.0.load()
    }

    pub fn load_full(&self) -> Option<Arc<T>> {
        point();
        self.0.load_full()
    }

    pub fn store(&self, value: Option<Arc<T>>) {
        point();
        self.0.store(value);
    }
}

impl<T> Default for ArcSwapOption<T> {
    fn default() -> Self {
        Self::empty()
    }
}

impl<T: fmt::Debug> fmt::Debug for ArcSwapOption<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
