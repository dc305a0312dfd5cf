//! Processes of the `fetch` example that share tokens.

use tower_oauth2_testkit::examples::process::{File, SECRET, fetch_from, run};
use tower_oauth2_testkit::examples::server::Server;
use tower_oauth2_testkit::servers::{Memcached, Redis, TlsRedis};

#[tokio::test]
async fn stored_tokens_can_be_encrypted() {
    let redis = Redis::start().await;
    let text = |id| tower_oauth2::store::EncryptionKey::generate(id).unwrap().to_text();
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
    // Without a key, no token is found.
    let ended = run(fetch_from(&server, "/echo", ["--store", &url])).await;
    assert_eq!(ended.stderr, "1 x 200, 0 x 401; 1 token request, 0 replays, 0 errors\n");
}

#[tokio::test]
async fn the_password_of_a_store_is_not_an_argument() {
    let redis = Redis::start().await;
    redis.run::<()>("ACL SETUSER tokens on >s3cr3t-of-the-client ~* +@all").await;
    redis.run::<()>("ACL SETUSER default >s3cr3t-of-the-client").await;
    let file = File::new("store.password", &format!("\u{feff}{SECRET}\n"));
    let wrong = File::new("wrong.password", "wrong");
    let (with_user, plain) = (redis.url().replace("//", "//tokens@"), redis.url());
    let from_file = ["--store-password-file", file.path()];
    let server = Server::start().await;
    // The users share the tokens, so that only the first process requests one.
    for (url, arguments, variable, requests) in [
        (&plain, &from_file[..], None, "1 token request"),
        (&plain, &[], Some(SECRET), "0 token requests"),
        (&with_user, &from_file, Some("ignored"), "0 token requests"),
        (&with_user, &[], Some(SECRET), "0 token requests"),
    ] {
        let mut command = fetch_from(&server, "/echo", ["--store", url]);
        command.args(arguments).env_remove("STORE_PASSWORD");
        let ended = run({
            command.envs(variable.map(|password| ("STORE_PASSWORD", password)));
            command
        })
        .await;
        let summary = format!("1 x 200, 0 x 401; {requests}, 0 replays, 0 errors\n");
        assert_eq!((ended.code, ended.stderr), (Some(0), summary));
    }
    let wrong = ["--store", &plain, "--store-password-file", wrong.path()];
    let ended = run(fetch_from(&server, "/echo", wrong)).await;
    assert!(ended.stderr.contains("the token store failed"), "{}", ended.stderr);
    assert!(ended.stderr.contains("1 token request"), "{}", ended.stderr);
}

#[tokio::test]
async fn processes_share_a_token_through_memcached() {
    let memcached = Memcached::start().await;
    let url = memcached.url();
    let server = Server::start().await;
    for token_requests in ["1 token request", "0 token requests"] {
        let ended = run(fetch_from(&server, "/echo", ["--store", &url])).await;
        let summary = format!("1 x 200, 0 x 401; {token_requests}, 0 replays, 0 errors\n");
        assert_eq!((ended.code, ended.stderr), (Some(0), summary));
    }
}

#[tokio::test]
async fn consecutive_processes_share_a_token() {
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
    // The store is unreachable or not trusted, so each process requests a token.
    let server = Server::start().await;
    for url in ["redis://127.0.0.1:1", &with_tls.url_as(&user)] {
        let ended = run(fetch_from(&server, "/echo", ["--store", url])).await;
        let (trouble, summary) = ended.stderr.split_once('\n').unwrap();
        assert_eq!(summary, "1 x 200, 0 x 401; 1 token request, 0 replays, 0 errors\n");
        assert!(trouble.contains("the token store failed"), "{trouble}");
        assert!(!trouble.contains(SECRET), "{trouble}");
    }
}
