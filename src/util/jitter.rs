//! Draws random parts of delays, so that processes do not act in step.

use std::time::Duration;

/// Returns a time drawn uniformly from zero up to `longest`.
pub(crate) fn up_to(longest: Duration) -> Duration {
    longest.mul_f64(fastrand::f64())
}

/// Returns a time drawn uniformly from half of `longest` up to `longest`.
pub(crate) fn upper_half(longest: Duration) -> Duration {
    longest.mul_f64(1.0 - fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_stay_within_their_range() {
        let longest = Duration::from_secs(8);
        for _ in 0..1000 {
            assert!(up_to(longest) <= longest);
            assert!((longest / 2..=longest).contains(&upper_half(longest)));
        }
        assert_eq!(up_to(Duration::ZERO), Duration::ZERO);
        assert_eq!(upper_half(Duration::ZERO), Duration::ZERO);
    }
}
