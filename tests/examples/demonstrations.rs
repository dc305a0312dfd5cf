//! Examples that check their own results.

use crate::process::{example, run};

#[tokio::test]
async fn the_quickstart_example_works() {
    let ended = run(example("quickstart")).await;
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{}", ended.stdout);
    for counts in [
        "3 at the API, 0 of them 401; 1 at the token endpoint",
        "3 at the API, 0 of them 401; 0 at the token endpoint",
        "2 at the API, 0 of them 401; 2 at the token endpoint",
        "2 at the API, 1 of them 401; 1 at the token endpoint",
        "1000 at the API, 0 of them 401; 1 at the token endpoint",
    ] {
        for word in ["happened", "promised"] {
            let line = format!("  {word}  {counts}\n");
            assert!(ended.stdout.contains(&line), "{line} is missing in {}", ended.stdout);
        }
    }
    let url = "https://docs.rs/tower-oauth2/latest/tower_oauth2/guide/guarantees/";
    let end = format!(
        "\n\nRead more about C1, C2, C5, R1, R3 at {url}\nEverything happened as promised.\n"
    );
    assert!(ended.stdout.ends_with(&end), "{}", ended.stdout);
}

#[tokio::test]
async fn the_client_examples_work() {
    for (name, seen) in [
        ("hyper", &["HTTP/1.1: an upload with a token", "HTTP/2.0: an upload with a token"][..]),
        ("session", &["  seen      GET returns the JSON that was put\n"]),
        ("mtls", &["RFC 8705 section 3: a token is valid only with its own certificate\n"]),
        ("middleware", &["  seen      the second attempt returns 200\n"]),
    ] {
        let ended = run(example(name)).await;
        assert_eq!(ended.code, Some(0), "{name}: {}{}", ended.stdout, ended.stderr);
        for seen in seen {
            assert!(ended.stdout.contains(seen), "{name}: {seen} is missing in {}", ended.stdout);
        }
        let counts = "  happened  2 at the API, 1 of them 401; 1 at the token endpoint\n";
        assert!(ended.stdout.contains(counts), "{name}: {}", ended.stdout);
        assert!(ended.stdout.ends_with("Everything happened as promised.\n"), "{name}");
    }
}

// O
#[cfg(feature = "metrics")]
#[tokio::test]
async fn the_metrics_example_counts_its_requests() {
    let ended = run(example("metrics")).await;
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    for line in [
        r#"tower_oauth2_token_fetch_duration_seconds_count{cause="expired",outcome="success"} 1"#,
        r#"tower_oauth2_token_request_duration_seconds_count{cause="rejected",outcome="success"} 2"#,
        r#"tower_oauth2_replays_total{outcome="accepted"} 1"#,
        "tower_oauth2_failing_credentials 1",
        "# TYPE tower_oauth2_store_operation_duration_seconds histogram",
    ] {
        assert!(ended.stdout.contains(&format!("\n{line}\n")), "{line}: {}", ended.stdout);
    }
    for text in [
        "INFO tower_oauth2::cache::machine::events: token was rejected number=",
        "DEBUG token_request{",
    ] {
        assert!(ended.stderr.contains(text), "{text}: {}", ended.stderr);
    }
    for output in [&ended.stdout, &ended.stderr] {
        assert!(!output.contains("token-1") && !output.contains("s3cr3t"), "{output}");
    }
    assert!(ended.stdout.ends_with("Everything happened as promised.\n"));
}

#[cfg(feature = "tonic")]
#[tokio::test]
async fn the_grpc_example_works() {
    let ended = run(example("grpc")).await;
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    for seen in ["the status is UNAUTHENTICATED", "the status is UNAVAILABLE"] {
        assert!(ended.stdout.contains(&format!("  seen      {seen}\n")), "{}", ended.stdout);
    }
    assert!(ended.stdout.ends_with("Everything happened as promised.\n"));
}

#[cfg(feature = "serde")]
#[tokio::test]
async fn the_configuration_example_reloads_its_file() {
    let ended = run(example("configuration")).await;
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    for line in [
        "  reported  the new configuration is in use\n",
        "  reported  client stock: client table has an unknown field: scop\n",
        "  happened  2 at the API, 0 of them 401; 1 at the token endpoint\n",
        "  happened  2 at the API, 0 of them 401; 0 at the token endpoint\n",
    ] {
        assert!(ended.stdout.contains(line), "{line} is missing in {}", ended.stdout);
    }
    assert!(ended.stdout.ends_with("Everything happened as promised.\n"));
}

// alf 21, 30
#[tokio::test]
async fn the_custom_store_example_works() {
    let ended = run(example("custom_store")).await;
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    for counts in [
        "2 at the API, 0 of them 401; 1 at the token endpoint",
        "6 at the API, 2 of them 401; 1 at the token endpoint",
    ] {
        let line = format!("  happened  {counts}\n");
        assert!(ended.stdout.contains(&line), "{line} is missing in {}", ended.stdout);
    }
}

#[cfg(all(feature = "encryption", feature = "jwt", feature = "redis"))]
#[tokio::test]
async fn every_story_works() {
    // Without a Redis server, the processes of `redis_encrypted` do not share tokens.
    let mut command = example("stories");
    command.env_remove("REDIS_URL");
    let ended = run(command).await;
    let stories = [
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
    let expected = stories.map(|story| format!("{story}: works\n")).concat();
    assert_eq!((ended.code, ended.stdout, ended.stderr), (Some(0), expected, String::new()));

    let mut command = example("stories");
    command.arg("unknown");
    let ended = run(command).await;
    assert_eq!((ended.code, &*ended.stdout), (Some(1), ""));
    assert!(ended.stderr.starts_with("unknown: unknown story; "), "{}", ended.stderr);
}

#[tokio::test]
async fn the_other_examples_work() {
    for (name, seen) in [
        #[cfg(feature = "jwt")]
        (
            "jwt_bearer",
            &[
                "  seen      the server accepts the second assertion, which has a new jti\n",
                "  happened  0 at the API, 0 of them 401; 1 at the token endpoint\n",
            ][..],
        ),
        (
            "refresh_token",
            &[
                "  seen      the program uses the refresh token from the file\n",
                "  happened  1 at the API, 1 of them 401; 1 at the token endpoint\n",
            ][..],
        ),
        (
            "metadata_server",
            &[
                "  seen      the caller gets 200\n",
                "  happened  3 at the API, 0 of them 401; 1 at the token endpoint\n",
            ][..],
        ),
        (
            "on_behalf_of",
            &[
                "  seen      stock sees the caller cat and a token for stock\n",
                "  happened  12 at the API, 0 of them 401; 6 at the token endpoint\n",
                "  happened  12 at the API, 6 of them 401; 6 at the token endpoint\n",
            ][..],
        ),
    ] {
        let ended = run(example(name)).await;
        assert_eq!(ended.code, Some(0), "{name}: {}{}", ended.stdout, ended.stderr);
        for seen in seen {
            assert!(ended.stdout.contains(seen), "{name}: {seen} is missing in {}", ended.stdout);
        }
        assert!(ended.stdout.ends_with("Everything happened as promised.\n"), "{name}");
    }
}

#[tokio::test]
async fn the_soak_example_accounts_for_each_request() {
    let mut command = example("soak");
    command.args(["--seconds", "3", "--callers", "8", "--seed", "7"]);
    let ended = run(command).await;
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{}", ended.stdout);
    for row in ["promises broken", "leaked tasks", "leaked connections"] {
        assert!(ended.stdout.contains(&format!("| {row} | 0 |")), "{}", ended.stdout);
    }
    let mut wrong = example("soak");
    wrong.args(["--seconds", "1"]);
    let ended = run(wrong).await;
    assert_eq!(ended.code, Some(2));
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
}

// W11
#[tokio::test]
async fn the_proxy_example_works_and_refuses_sizes_that_overflow() {
    let ended = run(example("proxy")).await;
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stdout.contains("  seen      the caller gets 405\n"), "{}", ended.stdout);
    for (option, value, range) in [
        ("--mib", "18446744073709551615", "8 to 1048576"),
        ("--mib", "7", "8 to 1048576"),
        ("--uploads", "0", "1 to 10000"),
        ("--uploads", "4294967295", "1 to 10000"),
    ] {
        let mut command = example("proxy");
        command.args([option, value]);
        let ended = run(command).await;
        assert_eq!(ended.code, Some(2), "{option} {value}: {}", ended.stderr);
        let expected = format!("must be a number from {range}\n");
        assert!(ended.stderr.ends_with(&expected), "{}", ended.stderr);
    }
}
