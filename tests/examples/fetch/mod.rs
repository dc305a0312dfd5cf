//! `fetch`, against servers of the tests.

mod arguments;
mod authentication;
mod connections;
mod requests;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

fn basic(user_pass: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(user_pass))
}
