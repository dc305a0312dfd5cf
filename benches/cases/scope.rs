//! Scopes of many names.

use std::hint::black_box;

use super::counted::{count_calls, measured};
use super::stacks::credentials;

/// Numbers of names in a scope.
pub const SIZES: [usize; 2] = [10_000, 80_000];

pub const NAME: &str = "scope";

/// Returns the instructions per name for each size, or `None` without valgrind.
pub fn count() -> Option<Vec<f64>> {
    let counts = count_calls(NAME, SIZES.len())?;
    Some(counts.iter().zip(SIZES).map(|(counts, size)| counts.instructions / size as f64).collect())
}

/// Sets a scope of each size; each is one measured call.
pub fn run() {
    fastrand::seed(1);
    for size in SIZES {
        let mut names: Vec<_> = (0..size).map(|n| format!("name-{n:06}")).collect();
        fastrand::shuffle(&mut names);
        let scope = names.join(" ");
        measured(credentials(0), |credentials| {
            let scoped = credentials.scope(&scope);
            assert_eq!(black_box(scoped).scope_names().count(), size);
        });
    }
}
