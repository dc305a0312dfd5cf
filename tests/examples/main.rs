//! The examples, run as processes.
#![allow(unreachable_pub, missing_docs)]

mod clients;
mod demonstrations;
mod fetch;
mod fleet;

use tower_oauth2_testkit::examples::{process, server};
