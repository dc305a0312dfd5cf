//! The standard library, with shuttle's locks, and atomics that shuttle knows of: at each use of one, another thread may be next.
//!
//! All orderings of atomics count as `SeqCst`. `Arc` is the real one: a count that goes up or down is no point at which
//! another thread may be next.

pub use std::*;

pub mod sync {
    pub use std::sync::*;

    pub use shuttle::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

    /// The real ones, with a point before each operation: statics are shared by executions on other threads.
    pub mod atomic {
        pub use std::sync::atomic::*;

        use crate::point;

        macro_rules! atomic {
            ($name:ident, $value:ty) => {
                #[derive(Debug, Default)]
                pub struct $name(std::sync::atomic::$name);

                impl $name {
                    pub const fn new(value: $value) -> Self {
                        Self(std::sync::atomic::$name::new(value))
                    }

                    pub fn load(&self, order: Ordering) -> $value {
                        point();
                        self.0.load(order)
                    }

                    pub fn store(&self, value: $value, order: Ordering) {
                        point();
                        self.0.store(value, order);
                    }

                    pub fn swap(&self, value: $value, order: Ordering) -> $value {
                        point();
                        self.0.swap(value, order)
                    }

                    pub fn compare_exchange(
                        &self,
                        current: $value,
                        new: $value,
                        success: Ordering,
                        failure: Ordering,
                    ) -> Result<$value, $value> {
                        point();
                        self.0.compare_exchange(current, new, success, failure)
                    }
                }
            };
        }

        macro_rules! counter {
            ($name:ident, $value:ty) => {
                atomic!($name, $value);

                impl $name {
                    pub fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                        point();
                        self.0.fetch_add(value, order)
                    }

                    pub fn fetch_sub(&self, value: $value, order: Ordering) -> $value {
                        point();
                        self.0.fetch_sub(value, order)
                    }
                }
            };
        }

        atomic!(AtomicBool, bool);
        counter!(AtomicU32, u32);
        counter!(AtomicU64, u64);
        counter!(AtomicUsize, usize);
    }
}

pub mod hash {
    pub use std::hash::*;

    /// Keyed alike in every process, so that a schedule can be played again.
    #[derive(Clone, Copy, Debug, Default)]
    pub struct RandomState;

    impl RandomState {
        #[must_use]
        pub fn new() -> Self {
            Self
        }
    }

    impl BuildHasher for RandomState {
        type Hasher = DefaultHasher;

        fn build_hasher(&self) -> DefaultHasher {
            DefaultHasher::new()
        }
    }
}

/// A point at which another thread may be next.
pub fn point() {
    // While a panic unwinds, and when the execution is over, there is no next one.
    if !std::thread::panicking() && shuttle::current::try_get_current_task().is_some() {
        shuttle::sync::atomic::AtomicBool::new(false).load(std::sync::atomic::Ordering::SeqCst);
    }
}
