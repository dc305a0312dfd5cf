//! Texts of errors.

use super::run;
use crate::process::{SECRET, fetch};
use crate::server::Server;

#[tokio::test]
async fn the_reason_of_the_server_is_printed() {
    let server = Server::start().await;
    let mut command = fetch(["--token-endpoint", &server.at("/described")]);
    command.args(["--client-id", "client-id", "--auth", "client_secret_post"]);
    command.arg(server.at("/echo"));
    let ended = run(command).await;
    assert_eq!(ended.code, Some(1));
    let [error, _] = ended.lines()[..] else { panic!("{}", ended.stderr) };
    let (_, reason) = error.split_once("; the server says: ").unwrap();
    let expected = [
        r"no_such_scope: \u{1b}[31mno\u{202e} scope in grant_type=client_credentials",
        "client_id=client-id",
        "client_secret=***, xxx",
    ]
    .join("&");
    assert!(reason.starts_with(&expected), "{reason}");
    assert!(reason.ends_with("xxx...") && reason.chars().count() < 600, "{reason}");
    // The server did receive the secret.
    assert!(String::from_utf8_lossy(server.seen()[0].body()).contains(SECRET));
}

#[tokio::test]
async fn a_redirect_of_the_token_endpoint_is_printed() {
    let server = Server::start().await;
    let mut command = fetch(["--token-endpoint", &server.at("/moved"), "--client-id", "client-id"]);
    command.arg(server.at("/echo"));
    let ended = run(command).await;
    assert_eq!(ended.code, Some(1));
    let [error, _] = ended.lines()[..] else { panic!("{}", ended.stderr) };
    assert!(error.ends_with("; the server redirects to /echo?***"), "{error}");
}

#[cfg(feature = "jwt")]
#[tokio::test]
async fn the_advice_on_an_assertion_names_options() {
    use crate::process::File;

    let server = Server::start().await;
    let key = File::new("advice.pem", &rcgen::KeyPair::generate().unwrap().serialize_pem());
    for (audience, advice) in [
        ("token-endpoint", "--assertion-audience sets another audience"),
        ("https://a.test", "use --assertion-audience token-endpoint"),
    ] {
        let endpoint = server.at("/invalid-client");
        let mut command = fetch(["--token-endpoint", &endpoint, "--client-id", "client-id"]);
        command.args(["--auth", "private_key_jwt", "--key", key.path()]);
        command.args(["--assertion-audience", audience]).arg(server.at("/echo"));
        let ended = run(command).await;
        assert_eq!(ended.code, Some(1));
        assert!(ended.stderr.contains(advice), "{}", ended.stderr);
        assert!(ended.stderr.contains("--assertion-audience, --kid and --alg"), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn advice_names_options_and_no_methods() {
    let server = Server::start().await;
    for (path, advice) in [
        ("/busy", "check the state of that server"),
        ("/refused", "check --client-id, the secret and --auth"),
        ("/echo", "check --token-endpoint, and the response with --explain"),
        ("/apigee", "neither Bearer nor a --token-type"),
    ] {
        let mut command = fetch(["--token-endpoint", &server.at(path), "--client-id", "client-id"]);
        command.arg(server.at("/echo"));
        let ended = run(command).await;
        assert_eq!(ended.code, Some(1), "{path}");
        assert!(ended.stderr.contains(advice), "{path}: {}", ended.stderr);
    }
}
