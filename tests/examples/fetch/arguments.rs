//! Invalid and missing arguments.

use super::run;
use crate::process::{File, SECRET, fetch, fetch_from};
use crate::server::{Ca, Server};

const KEY_IS_MISSING: &str =
    if cfg!(feature = "jwt") { "--key is missing" } else { "--auth: this method needs" };

#[tokio::test]
async fn bad_arguments_are_a_one_line_error() {
    let needed = ["--token-endpoint", "https://auth.test", "--client-id", "client-id"];
    let url = "https://api.test";
    let empty = File::new("empty.pem", "");
    let identity = Ca::new().certify();
    let cert = File::new("cert.pem", &identity.certificate_pem());
    let key = File::new("key.pem", &identity.key_pem());
    let cases: &[(&[&str], &str)] = &[
        (&[], "the URL is missing"),
        (&[url, url], "there is more than one URL"),
        (&["api.test"], "URL: "),
        (&["/path"], "URL: "),
        (&["ftp://api.test"], "URL: "),
        (&["https://api.test:65536"], "URL: the port"),
        (&["https://[::1]:x"], "URL: the port"),
        (&["https://s3cr3t-of-the-client@api.test"], "URL: "),
        (&["https://a b"], "URL: "),
        (&["--nonsense", url], "unknown option --nonsense"),
        (&["-x", url], "unknown option -x"),
        (&["--client-secret", SECRET, url], "unknown option --client-secret"),
        (&["--token-endpoint", "nowhere", url], "token endpoint needs a scheme"),
        (&["--client-id", "", url], "client id is empty"),
        (&["--client-id"], "--client-id: needs a value"),
        (&["--auth", "magic", url], "--auth: "),
        (&["--param", SECRET, url], "--param: is not of the form NAME=VALUE"),
        (&["--method", "A B", url], "--method: "),
        (&["--method", "CONNECT", url], "--method: "),
        (&["--header", SECRET, url], "--header: is not of the form NAME:VALUE"),
        (&["--header", "a b:c", url], "--header: the name"),
        (&["--header", "a:b\nc", url], "--header: the value of a"),
        (&["--header", "content-length:1", url], "--header: content-length"),
        (&["--data", "@/no/such/file", url], "--data: "),
        (&["--stream", url], "--stream: needs --data"),
        (&["--stream", "--data", "@/no/such/file", url], "--data: "),
        (&["--stream", "--data", "@/", url], "--data: "),
        (&["--stream", "--data", "@-", "--repeat", "2", url], "--repeat: stdin"),
        (&["--stream=yes", "--data", "x", url], "an option has a value that takes none"),
        (&["--data", "x", "--replay-limit", "1", url], "--replay-limit: needs --stream"),
        (&["--stream", "--data", "x", "--replay-limit", "-1", url], "--replay-limit: "),
        (&["--allow-origin", "api.test", url], "--allow-origin: origin needs a scheme"),
        (&["--allow-origin", "https://api.test/things", url], "--allow-origin: origin must have"),
        (&["--allow-origin", "https://a:s3cr3t-of-the-client@api.test", url], "--allow-origin: "),
        (
            &["--store", "file:///s3cr3t-of-the-client", url],
            "--store: does not begin with redis://",
        ),
        #[cfg(feature = "redis")]
        (&["--store", "redis://:s3cr3t-of-the-client@:x", url], "--store: is not a valid URL"),
        (&["--http2=yes", url], "an option has a value that takes none"),
        (&["--cacert", "/no/such/file", url], "--cacert: "),
        (&["--cacert", empty.path(), url], "--cacert: holds no certificate"),
        (&["--issuer", "https://auth.test", url], "--issuer: not together with --token-endpoint"),
        (&["--auth", "tls_client_auth", url], "--auth: this method needs --cert and --key"),
        (&["--cert", "/no/such/file", url], "--cert: "),
        (&["--cert", empty.path(), url], "--cert: holds no certificate"),
        (&["--cert", cert.path(), url], "--cert: needs --key"),
        (&["--key", "/no/such/file", url], "--key: "),
        (&["--cert", cert.path(), "--key", empty.path(), url], "--key: holds no private key"),
        (&["--key", key.path(), url], "--key: needs --cert"),
        (&["--client-secret-file", "/no/such/file", url], "--client-secret-file: "),
        (&["--client-secret-file", "/", url], "--client-secret-file: is not a regular file"),
        (&["--store", "postgres://x", url], "--store: does not begin with"),
        (&["--dpop-key", empty.path(), url], "--dpop-key: needs --dpop"),
        (&["--dpop", "--dpop-key", empty.path(), url], "--dpop: "),
        (&["--seal-key-file", "/no/such/file", url], "--seal-key-file: "),
        (&["--auth", "client_assertion", url], "--assertion-file is missing"),
        (&["--auth", "private_key_jwt", url], KEY_IS_MISSING),
        (&["--key", "/no/such/file", url], "--key: "),
        (&["--alg", "none", url], "--alg: "),
        (&["--kid", "k1", url], "--k"),
        (&["--auth", "client_assertion", "--assertion-type", "x", url], "--assertion-file is"),
        (&["--assertion-file", empty.path(), url], "--assertion-file: needs --auth client_asser"),
        (&["--assertion-type", "x", url], "--assertion-type: needs --auth client_assertion"),
        (
            &["--client-secret-file", empty.path(), "--auth", "none", url],
            "--client-secret-file: not",
        ),
        (&["--well-known", "openid-configuration", url], "--well-known: needs --issuer"),
        (&["--header-name", "a b", url], "--header-name: is not the name of a header"),
        (&["--header-name", "host", url], "--header-name: host is set by the client"),
        (&["--header-name", "x-key", "--header", "X-Key:1", url], "--header-name: not together"),
        (&["--scheme", "a b", url], "--scheme: must be one word"),
        (&["--token-header", SECRET, url], "--token-header: is not of the form NAME:VALUE"),
        (&["--token-header", "host:x", url], "--token-header: token request header must not"),
        (&["--token-header", "x-key:", url], "--token-header: token request header has an empty"),
        (&["--json=yes", url], "an option has a value that takes none"),
        (&["--scope", "a", "--param", "scope=b", url], "--param scope: not together with --scope"),
        (&["--store-password-file", "/no/such/file", url], "--store-password-file: "),
        (&["--store-password-file", empty.path(), url], "--store-password-file: is empty"),
        (&["--store-password-file", key.path(), url], "--store-password-file: needs --store"),
        #[cfg(feature = "redis")]
        (
            &["--store", "redis://:a@h", "--store-password-file", key.path(), url],
            "--store-password-file: not together with a password in --store",
        ),
        #[cfg(feature = "memcached")]
        (
            &["--store", "memcached://h", "--store-password-file", key.path(), url],
            "--store-password-file: memcached has no passwords",
        ),
        #[cfg(feature = "jwt")]
        (&["--dpop", "--scheme", "Bearer", url], "--scheme: not together with --dpop"),
        #[cfg(feature = "jwt")]
        (&["--claims", SECRET, url], "--claims: must be a JSON object"),
        #[cfg(feature = "jwt")]
        (&["--claims", "{}", url], "--claims: needs --auth private_key_jwt"),
        #[cfg(feature = "jwt")]
        (&["--auth", "client_secret_jwt", "--typ", "JWT", url], "--typ: needs --auth private_key"),
        #[cfg(feature = "jwt")]
        (&["--assertion-audience", "a", url], "--assertion-audience: needs --auth private_key_jwt"),
        #[cfg(feature = "jwt")]
        (
            &["--auth", "client_secret_jwt", "--assertion-audience", "issuer", url],
            "--assertion-audience issuer: needs --issuer",
        ),
        (&["--explain=yes"], "an option has a value that takes none"),
        (&["--repeat", "0", url], "--repeat: "),
        (&["--concurrency", "65536", url], "--concurrency: "),
        (&["--every", "-1", url], "--every: "),
    ];
    for (arguments, expected) in cases {
        let mut command = fetch(needed);
        command.args(*arguments);
        let ended = run(command).await;
        assert_eq!((ended.code, &*ended.stdout), (Some(2), ""), "{arguments:?}: {}", ended.stderr);
        let [line] = ended.lines()[..] else { panic!("{arguments:?}: {}", ended.stderr) };
        assert!(line.starts_with(&format!("fetch: {expected}")), "{arguments:?}: {line}");
    }
}

#[tokio::test]
async fn a_missing_argument_is_an_error() {
    for (arguments, expected) in [
        (
            &["--client-id", "client-id", "https://api.test"],
            "--token-endpoint or --issuer is missing",
        ),
        (&["--token-endpoint", "https://auth.test", "https://api.test"], "--client-id is missing"),
    ] {
        let ended = run(fetch(*arguments)).await;
        assert_eq!(ended.code, Some(2));
        assert_eq!(ended.stderr, format!("fetch: {expected} (see --help)\n"));
    }
    let mut command = fetch(["--issuer", "auth.test", "--client-id", "id", "https://api.test"]);
    command.env("CLIENT_SECRET", SECRET);
    let ended = run(command).await;
    assert_eq!(ended.code, Some(2));
    assert_eq!(ended.stderr, "fetch: issuer needs a scheme and a host: auth.test (see --help)\n");

    let server = Server::start().await;
    let mut command = fetch_from(&server, "/echo", []);
    command.env_remove("CLIENT_SECRET");
    let ended = run(command).await;
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.starts_with("fetch: a secret is missing: CLIENT_SECRET"));
    assert_eq!(server.seen().len(), 0);
}

#[cfg(unix)]
#[tokio::test]
async fn arguments_that_are_not_text_are_refused() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let not_utf8 = OsStr::from_bytes(b"\xff");
    for option in [&["--client-id"][..], &["--data"], &["--header"], &["--repeat"], &[]] {
        let mut command = fetch(option.iter().copied());
        command.arg(not_utf8);
        let ended = run(command).await;
        assert_eq!((ended.code, ended.lines().len()), (Some(2), 1), "{}", ended.stderr);
        assert!(ended.stderr.contains("is not UTF-8"), "{}", ended.stderr);
    }
    let mut command = fetch(["--client-id", "a", "--token-endpoint", "https://a.test"]);
    command.arg("https://b.test").env("CLIENT_SECRET", not_utf8);
    let ended = run(command).await;
    assert_eq!(ended.code, Some(2));
    assert_eq!(ended.stderr, "fetch: CLIENT_SECRET: is not UTF-8 (see --help)\n");
}

#[tokio::test]
async fn help_exits_with_success() {
    let ended = run(fetch(["--help"])).await;
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""));
    for option in [
        "--token-endpoint --issuer --well-known --scope --audience --resource --param --dpop",
        "--dpop-key --allow-origin --client-id --client-secret-file --auth --key --kid --alg",
        "--claims --typ --assertion-audience --assertion-file --assertion-type --token-header",
        "--json --token-type --allow-http --store --store-password-file --seal-key-file --method",
        "--header --header-name --scheme --data --stream --replay-limit --repeat --concurrency",
        "--every --cacert --cert --http2 --explain",
    ]
    .into_iter()
    .flat_map(|options| options.split(' '))
    {
        assert!(ended.stdout.contains(option), "{option}");
    }
}
