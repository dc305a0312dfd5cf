//! HTTP/2, TLS, and failures of connections.

use http::Version;

use super::run;
use crate::process::{File, fetch, fetch_from};
use crate::server::{self, Ca, Server};

#[tokio::test]
async fn an_option_selects_http2() {
    let ca = Ca::new();
    let cacert = File::new("http2-ca.pem", &ca.pem);
    let over_tls = ["--cacert", cacert.path()];
    for (server, arguments) in
        [(Server::start().await, &[][..]), (Server::start_tls(&ca).await, &over_tls)]
    {
        for (option, version) in [(&[][..], Version::HTTP_11), (&["--http2"], Version::HTTP_2)] {
            let before = server.seen().len();
            let mut command = fetch_from(&server, "/echo", ["--data", "x", "--repeat", "3"]);
            command.args(arguments).args(option);
            let ended = run(command).await;
            assert_eq!(ended.stderr, "3 x 200, 0 x 401; 1 token request, 0 replays, 0 errors\n");
            assert_eq!((ended.code, &*ended.stdout), (Some(0), "x"));
            let seen = server.seen().split_off(before);
            assert_eq!(seen.len(), 4);
            assert!(seen.iter().all(|request| request.version() == version), "{seen:?}");
        }
    }
}

#[tokio::test]
async fn a_server_that_does_not_speak_http2_is_an_error() {
    let old = server::raw("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let mut command = fetch(["--token-endpoint", &old, "--client-id", "client-id", "--http2"]);
    command.arg(&old);
    let ended = run(command).await;
    assert_eq!((ended.code, &*ended.stdout), (Some(1), ""));
    let [error, summary] = ended.lines()[..] else { panic!("{}", ended.stderr) };
    assert!(error.starts_with(&format!("error: no token from {old}: ")), "{error}");
    assert_eq!(summary, "0 x 401; 1 token request, 0 replays, 1 error");
}

#[tokio::test]
async fn tls_works_with_a_given_ca() {
    let ca = Ca::new();
    let server = Server::start_tls(&ca).await;
    let cacert = File::new("ca.pem", &ca.pem);
    let arguments = ["--cacert", cacert.path(), "--data", "over TLS"];
    let ended = run(fetch_from(&server, "/echo", arguments)).await;
    assert_eq!(ended.stderr, "1 x 200, 0 x 401; 1 token request, 0 replays, 0 errors\n");
    assert_eq!((ended.code, &*ended.stdout), (Some(0), "over TLS"));
}

#[tokio::test]
async fn a_wrong_ca_is_an_error() {
    let server = Server::start_tls(&Ca::new()).await;
    let other = File::new("other-ca.pem", &Ca::new().pem);
    let arguments = ["--cacert", other.path()];
    let ended = run(fetch_from(&server, "/echo", arguments)).await;
    assert_eq!((ended.code, &*ended.stdout), (Some(1), ""));
    let [error, summary] = ended.lines()[..] else { panic!("{}", ended.stderr) };
    assert!(error.starts_with(&format!("error: no token from {}: ", server.origin)), "{error}");
    assert!(error.contains("invalid peer certificate: "), "{error}");
    assert_eq!(summary, "0 x 401; 1 token request, 0 replays, 1 error");
    assert_eq!(server.seen().len(), 0);
}

#[tokio::test]
async fn each_kind_of_error_is_one_line() {
    let server = Server::start().await;
    let endpoint = server.at("/invalid-client");
    let arguments = ["--token-endpoint", &endpoint, "--repeat", "3", "--concurrency", "3"];
    let ended = run(fetch_from(&server, "/echo", arguments)).await;
    assert_eq!((ended.code, &*ended.stdout), (Some(1), ""));
    let [error, summary] = ended.lines()[..] else { panic!("{}", ended.stderr) };
    let text = "the endpoint answered with an error (status 401, invalid_client); check \
                --client-id, the secret and --auth";
    assert_eq!(error, format!("error: 3 x no token from {}: {text}", server.origin));
    assert!(summary.starts_with("0 x 401; "), "{summary}");
    assert!(summary.ends_with(", 0 replays, 3 errors"), "{summary}");
}

#[tokio::test]
async fn a_closed_api_connection_is_an_error() {
    let server = Server::start().await;
    let ended = run(fetch_from(&server, "/hang-up", [])).await;
    assert_eq!((ended.code, &*ended.stdout), (Some(1), ""));
    let [error, summary] = ended.lines()[..] else { panic!("{}", ended.stderr) };
    assert!(error.starts_with(&format!("error: no response from {}: ", server.origin)), "{error}");
    assert_eq!(summary, "0 x 401; 1 token request, 0 replays, 1 error");
}

#[tokio::test]
async fn an_incomplete_api_response_is_an_error() {
    let server = Server::start().await;
    let api = server::raw("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nthe beginning");
    let mut command = fetch(["--token-endpoint", &server.at("/token"), "--client-id", "client-id"]);
    command.arg(&api);
    let ended = run(command).await;
    assert_eq!((ended.code, &*ended.stdout), (Some(1), ""));
    let [error, summary] = ended.lines()[..] else { panic!("{}", ended.stderr) };
    assert!(error.starts_with(&format!("error: the response from {api} broke off: ")), "{error}");
    assert_eq!(summary, "0 x 401; 1 token request, 0 replays, 1 error");
}

#[tokio::test]
async fn a_token_is_never_sent_in_clear_text() {
    let server = Server::start().await;
    let mut command = fetch(["--token-endpoint", &server.at("/token"), "--client-id", "client-id"]);
    command.arg("http://api.test/");
    let ended = run(command).await;
    assert_eq!(ended.code, Some(1));
    let [error, summary] = ended.lines()[..] else { panic!("{}", ended.stderr) };
    assert!(error.contains("must use https or a loopback address"), "{error}");
    assert!(error.ends_with("; check the scheme, or use --allow-http"), "{error}");
    assert_eq!(summary, "0 x 401; 0 token requests, 0 replays, 1 error");
    assert_eq!(server.seen().len(), 0);
}
