//! Examples that share tokens through a Redis server.

use tower_oauth2_testkit::examples::process::{example, run};
use tower_oauth2_testkit::servers::Redis;

#[tokio::test]
async fn the_story_of_an_encrypted_store_works() {
    let redis = Redis::start().await;
    let mut command = example("stories");
    command.env("REDIS_URL", redis.url()).arg("redis_encrypted");
    let ended = run(command).await;
    assert_eq!((ended.code, &*ended.stdout), (Some(0), "redis_encrypted: works\n"));
    assert_eq!(ended.stderr, "");
}

#[tokio::test]
async fn the_shared_tokens_example_works() {
    let ended = run(example("shared_tokens")).await;
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{}", ended.stdout);
    for counts in [
        "2 at the API, 0 of them 401; 1 at the token endpoint",
        "4 at the API, 2 of them 401; 1 at the token endpoint",
        "1 at the API, 0 of them 401; 0 at the token endpoint",
    ] {
        let line = format!("  happened  {counts}\n");
        assert!(ended.stdout.contains(&line), "{line} is missing in {}", ended.stdout);
    }
    assert!(ended.stdout.ends_with("Everything happened as promised.\n"));

    let mut command = example("shared_tokens");
    command.arg("redis://127.0.0.1:1");
    let ended = run(command).await;
    assert_eq!(ended.code, Some(1), "{}", ended.stdout);
    assert!(ended.stderr.contains("the connection was refused"), "{}", ended.stderr);
    for wrong in ["--nonsense", "x"] {
        let mut command = example("shared_tokens");
        command.arg(wrong);
        let ended = run(command).await;
        assert_eq!(ended.code, Some(2), "{wrong}");
        assert_eq!(ended.stderr, "shared_tokens: usage: shared_tokens [redis://HOST:PORT]\n");
    }
}
