//! observing
