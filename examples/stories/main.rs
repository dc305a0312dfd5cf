//! Runs short programs for common tasks, one file each. Each uses a token endpoint and an API on
//! loopback.
//!
//! ```text
//! cargo run --features full --example stories            # all of them
//! cargo run --features full --example stories tenants    # one of them
//! ```

mod app_state;
mod generic;
mod github_app;
mod nonstandard;
mod on_behalf_of;
mod password;
mod redis_encrypted;
mod server;
mod tenants;
mod unit_tests;
mod user_refresh;

use std::process::ExitCode;

use tower_oauth2::BoxError;

use crate::server::TestServer;

const STORIES: [&str; 10] = [
    "app_state",
    "generic",
    "github_app",
    "nonstandard",
    "on_behalf_of",
    "password",
    "redis_encrypted",
    "tenants",
    "unit_tests",
    "user_refresh",
];

async fn run(story: &str) -> Result<(), BoxError> {
    let server = TestServer::start().await?;
    match story {
        "app_state" => app_state::run(&server).await,
        "generic" => generic::run(&server).await,
        "github_app" => github_app::run(&server).await,
        "nonstandard" => nonstandard::run(&server).await,
        "on_behalf_of" => on_behalf_of::run(&server).await,
        "password" => password::run(&server).await,
        "redis_encrypted" => redis_encrypted::run(&server).await,
        "tenants" => tenants::run(&server).await,
        "unit_tests" => unit_tests::run().await,
        "user_refresh" => user_refresh::run(&server).await,
        _ => Err(format!("unknown story; the stories are {STORIES:?}").into()),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let named: Vec<String> = std::env::args().skip(1).collect();
    let named = named.iter().map(String::as_str);
    let stories: Vec<_> = if named.len() == 0 { STORIES.to_vec() } else { named.collect() };
    let mut outcome = ExitCode::SUCCESS;
    for story in stories {
        match run(story).await {
            Ok(()) => println!("{story}: works"),
            Err(error) => {
                eprintln!("{story}: {error}");
                outcome = ExitCode::FAILURE;
            }
        }
    }
    outcome
}
