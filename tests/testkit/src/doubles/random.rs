use std::env;

use proptest::test_runner::{Config, RngSeed};

thread_local! {
    static SEED: u64 = {
        let seed = match env::var("TEST_SEED") {
            Ok(text) => text.parse().expect("TEST_SEED is a number"),
            Err(_) => fastrand::u64(..),
        };
        println!("to replay the random numbers of this test: TEST_SEED={seed}");
        fastrand::seed(seed);
        seed
    };
}

/// Seeds the random numbers of this thread, which runs one test, and prints the seed.
///
/// The seed is random, or that of the variable `TEST_SEED`. The jitter of tower-oauth2 comes from
/// the same generator. Other threads of a runtime have generators of their own.
pub fn seed() -> u64 {
    SEED.with(|seed| *seed)
}

/// Returns a configuration of proptest that tries `cases` cases, from the seed of this test.
pub fn property(cases: u32) -> Config {
    Config {
        cases,
        rng_seed: RngSeed::Fixed(seed()),
        failure_persistence: None,
        ..Config::default()
    }
}
