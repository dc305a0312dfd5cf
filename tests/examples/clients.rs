//! Runs the examples with other HTTP clients, and checks their output.

use crate::process::{example, run};

/// Runs an example, which checks itself, and checks that it prints these lines too.
async fn everything_is_as_promised(name: &str, lines: &[&str]) {
    let ended = run(example(name)).await;
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{}", ended.stdout);
    for line in lines {
        let is_there = ended.stdout.lines().any(|printed| printed.trim() == *line);
        assert!(is_there, "{line} is missing in {}", ended.stdout);
    }
    assert!(ended.stdout.ends_with("\nEverything happened as promised.\n"), "{}", ended.stdout);
}

#[cfg(feature = "reqwest")]
#[tokio::test]
async fn reqwest_sends_tokens_and_streams() {
    everything_is_as_promised(
        "reqwest",
        &[
            "seen      the whole stream arrived both times",
            "seen      the response says Replayed::No(Body)",
            "happened  2 at the API, 1 of them 401; 1 at the token endpoint",
        ],
    )
    .await;
}

#[cfg(feature = "reqwest-middleware")]
#[tokio::test]
async fn reqwest_middleware_sends_tokens() {
    everything_is_as_promised(
        "reqwest_middleware",
        &[
            "seen      GET returns the JSON that was put",
            "seen      the whole JSON arrived both times",
            "happened  2 at the API, 1 of them 401; 1 at the token endpoint",
        ],
    )
    .await;
}

#[tokio::test]
async fn grpc_calls_are_replayed_once() {
    everything_is_as_promised(
        "grpc",
        &[
            "seen      both messages of the stream arrive",
            "seen      each number arrived once",
            "happened  2 at the API, 1 of them 401; 1 at the token endpoint",
        ],
    )
    .await;
}

#[tokio::test]
async fn a_proxy_streams_uploads_and_does_not_grow() {
    everything_is_as_promised(
        "proxy",
        &[
            "seen      the request has the service's token instead of the caller's",
            "seen      the whole body arrived both times",
            "8 uploads of 8 MiB at once, with the layers",
            "seen      8 uploads arrived whole: length and SHA-256",
            "seen      the proxy never uses half the size of the uploads",
        ],
    )
    .await;
}

#[tokio::test]
async fn a_proxy_refuses_bad_arguments() {
    for arguments in [&["--nonsense"][..], &["--uploads", "0"], &["--mib", "7"], &["with-token"]] {
        let mut command = example("proxy");
        command.args(arguments);
        let ended = run(command).await;
        assert_eq!((ended.code, &*ended.stdout), (Some(2), ""), "{}", ended.stderr);
        assert!(ended.stderr.starts_with("proxy: "), "{}", ended.stderr);
    }
}
