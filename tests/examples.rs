//! The examples, run as a newcomer runs them.
#![allow(unreachable_pub, missing_docs)]

#[path = "examples/process.rs"]
mod process;
#[path = "examples/server.rs"]
mod server;
#[cfg(feature = "redis")]
#[allow(dead_code, unused_imports, reason = "shared with the tests of stores")]
#[path = "stores/support/mod.rs"]
mod support;

#[cfg(all(feature = "memcached", unix))]
#[allow(dead_code, reason = "shared with the tests of stores")]
#[path = "stores/memcached/support.rs"]
mod memcached;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Method, Version};

#[cfg(all(feature = "memcached", unix))]
use self::memcached::Memcached;
use self::process::{File, SECRET, example, fetch, fetch_from, run};
use self::server::{Ca, Server};
#[cfg(feature = "redis")]
use self::support::{Redis, TlsRedis};

const KEY_IS_MISSING: &str =
    if cfg!(feature = "jwt") { "--key is missing" } else { "--auth: this method needs" };

fn basic(user_pass: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(user_pass))
}

#[tokio::test]
async fn the_quickstart_sees_what_it_promises() {
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
    assert!(ended.stdout.ends_with("Everything happened as promised.\n"));
}

#[tokio::test]
async fn the_clients_see_what_they_promise() {
    for (name, seen) in [
        ("hyper", &["HTTP/1.1: an upload with a token", "HTTP/2.0: an upload with a token"][..]),
        ("session", &["  seen      GET brings the JSON that was put\n"]),
        ("mtls", &["RFC 8705 section 3: a token is good with its own certificate only\n"]),
        ("middleware", &["  seen      the second attempt is answered with 200\n"]),
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
async fn what_is_counted_is_what_happened() {
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
    for told in
        ["INFO tower_oauth2::cache::slot: token was rejected number=", "DEBUG token_request{"]
    {
        assert!(ended.stderr.contains(told), "{told}: {}", ended.stderr);
    }
    for output in [&ended.stdout, &ended.stderr] {
        assert!(!output.contains("token-1") && !output.contains("s3cr3t"), "{output}");
    }
    assert!(ended.stdout.ends_with("Everything happened as promised.\n"));
}

// alf 21, 30
#[tokio::test]
async fn a_store_of_ones_own_sees_what_it_promises() {
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

#[cfg(all(feature = "redis", feature = "sealed"))]
#[tokio::test]
async fn what_is_stored_can_be_sealed() {
    let redis = Redis::start().await;
    let text = |id| tower_oauth2::SealKey::generate(id).unwrap().to_text();
    let (new, old) = (text("2026-11"), text("2026-10"));
    let first = File::new("first.keys", &old);
    let both = File::new("both.keys", &format!("# The newest first.\n{new}\n{old}\n"));
    let server = Server::start().await;
    let url = redis.url();
    for (keys, token_requests) in [(&first, "1 token request"), (&both, "0 token requests")] {
        let store = ["--store", &url, "--seal-key-file", keys.path()];
        let ended = run(fetch_from(&server, "/echo", store)).await;
        let summary = format!("1 x 200, 0 x 401; {token_requests}, 0 replays, 0 errors\n");
        assert_eq!((ended.code, ended.stderr), (Some(0), summary));
    }
    // Whoever has no key finds nothing.
    let ended = run(fetch_from(&server, "/echo", ["--store", &url])).await;
    assert_eq!(ended.stderr, "1 x 200, 0 x 401; 1 token request, 0 replays, 0 errors\n");
}

#[cfg(all(feature = "memcached", unix))]
#[tokio::test]
async fn processes_share_a_token_through_memcached() {
    let memcached = Memcached::start().await;
    let url = format!("memcached://{}", memcached.address());
    let server = Server::start().await;
    for token_requests in ["1 token request", "0 token requests"] {
        let ended = run(fetch_from(&server, "/echo", ["--store", &url])).await;
        let summary = format!("1 x 200, 0 x 401; {token_requests}, 0 replays, 0 errors\n");
        assert_eq!((ended.code, ended.stderr), (Some(0), summary));
    }
}

#[cfg(feature = "jwt")]
#[tokio::test]
async fn tokens_are_bound_to_a_key_when_asked_for() {
    let key = File::new("dpop.pem", &rcgen::KeyPair::generate().unwrap().serialize_pem());
    let given = ["--dpop", "--dpop-key", key.path()];
    let mut thumbprints = Vec::new();
    for arguments in [&given[..], &given, &given[..1]] {
        let server = Server::start().await;
        let ended = run(fetch_from(&server, "/echo", arguments.iter().copied())).await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let [request] = &server.api_requests()[..] else { panic!("one request") };
        assert_eq!(request.headers()[AUTHORIZATION], "DPoP token-1");
        let proof = request.headers()["dpop"].to_str().unwrap();
        let header = base64::prelude::BASE64_URL_SAFE_NO_PAD
            .decode(proof.split('.').next().unwrap())
            .unwrap();
        let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
        thumbprints.push(header["jwk"].to_string());
    }
    assert_eq!(thumbprints[0], thumbprints[1]);
    assert_ne!(thumbprints[0], thumbprints[2]);
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn processes_that_share_tokens_see_what_they_promise() {
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
    let mut command = example("shared_tokens");
    command.arg("--nonsense");
    assert_eq!(run(command).await.code, Some(2));
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn processes_that_come_one_after_the_other_share_a_token() {
    let (redis, with_tls) = (Redis::start().await, TlsRedis::start().await);
    let user = "ACL SETUSER tokens on >s3cr3t-of-the-client ~* +@all";
    with_tls.redis.run::<()>(user).await;
    let authority = File::new("authority.pem", &with_tls.authority);
    let cacert = ["--cacert", authority.path()];
    let user = format!("tokens:{SECRET}");
    for (url, trusted) in [(redis.url(), &[][..]), (with_tls.url_as(&user), &cacert)] {
        let server = Server::start().await;
        for token_requests in ["1 token request", "0 token requests", "0 token requests"] {
            let mut command = fetch_from(&server, "/echo", ["--store", &url]);
            let ended = run({
                command.args(trusted);
                command
            })
            .await;
            let summary = format!("1 x 200, 0 x 401; {token_requests}, 0 replays, 0 errors\n");
            assert_eq!((ended.code, ended.stderr), (Some(0), summary));
        }
    }
    // Nobody is there, or nobody who is trusted: each asks for itself.
    let server = Server::start().await;
    for url in ["redis://127.0.0.1:1", &with_tls.url_as(&user)] {
        let ended = run(fetch_from(&server, "/echo", ["--store", url])).await;
        let (trouble, summary) = ended.stderr.split_once('\n').unwrap();
        assert_eq!(summary, "1 x 200, 0 x 401; 1 token request, 0 replays, 0 errors\n");
        assert!(trouble.contains("the token store failed"), "{trouble}");
        assert!(!trouble.contains(SECRET), "{trouble}");
    }
}

#[tokio::test]
async fn other_ways_to_a_token_see_what_they_promise() {
    for (name, seen) in [
        #[cfg(feature = "jwt")]
        (
            "jwt_bearer",
            &[
                "  seen      a second assertion is accepted, as it is another one\n",
                "  happened  0 at the API, 0 of them 401; 1 at the token endpoint\n",
            ][..],
        ),
        (
            "refresh_token",
            &[
                "  seen      it goes on with what is in the file\n",
                "  happened  1 at the API, 1 of them 401; 1 at the token endpoint\n",
            ][..],
        ),
        (
            "metadata_server",
            &[
                "  seen      it is answered all the same\n",
                "  happened  3 at the API, 0 of them 401; 1 at the token endpoint\n",
            ][..],
        ),
        (
            "on_behalf_of",
            &[
                "  seen      stock sees cat, with a token for stock\n",
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
async fn a_request_goes_out_as_the_options_say() {
    let server = Server::start().await;
    let arguments = [
        "--scope",
        "read write",
        "--audience",
        "the api",
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
        "grant_type=client_credentials&scope=read+write&audience=the+api&\
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
async fn clients_authenticate_as_the_options_say() {
    let secret_file = File::new("secret", "from a+file\n");
    let secret_file = ["--client-secret-file", secret_file.path()];
    for (method, header, body) in [
        ("client_secret_basic", Some(basic("client-id:from%20a%2Bfile")), ""),
        ("client_secret_basic_raw", Some(basic("client-id:from a+file")), ""),
        ("client_secret_post", None, "&client_id=client-id&client_secret=from+a%2Bfile"),
        ("none", None, "&client_id=client-id"),
    ] {
        let server = Server::start().await;
        let arguments = ["--auth", method].into_iter().chain(secret_file);
        let ended = run(fetch_from(&server, "/echo", arguments)).await;
        assert_eq!(ended.code, Some(0), "{method}: {}", ended.stderr);
        let sent = &server.token_requests()[0];
        let sent_header = sent.headers().get(AUTHORIZATION).map(|value| value.to_str().unwrap());
        assert_eq!(sent_header, header.as_deref(), "{method}");
        assert_eq!(*sent.body(), format!("grant_type=client_credentials{body}"), "{method}");
    }
}

/// The header of the assertion in the one token request, its claims, and the client id beside it.
#[cfg(feature = "jwt")]
fn assertion(server: &Server) -> (serde_json::Value, serde_json::Value, Option<String>) {
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;

    let sent = server.token_requests().remove(0);
    let parameter = |name: &str| {
        let mut form = form_urlencoded::parse(sent.body());
        form.find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
    };
    let assertion = parameter("client_assertion").unwrap();
    let mut parts = assertion.split('.').map(|part| {
        let json = BASE64_URL_SAFE_NO_PAD.decode(part).unwrap();
        serde_json::from_slice(&json).unwrap_or_default()
    });
    (parts.next().unwrap(), parts.next().unwrap(), parameter("client_id"))
}

#[cfg(feature = "jwt")]
#[tokio::test]
async fn clients_sign_as_the_options_say() {
    let key = File::new("key.pem", &rcgen::KeyPair::generate().unwrap().serialize_pem());
    let server = Server::start().await;
    let arguments = ["--auth", "private_key_jwt", "--key", key.path(), "--kid", "k1"];
    let ended = run(fetch_from(&server, "/echo", arguments)).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let (header, claims, id) = assertion(&server);
    assert_eq!(header, serde_json::json!({ "alg": "ES256", "kid": "k1", "typ": "JWT" }));
    assert_eq!(claims["aud"], server.at("/token"));
    assert_eq!((&claims["iss"], id.as_deref()), (&"client-id".into(), Some("client-id")));

    let server = Server::start().await;
    let arguments = ["--auth", "client_secret_jwt", "--assertion-audience", "https://a.test"];
    let ended = run(fetch_from(&server, "/echo", arguments)).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let (header, claims, _) = assertion(&server);
    assert_eq!((&header["alg"], &claims["aud"]), (&"HS256".into(), &"https://a.test".into()));

    // A key that can not be used is an error of the token request, in one line.
    let broken = File::new("broken.pem", "-----BEGIN PRIVATE KEY-----\nAAAA");
    let arguments = ["--auth", "private_key_jwt", "--key", broken.path()];
    let ended = run(fetch_from(&server, "/echo", arguments)).await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("signing key: breaks off before its end"), "{}", ended.stderr);

    // So is an algorithm that the key can not do.
    let arguments = ["--auth", "private_key_jwt", "--key", key.path(), "--alg", "EdDSA"];
    let ended = run(fetch_from(&server, "/echo", arguments)).await;
    assert_eq!(ended.code, Some(1));
    let why = "signing key: is not of the kind that the algorithm needs";
    assert!(ended.stderr.contains(why), "{}", ended.stderr);
}

#[tokio::test]
async fn an_assertion_of_somebody_else_comes_from_a_file() {
    let file = File::new("assertion", "a.b.c\n");
    let server = Server::start().await;
    let arguments = ["--auth", "client_assertion", "--assertion-file", file.path()];
    let ended = run(fetch_from(&server, "/echo", arguments)).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(server.token_requests()[0].body().ends_with(b"&client_assertion=a.b.c"));
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
async fn requests_may_be_spread_out() {
    let server = Server::start().await;
    let arguments = ["--repeat", "3", "--every", "1", "--data", "x"];
    let ended = run(fetch_from(&server, "/echo", arguments)).await;
    assert_eq!(ended.stderr, "3 x 200, 0 x 401; 1 token request, 0 replays, 0 errors\n");
    assert_eq!(ended.stdout, "x", "the last response's body and no other");
    assert!(server.api_requests().iter().all(|request| request.method() == Method::POST));
}

#[tokio::test]
async fn a_rejected_token_is_replaced_and_the_body_sent_again() {
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
async fn a_stream_is_sent_again_up_to_its_limit() {
    let body = "0123456789".repeat(20_000);
    let file = File::new("stream", &body);
    let from_file = format!("@{}", file.path());
    let whole = "2 x 200, 0 x 401; 2 token requests, 1 replay, 0 errors\n";
    // The second request finds the token that the first could not be sent again with.
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
async fn http2_is_spoken_when_asked_for() {
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
async fn tokens_go_to_the_origins_that_are_allowed() {
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
async fn a_status_is_no_error() {
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
async fn tls_works_with_a_ca_that_is_given() {
    let ca = Ca::new();
    let server = Server::start_tls(&ca).await;
    let cacert = File::new("ca.pem", &ca.pem);
    let arguments = ["--cacert", cacert.path(), "--data", "over TLS"];
    let ended = run(fetch_from(&server, "/echo", arguments)).await;
    assert_eq!(ended.stderr, "1 x 200, 0 x 401; 1 token request, 0 replays, 0 errors\n");
    assert_eq!((ended.code, &*ended.stdout), (Some(0), "over TLS"));
}

#[tokio::test]
async fn an_issuer_is_asked_where_tokens_come_from() {
    let server = Server::start().await;
    let issuer = server.at("/realm");
    let mut command = fetch(["--issuer", &issuer, "--client-id", "client-id", "--scope", "read"]);
    command.args(["--repeat", "3"]).arg(server.at("/echo"));
    let ended = run(command).await;
    assert_eq!(ended.stderr, "3 x 200, 0 x 401; 1 token request, 0 replays, 0 errors\n");
    assert_eq!(ended.code, Some(0));
    let seen: Vec<_> =
        server.seen().iter().map(|request| request.uri().path().to_owned()).collect();
    assert_eq!(
        seen[..3],
        [
            "/.well-known/oauth-authorization-server/realm",
            "/realm/.well-known/openid-configuration",
            "/token"
        ]
    );
    assert_eq!(server.token_requests()[0].body(), "grant_type=client_credentials&scope=read");

    for (issuer, auth, expected) in [
        (server.at("/realm/"), "client_secret_basic", "error: no metadata from http://"),
        (server.at("/refused"), "client_secret_basic", "error: no metadata from http://"),
        (server.at("/realm"), "client_secret_post", "error: client authentication: the method"),
    ] {
        let mut command = fetch(["--issuer", &issuer, "--client-id", "client-id", "--auth", auth]);
        command.arg(server.at("/echo"));
        let ended = run(command).await;
        assert_eq!((ended.code, ended.lines().len()), (Some(1), 1), "{}", ended.stderr);
        assert!(ended.stderr.starts_with(expected), "{}", ended.stderr);
    }
    assert_eq!(server.token_requests().len(), 1);
}

#[tokio::test]
async fn a_certificate_takes_the_place_of_a_secret() {
    let ca = Ca::new();
    let server = Server::start_mtls(&ca).await;
    let cacert = File::new("mtls-ca.pem", &ca.pem);
    let (cert, key) = ca.certify();
    let (cert, key) = (File::new("mtls-cert.pem", &cert), File::new("mtls-key.pem", &key));
    let (cert, key) = (["--cert", cert.path()], ["--key", key.path()]);
    for method in ["tls_client_auth", "self_signed_tls_client_auth"] {
        let before = server.seen().len();
        let arguments = ["--cacert", cacert.path(), "--auth", method];
        let mut command =
            fetch_from(&server, "/echo", arguments.into_iter().chain(cert).chain(key));
        command.env_remove("CLIENT_SECRET");
        let ended = run(command).await;
        assert_eq!(ended.stderr, "1 x 200, 0 x 401; 1 token request, 0 replays, 0 errors\n");
        let sent = &server.seen()[before];
        assert_eq!(sent.body(), "grant_type=client_credentials&client_id=client-id");
        assert!(!sent.headers().contains_key(AUTHORIZATION));
    }

    let before = server.seen().len();
    let ended = run(fetch_from(&server, "/echo", ["--cacert", cacert.path()])).await;
    assert_eq!(ended.code, Some(1));
    let error = format!("error: no token from {}: ", server.origin);
    assert!(ended.stderr.starts_with(&error), "{}", ended.stderr);
    assert_eq!(server.seen().len(), before);

    // A key that is not the certificate's.
    let other = File::new("mtls-other.pem", &ca.certify().1);
    let arguments = ["--cacert", cacert.path(), "--key", other.path()];
    let ended = run(fetch_from(&server, "/echo", arguments.into_iter().chain(cert))).await;
    assert_eq!((ended.code, ended.lines().len()), (Some(1), 1));
    assert!(ended.stderr.starts_with("error: --cert and --key can not be used: "));
    assert_eq!(server.seen().len(), before);
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
async fn a_kind_of_error_is_one_line() {
    let server = Server::start().await;
    let endpoint = server.at("/invalid-client");
    let arguments = ["--token-endpoint", &endpoint, "--repeat", "3", "--concurrency", "3"];
    let ended = run(fetch_from(&server, "/echo", arguments)).await;
    assert_eq!((ended.code, &*ended.stdout), (Some(1), ""));
    let [error, summary] = ended.lines()[..] else { panic!("{}", ended.stderr) };
    let text = "the endpoint answered with an error (status 401, invalid_client); look at client id, \
                secret and authentication method";
    assert_eq!(error, format!("error: 3 x no token from {}: {text}", server.origin));
    assert!(summary.starts_with("0 x 401; "), "{summary}");
    assert!(summary.ends_with(", 0 replays, 3 errors"), "{summary}");
}

#[tokio::test]
async fn an_api_that_hangs_up_is_an_error() {
    let server = Server::start().await;
    let ended = run(fetch_from(&server, "/hang-up", [])).await;
    assert_eq!((ended.code, &*ended.stdout), (Some(1), ""));
    let [error, summary] = ended.lines()[..] else { panic!("{}", ended.stderr) };
    assert!(error.starts_with(&format!("error: no response from {}: ", server.origin)), "{error}");
    assert_eq!(summary, "0 x 401; 1 token request, 0 replays, 1 error");
}

#[tokio::test]
async fn a_response_that_breaks_off_is_an_error() {
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
async fn a_token_never_goes_over_a_network_in_clear_text() {
    let server = Server::start().await;
    let mut command = fetch(["--token-endpoint", &server.at("/token"), "--client-id", "client-id"]);
    command.arg("http://api.test/");
    let ended = run(command).await;
    assert_eq!(ended.code, Some(1));
    let [error, summary] = ended.lines()[..] else { panic!("{}", ended.stderr) };
    assert!(error.contains("neither https nor loopback"), "{error}");
    assert_eq!(summary, "0 x 401; 0 token requests, 0 replays, 1 error");
    assert_eq!(server.seen().len(), 0);
}

#[tokio::test]
async fn bad_arguments_are_told_in_one_line() {
    let needed = ["--token-endpoint", "https://auth.test", "--client-id", "client-id"];
    let url = "https://api.test";
    let empty = File::new("empty.pem", "");
    let (cert, key) = Ca::new().certify();
    let (cert, key) = (File::new("cert.pem", &cert), File::new("key.pem", &key));
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
        (&["--token-endpoint", "nowhere", url], "token endpoint: "),
        (&["--client-id", "", url], "client id: is empty"),
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
        (&["--allow-origin", "api.test", url], "--allow-origin: origin: needs a scheme"),
        (&["--allow-origin", "https://api.test/things", url], "--allow-origin: origin: "),
        (&["--allow-origin", "https://a:s3cr3t-of-the-client@api.test", url], "--allow-origin: "),
        (&["--store", "file:///s3cr3t-of-the-client", url], "--store: is none of redis://"),
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
        (&["--store", "postgres://x", url], "--store: is none of"),
        (&["--dpop-key", empty.path(), url], "--dpop-key: needs --dpop"),
        (&["--dpop", "--dpop-key", empty.path(), url], "--dpop: "),
        (&["--seal-key-file", "/no/such/file", url], "--seal-key-file: "),
        (&["--auth", "client_assertion", url], "--assertion-file is missing"),
        (&["--auth", "private_key_jwt", url], KEY_IS_MISSING),
        (&["--key", "/no/such/file", url], "--key: "),
        (&["--alg", "none", url], "--alg: "),
        (&["--kid", "k1", url], "--k"),
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
async fn what_can_not_be_left_out_is_asked_for() {
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
    assert_eq!(ended.stderr, "fetch: issuer: needs a scheme and a host (see --help)\n");

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
async fn arguments_that_are_no_text_are_refused() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let rubbish = OsStr::from_bytes(b"\xff");
    for option in [&["--client-id"][..], &["--data"], &["--header"], &["--repeat"], &[]] {
        let mut command = fetch(option.iter().copied());
        command.arg(rubbish);
        let ended = run(command).await;
        assert_eq!((ended.code, ended.lines().len()), (Some(2), 1), "{}", ended.stderr);
        assert!(ended.stderr.contains("is not UTF-8"), "{}", ended.stderr);
    }
    let mut command = fetch(["--client-id", "a", "--token-endpoint", "https://a.test"]);
    command.arg("https://b.test").env("CLIENT_SECRET", rubbish);
    let ended = run(command).await;
    assert_eq!(ended.code, Some(2));
    assert_eq!(ended.stderr, "fetch: CLIENT_SECRET: is not UTF-8 (see --help)\n");
}

#[tokio::test]
async fn help_is_no_mistake() {
    let ended = run(fetch(["--help"])).await;
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""));
    for option in [
        "--token-endpoint",
        "--issuer",
        "--cert",
        "--auth",
        "--resource",
        "--allow-origin",
        "--store",
        "--stream",
        "--replay-limit",
        "--cacert",
        "--http2",
        "--every",
    ] {
        assert!(ended.stdout.contains(option), "{option}");
    }
}

/// The cells of a row, as numbers.
fn row(tables: &str, table: &str, scenario: &str) -> Vec<u64> {
    let rows = tables.lines().skip_while(|line| !line.starts_with(&format!("| {table} |")));
    let row = rows.take_while(|line| !line.is_empty());
    let row = row.into_iter().find_map(|line| line.strip_prefix(&format!("| {scenario} |")));
    let row = row.unwrap_or_else(|| panic!("{table}: {scenario} is missing in {tables}"));
    row.trim_end_matches('|')
        .split('|')
        .map(|cell| cell.trim().replace(',', "").parse().unwrap())
        .collect()
}

// C6, C9, S5
#[tokio::test]
async fn a_fleet_spares_its_token_endpoint() {
    let picture = File::new("fleet.svg", "");
    let mut command = example("fleet");
    command.args(["--quick", "--svg", picture.path()]);
    let ended = run(command).await;
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""));

    let requests = |scenario| row(&ended.stdout, "at the token endpoint", scenario);
    let calls = |scenario| row(&ended.stdout, "at the service", scenario);
    let [total, _, _, _, minute, outage, ..] = requests("tower-oauth2")[..] else { panic!() };
    // For each of 200: a first token, four renewals, one more after the revocation, attempts in the outage.
    assert!((200 * 5..200 * 9).contains(&total), "{total}");
    assert_eq!(minute, 200, "when all are started at once, and no other time");
    let [.., unauthorized, failed] = calls("tower-oauth2")[..] else { panic!() };
    assert_eq!(unauthorized, 0);

    let shared = requests("tower-oauth2, shared store");
    assert!((5..=8).contains(&shared[0]), "{} for the whole fleet", shared[0]);
    assert_eq!(shared[4], 1, "not even when all are started, and when all are turned away");
    let [.., unauthorized, without_token] = calls("tower-oauth2, shared store")[..] else {
        panic!()
    };
    assert_eq!((unauthorized, without_token), (0, 0));

    let in_step = requests("renewal a minute ahead");
    assert!(in_step[5] > 2 * outage, "{} and {outage} a second in the outage", in_step[5]);
    let failed_in_step = calls("renewal a minute ahead")[6];
    assert!(failed_in_step > 4 * failed, "{failed_in_step} and {failed} without a token");
    assert!(calls("by hand: fetch on expiry")[5] > 200 * 10, "nobody tells it of the revocation");
    let [.., refused, unauthorized, _] = calls("by hand: fetch on 401")[..] else { panic!() };
    assert!(refused > 200 * 3 && unauthorized == 0, "{refused}, {unauthorized}");

    let picture = std::fs::read_to_string(picture.path()).unwrap();
    assert_eq!(picture.matches("class=\"name\"").count(), 6);
    assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
}

#[tokio::test]
async fn a_fleet_lives_through_the_same_day_twice() {
    let day = |seed| async move {
        let mut command = example("fleet");
        command.args(["--hours", "2", "--instances", "50", "--scenario", "jitter-store"]);
        command.args(["--seed", seed]);
        run(command).await.stdout
    };
    let tables = day("7").await;
    assert_eq!(tables, day("7").await);
    assert_ne!(tables, day("8").await);
    let mut wrong = example("fleet");
    wrong.args(["--scenario", "tea"]);
    assert_eq!(run(wrong).await.code, Some(2));
}

#[tokio::test]
async fn a_soak_accounts_for_every_request_and_leaves_nothing_behind() {
    let mut command = example("soak");
    command.args(["--seconds", "3", "--callers", "8", "--seed", "7"]);
    let ended = run(command).await;
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{}", ended.stdout);
    for row in ["promises broken", "tasks left behind", "connections left behind"] {
        assert!(ended.stdout.contains(&format!("| {row} | 0 |")), "{}", ended.stdout);
    }
    let mut wrong = example("soak");
    wrong.args(["--seconds", "1"]);
    let ended = run(wrong).await;
    assert_eq!(ended.code, Some(2));
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
}
