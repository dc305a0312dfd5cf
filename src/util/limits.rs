//! Defines limits that several modules share.

use std::time::Duration;

/// The longest time that a response or a setting may ask for: one year.
///
/// A point in time plus a year stays within the range of the clock.
pub(crate) const MAX_LIFETIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);
