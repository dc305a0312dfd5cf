//! The standard library with shuttle's locks, and with atomics at which another thread may run.
//!
//! All memory orderings count as `SeqCst`. `Arc` is the real one, so shuttle lets no other thread
//! run when a reference count changes.

use std::cell::Cell;
pub use std::*;

pub mod sync {
    pub use std::sync::*;

    pub use shuttle::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

    /// Real atomics with a point before each operation. Shuttle's own atomics do not work here,
    /// because the executions of several tests share the statics.
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

    /// Has the same keys in every process, so that schedules can be replayed.
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

thread_local! {
    static IS_POINTLESS: Cell<bool> = const { Cell::new(false) };
}

/// Lets shuttle run another thread.
pub fn point() {
    // There is no next thread while a panic unwinds, and after an execution.
    if !std::thread::panicking()
        && !IS_POINTLESS.get()
        && shuttle::current::try_get_current_task().is_some()
    {
        shuttle::sync::atomic::AtomicBool::new(false).load(std::sync::atomic::Ordering::SeqCst);
    }
}

/// Calls `look` without a point in it. No other thread runs before it returns. Locks of shuttle
/// have points of their own, so `look` must not use them.
pub fn without_points<T>(look: impl FnOnce() -> T) -> T {
    IS_POINTLESS.set(true);
    let result = look();
    IS_POINTLESS.set(false);
    result
}
