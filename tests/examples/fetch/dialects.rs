//! Options for servers and APIs that differ from the standard.

use http::header::AUTHORIZATION;

use super::run;
use crate::process::{fetch, fetch_from};
use crate::server::Server;

#[tokio::test]
async fn options_set_the_header_of_the_token() {
    for (arguments, name, expected) in [
        (&["--scheme", "Zoho-oauthtoken"][..], "authorization", "Zoho-oauthtoken token-1"),
        (&["--header-name", "X-Shopify-Access-Token"], "x-shopify-access-token", "Bearer token-1"),
        (&["--header-name", "x-token", "--scheme", ""], "x-token", "token-1"),
    ] {
        let server = Server::start().await;
        let ended = run(fetch_from(&server, "/echo", arguments.iter().copied())).await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let request = server.api_requests().remove(0);
        assert_eq!(request.headers()[name], expected);
        let has_authorization = request.headers().contains_key(AUTHORIZATION);
        assert_eq!(has_authorization, name == "authorization");
    }
}

#[tokio::test]
async fn an_option_adds_headers_to_token_requests() {
    let server = Server::start().await;
    let headers = ["--token-header", "X-Api-Key: a:b", "--token-header", "User-Agent:curl"];
    let ended = run(fetch_from(&server, "/echo", headers)).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let sent = server.token_requests().remove(0);
    assert_eq!(
        (&sent.headers()["x-api-key"], &sent.headers()["user-agent"]),
        (&"a:b".parse().unwrap(), &"curl".parse().unwrap(),)
    );
    assert!(!server.api_requests()[0].headers().contains_key("x-api-key"));
}

#[tokio::test]
async fn an_option_sends_parameters_as_json() {
    let server = Server::start().await;
    let ended = run(fetch_from(&server, "/echo", ["--json", "--scope", "read"])).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let sent = server.token_requests().remove(0);
    assert_eq!(sent.headers()["content-type"], "application/json");
    let parameters: serde_json::Value = serde_json::from_slice(sent.body()).unwrap();
    let expected = serde_json::json!({ "grant_type": "client_credentials", "scope": "read" });
    assert_eq!(parameters, expected);
}

#[tokio::test]
async fn an_option_accepts_another_name_of_bearer() {
    let server = Server::start().await;
    let arguments = ["--token-endpoint", &server.at("/apigee"), "--client-id", "client-id"];
    let mut command = fetch(arguments);
    command.args(["--token-type", "BearerToken"]).arg(server.at("/echo"));
    let ended = run(command).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(server.seen()[1].headers()[AUTHORIZATION], "Bearer token-1");

    let mut command = fetch(arguments);
    command.arg(server.at("/echo"));
    let ended = run(command).await;
    assert!(ended.stderr.contains("neither Bearer nor a --token-type"), "{}", ended.stderr);
}

#[tokio::test]
async fn an_option_sets_the_place_of_the_metadata() {
    let server = Server::start().await;
    for (well_known, path) in [
        ("openid-configuration", "/realm/.well-known/openid-configuration"),
        ("/metadata", "/metadata"),
        (&server.at("/metadata"), "/metadata"),
    ] {
        let before = server.seen().len();
        let mut command = fetch(["--issuer", &server.at("/realm"), "--client-id", "client-id"]);
        command.args(["--well-known", well_known]).arg(server.at("/echo"));
        let ended = run(command).await;
        assert_eq!(ended.code, Some(0), "{well_known}: {}", ended.stderr);
        let paths: Vec<_> = server.seen()[before..].iter().map(|sent| sent.uri().clone()).collect();
        assert_eq!(paths, [path, "/token", "/echo"]);
    }

    let mut command = fetch(["--issuer", &server.at("/realm"), "--client-id", "client-id"]);
    command.args(["--well-known", "oauth-authorization-server"]).arg(server.at("/echo"));
    let ended = run(command).await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.ends_with("; check --issuer and --well-known\n"), "{}", ended.stderr);
    let paths = server.seen();
    let last = paths.last().unwrap().uri();
    assert_eq!(last, "/.well-known/oauth-authorization-server/realm");

    let mut command = fetch(["--issuer", &server.at("/realm"), "--client-id", "client-id"]);
    command.args(["--well-known", "jwks"]).arg(server.at("/echo"));
    let ended = run(command).await;
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.starts_with("fetch: --well-known: must be "), "{}", ended.stderr);
}

// On Unix, a connection to 0.0.0.0 reaches loopback, though the address is not a loopback address.
#[cfg(unix)]
#[tokio::test]
async fn an_option_allows_plain_http() {
    let server = Server::start().await;
    let at = |path: &str| server.at(path).replace("127.0.0.1", "0.0.0.0");
    let (token_endpoint, issuer, api) = (at("/token"), at("/realm"), at("/echo"));
    for place in [["--token-endpoint", &token_endpoint], ["--issuer", &issuer]] {
        let before = server.seen().len();
        let mut command = fetch(place);
        let ended = run({
            command.args(["--client-id", "client-id", &api]);
            command
        })
        .await;
        assert_eq!((ended.code, server.seen().len()), (Some(1), before), "{}", ended.stderr);
        assert!(ended.stderr.contains("use --allow-http"), "{}", ended.stderr);

        let mut command = fetch(place);
        command.args(["--client-id", "client-id", "--allow-http", &api]);
        let ended = run(command).await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert_eq!(
            server.seen().last().unwrap().headers()[AUTHORIZATION].as_bytes()[..6],
            *b"Bearer"
        );
    }
}
