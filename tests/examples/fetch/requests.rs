//! Requests that `fetch` sends.

use http::header::AUTHORIZATION;
use http::{HeaderValue, Method};

use super::{basic, run};
use crate::process::{File, SECRET, fetch, fetch_from};
use crate::server::{self, Server};

#[tokio::test]
async fn options_set_the_request() {
    let server = Server::start().await;
    let arguments = [
        "--scope",
        "read write",
        "--audience",
        "the api",
        "--audience",
        "b",
        "--resource",
        "https://a.test",
        "--resource",
        "https://b.test",
        "--param",
        "tenant=x=y",
        "--method",
        "PUT",
        "--header",
        "content-type: application/json",
        "--data",
        r#"{"name":"Alf"}"#,
    ];
    let ended = run(fetch_from(&server, "/echo?page=2", arguments)).await;
    assert_eq!(ended.stdout, r#"{"name":"Alf"}"#);
    assert_eq!(ended.stderr, "1 x 200, 0 x 401; 1 token request, 0 replays, 0 errors\n");
    assert_eq!(ended.code, Some(0));

    let tokens = server.token_requests();
    assert_eq!(tokens.len(), 1);
    assert_eq!(tokens[0].headers()[AUTHORIZATION], basic(&format!("client-id:{SECRET}")));
    assert_eq!(
        tokens[0].body(),
        "grant_type=client_credentials&scope=read+write&audience=the+api&audience=b&\
         resource=https%3A%2F%2Fa.test&resource=https%3A%2F%2Fb.test&tenant=x%3Dy"
    );
    let requests = server.api_requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].method(), Method::PUT);
    assert_eq!(requests[0].uri(), "/echo?page=2");
    assert_eq!(requests[0].headers()[AUTHORIZATION], "Bearer token-1");
    assert_eq!(requests[0].headers()["content-type"], "application/json");
}

#[tokio::test]
async fn many_requests_share_one_token() {
    let server = Server::start().await;
    let arguments = ["--repeat", "1000", "--concurrency", "20"];
    let ended = run(fetch_from(&server, "/echo", arguments)).await;
    assert_eq!(ended.stderr, "1000 x 200, 0 x 401; 1 token request, 0 replays, 0 errors\n");
    assert_eq!(ended.code, Some(0));
    assert_eq!((server.token_requests().len(), server.api_requests().len()), (1, 1000));
}

#[tokio::test]
async fn requests_can_be_spread_over_time() {
    let server = Server::start().await;
    let arguments = ["--repeat", "3", "--every", "1", "--data", "x"];
    let ended = run(fetch_from(&server, "/echo", arguments)).await;
    assert_eq!(ended.stderr, "3 x 200, 0 x 401; 1 token request, 0 replays, 0 errors\n");
    assert_eq!(ended.stdout, "x", "the last response's body and no other");
    assert!(server.api_requests().iter().all(|request| request.method() == Method::POST));
}

#[tokio::test]
async fn a_rejected_token_is_replaced_and_the_request_replayed() {
    let server = Server::start().await;
    let body = File::new("body", "line 1\nline 2\n");
    let data = format!("@{}", body.path());
    let ended = run(fetch_from(&server, "/second-token-only", ["--data", &data])).await;
    assert_eq!(ended.stderr, "1 x 200, 0 x 401; 2 token requests, 1 replay, 0 errors\n");
    assert_eq!((ended.code, &*ended.stdout), (Some(0), "line 1\nline 2\n"));
    let bodies: Vec<_> =
        server.api_requests().into_iter().map(|request| request.into_body()).collect();
    assert_eq!(bodies, ["line 1\nline 2\n", "line 1\nline 2\n"]);
}

#[tokio::test]
async fn data_may_come_from_stdin() {
    for (arguments, framing) in [(&[][..], "content-length"), (&["--stream"], "transfer-encoding")]
    {
        let server = Server::start().await;
        let stdin = File::new("stdin", "line 1\nline 2\n");
        let mut command = fetch_from(&server, "/echo", ["--data", "@-"]);
        command.args(arguments).stdin(std::fs::File::open(stdin.path()).unwrap());
        let ended = run(command).await;
        assert_eq!(ended.stderr, "1 x 200, 0 x 401; 1 token request, 0 replays, 0 errors\n");
        assert_eq!((ended.code, &*ended.stdout), (Some(0), "line 1\nline 2\n"));
        let request = &server.api_requests()[0];
        assert_eq!(request.method(), Method::POST);
        assert!(request.headers().contains_key(framing), "{:?}", request.headers());
    }
}

#[tokio::test]
async fn a_stream_is_replayed_up_to_its_limit() {
    let body = "0123456789".repeat(20_000);
    let file = File::new("stream", &body);
    let from_file = format!("@{}", file.path());
    let whole = "2 x 200, 0 x 401; 2 token requests, 1 replay, 0 errors\n";
    // The second request uses the token that the first could not be resent with.
    let over = "1 x 200, 1 x 401; 2 token requests, 0 replays, 0 errors\n";
    for (data, body, limit, summary) in [
        ("0123456789", "0123456789", &[][..], whole),
        ("0123456789", "0123456789", &["--replay-limit", "10"], whole),
        ("0123456789", "0123456789", &["--replay-limit", "9"], over),
        (&from_file, &body, &["--replay-limit", "200000"], whole),
        (&from_file, &body, &["--replay-limit", "199999"], over),
        (&from_file, &body, &[], over),
    ] {
        for version in [&[][..], &["--http2"]] {
            let server = Server::start().await;
            let arguments = ["--stream", "--data", data, "--repeat", "2"];
            let mut command = fetch_from(&server, "/second-token-only", arguments);
            command.args(limit).args(version);
            let ended = run(command).await;
            assert_eq!((ended.code, &*ended.stderr), (Some(0), summary), "{limit:?} {version:?}");
            let requests = server.api_requests();
            assert_eq!(requests.len(), if summary == whole { 3 } else { 2 });
            for request in requests {
                assert!(*request.body() == *body, "{limit:?} {version:?}");
                assert_eq!(request.headers()["content-length"], body.len().to_string());
            }
        }
    }
}

#[tokio::test]
async fn tokens_are_sent_to_allowed_origins_only() {
    let (server, other) = (Server::start().await, "https://other.test");
    for (origins, summary) in [
        (&[other][..], "1 x 200, 0 x 401; 0 token requests, 0 replays, 0 errors\n"),
        (&[other, &server.origin], "1 x 200, 0 x 401; 1 token request, 0 replays, 0 errors\n"),
    ] {
        let mut command = fetch_from(&server, "/echo", []);
        command.args(origins.iter().flat_map(|origin| ["--allow-origin", origin]));
        let ended = run(command).await;
        assert_eq!((ended.code, &*ended.stderr), (Some(0), summary));
    }
    let requests = server.api_requests();
    let tokens: Vec<_> =
        requests.iter().map(|request| request.headers().get(AUTHORIZATION)).collect();
    assert_eq!(tokens, [None, Some(&HeaderValue::from_static("Bearer token-1"))]);
}

#[tokio::test]
async fn an_error_status_is_not_a_failure() {
    for (path, body, summary) in [
        ("/busy", "busy", "0 x 401, 1 x 503; 1 token request, 0 replays, 0 errors\n"),
        ("/refused", "refused", "1 x 401; 2 token requests, 1 replay, 0 errors\n"),
        ("/moved", "", "1 x 302, 0 x 401; 1 token request, 0 replays, 0 errors\n"),
    ] {
        let server = Server::start().await;
        let ended = run(fetch_from(&server, path, [])).await;
        assert_eq!((ended.code, &*ended.stdout, &*ended.stderr), (Some(0), body, summary));
        assert!(server.api_requests().iter().all(|request| request.uri().path() == path));
    }
}

#[tokio::test]
async fn endless_responses_and_files_end_with_an_error() {
    let server = Server::start().await;
    let endless = server::endless();
    let token_endpoint = server.at("/token");
    let arguments = [
        "--token-endpoint",
        &token_endpoint,
        "--client-id",
        "client-id",
        "--repeat",
        "2",
        &endless,
    ];
    let ended = run(fetch(arguments)).await;
    assert_eq!((ended.code, &*ended.stdout), (Some(1), ""));
    let lines = [
        &*format!("error: 2 x the response from {endless} is larger than 64 MiB"),
        "0 x 401; 1 token request, 0 replays, 2 errors",
    ];
    assert_eq!(ended.lines(), lines);

    #[cfg(unix)]
    for option in ["--data", "--cacert"] {
        let value = if option == "--data" { "@/dev/zero" } else { "/dev/zero" };
        let ended = run(fetch_from(&server, "/echo", [option, value])).await;
        assert_eq!(ended.code, Some(2));
        let line = format!("fetch: {option}: is larger than 64 MiB (see --help)");
        assert_eq!(ended.lines(), [line]);
    }
}
