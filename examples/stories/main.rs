//! Short programs for common tasks, one file each. Each runs against a token endpoint and an API on
//! loopback.
//!
//! ```text
//! cargo run --features full --example stories            # all of them
//! cargo run --features full --example stories tenants    # one of them
//! ```

mod app_state;
mod generic;
mod github_app;
mod oddities;
mod on_behalf_of;
mod password;
mod redis_encrypted;
mod tenants;
mod unit_tests;
mod user_refresh;
mod world;

use std::process::ExitCode;

use tower_oauth2::BoxError;

use crate::world::World;

const STORIES: [&str; 10] = [
    "app_state",
    "generic",
    "github_app",
    "oddities",
    "on_behalf_of",
    "password",
    "redis_encrypted",
    "tenants",
    "unit_tests",
    "user_refresh",
];

async fn run(story: &str) -> Result<(), BoxError> {
    let world = World::start().await?;
    match story {
        "app_state" => app_state::run(&world).await,
        "generic" => generic::run(&world).await,
        "github_app" => github_app::run(&world).await,
        "oddities" => oddities::run(&world).await,
        "on_behalf_of" => on_behalf_of::run(&world).await,
        "password" => password::run(&world).await,
        "redis_encrypted" => redis_encrypted::run(&world).await,
        "tenants" => tenants::run(&world).await,
        "unit_tests" => unit_tests::run().await,
        "user_refresh" => user_refresh::run(&world).await,
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
