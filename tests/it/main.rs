//! What can be seen from outside, rule by rule.

mod support;

mod cache;
