//! `fetch`, against servers of the tests.

mod arguments;
mod authentication;
mod connections;
mod dialects;
mod explain;
mod messages;
mod requests;

use std::process::Command;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::process::{self, Ended};

fn basic(user_pass: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(user_pass))
}

/// Runs `fetch` to its end, and checks that its messages name no library API.
async fn run(command: Command) -> Ended {
    let ended = process::run(command).await;
    for api in ["()", "::", "dangerously_", "_alias"] {
        assert!(!ended.stderr.contains(api), "{}", ended.stderr);
    }
    ended
}
