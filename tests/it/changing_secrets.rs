//! Secrets and assertions that change while a process runs.

use std::error::Error as _;
use std::future::pending;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tokio::time::{Instant, sleep};
use tower::{BoxError, ServiceExt, service_fn};
use tower_oauth2::client_auth::{
    ClientAssertion, ClientAuthentication, Identity, TokenRequestParts,
};
use tower_oauth2::source::TokenRetry;
use tower_oauth2::{
    AccessToken, ClientAuth, Secret, TokenEndpoint, TokenError, TokenErrorKind, TokenRequest,
    Tokens,
};

use crate::support::{Api, Folder, SECRET, Trace, credentials_with, ms, secs, settle, text};

fn token() -> Response<Full<Bytes>> {
    Response::new(Full::from(r#"{"access_token":"t","expires_in":3600}"#))
}

fn refusal() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(r#"{"error":"invalid_client"}"#));
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    response
}

/// Creates an endpoint over `http` that does not retry.
fn once(http: &Api) -> TokenEndpoint {
    TokenEndpoint::new(http.clone()).retry(TokenRetry::none())
}

async fn ask(auth: ClientAuth) -> Result<Request<Full<Bytes>>, TokenError> {
    let endpoint = Api::new(|_| token());
    let request = TokenRequest::new(credentials_with(auth));
    once(&endpoint).oneshot(request).await?;
    Ok(endpoint.requests().remove(0))
}

/// Returns the form that the endpoint receives.
async fn form(auth: ClientAuth) -> String {
    let (_, body) = ask(auth).await.unwrap().into_parts();
    text(Response::new(body)).await
}

fn post(secret: impl Into<Secret>) -> ClientAuth {
    ClientAuth::client_secret_post("id", secret)
}

const FORM: &str = "grant_type=client_credentials&client_id=id&client_secret=";

// W9
#[tokio::test(start_paused = true)]
async fn a_file_is_read_for_each_token_request() {
    let folder = Folder::new();
    let path = folder.path("secret");
    let auth = post(Secret::file(&path));
    for (content, sent) in [
        ("one", "one"),
        ("two\n", "two"),
        ("three\r\n\r\n", "three"),
        (" fo\nur \n", "+fo%0Aur+"),
        // A byte order mark.
        ("\u{feff}fi\u{feff}ve\n", "fi%EF%BB%BFve"),
    ] {
        std::fs::write(&path, content).unwrap();
        assert_eq!(form(auth.clone()).await, format!("{FORM}{sent}"));
    }

    std::fs::write(&path, "s:p\n").unwrap();
    for (auth, sent) in [
        (ClientAuth::client_secret_basic("id", Secret::file(&path)), "id:s%3Ap"),
        (ClientAuth::client_secret_basic_raw("id", Secret::file(&path)), "id:s:p"),
    ] {
        let request = ask(auth).await.unwrap();
        let sent = format!("Basic {}", BASE64_STANDARD.encode(sent));
        assert_eq!(request.headers()[AUTHORIZATION], sent);
    }
}

// W9
#[tokio::test(start_paused = true)]
async fn a_function_is_called_for_each_token_request() {
    let count = Arc::new(AtomicUsize::new(0));
    let auth = post(Secret::from_fn("vault", move || {
        let n = count.fetch_add(1, Ordering::Relaxed);
        async move {
            tokio::task::yield_now().await;
            if n == 1 { Err(io::Error::other("encryption")) } else { Ok(format!("secret-{n}")) }
        }
    }));
    assert_eq!(form(auth.clone()).await, format!("{FORM}secret-0"));
    let error = ask(auth.clone()).await.unwrap_err();
    assert_eq!(error.kind(), TokenErrorKind::ClientAuthentication);
    assert!(error.is_transient());
    assert_eq!(error.source().unwrap().to_string(), "encryption");
    assert_eq!(form(auth).await, format!("{FORM}secret-2"));

    let empty = post(Secret::from_fn("empty", || async { Ok::<_, io::Error>("") }));
    let error = ask(empty).await.unwrap_err();
    assert!(error.is_transient());
    assert_eq!(error.source().unwrap().to_string(), "the secret is empty");
}

#[track_caller]
fn assert_unusable(error: TokenError, path: &Path, why: &str) {
    assert_eq!(error.kind(), TokenErrorKind::ClientAuthentication);
    assert!(error.is_transient(), "{why}");
    assert_eq!(error.source().unwrap().to_string(), format!("{path:?}: {why}"));
    let shown = format!("{error} {error:?} {:?}", error.source());
    assert!(!shown.contains(SECRET), "{shown}");
}

// W9
#[tokio::test(start_paused = true)]
async fn an_unusable_file_is_a_transient_error() {
    let folder = Folder::new();
    let path = folder.path("secret");
    let auth = || post(Secret::file(&path));
    assert_unusable(ask(auth()).await.unwrap_err(), &path, "cannot be read");
    let large = vec![b'x'; 1024 * 1024 + 1];
    let binary = [SECRET.as_bytes(), &[0xff]].concat();
    for (content, why) in [
        (&b""[..], "is empty"),
        (b"\n\r\n", "is empty"),
        (&binary, "is not UTF-8"),
        (&large, "is larger than 1 MiB"),
    ] {
        std::fs::write(&path, content).unwrap();
        assert_unusable(ask(auth()).await.unwrap_err(), &path, why);
    }
    std::fs::write(&path, &large[1..]).unwrap();
    ask(auth()).await.unwrap();

    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert_unusable(ask(auth()).await.unwrap_err(), &path, "is not a regular file");
}

// W9: opening or reading the device would take forever.
#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn a_pipe_or_a_device_is_not_opened() {
    let folder = Folder::new();
    let pipe = folder.path("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    // With this handle, opening the pipe would not hang the test.
    let _other_end = std::fs::File::options().read(true).write(true).open(&pipe).unwrap();
    for path in [&pipe, Path::new("/dev/zero")] {
        let error = ask(post(Secret::file(path))).await.unwrap_err();
        assert_unusable(error, path, "is not a regular file");
    }
}

#[test]
fn a_file_without_a_runtime_is_an_error() {
    let auth = post(Secret::file("/no/such/file"));
    let mut parts = TokenRequestParts::new("https://auth.test/token".parse().unwrap());
    let read = futures_util::FutureExt::now_or_never(auth.authenticate(&mut parts)).unwrap();
    let why = "\"/no/such/file\": there is no tokio runtime to read it on";
    assert_eq!(read.unwrap_err().to_string(), why);
}

/// Returns tokens whose endpoint accepts the secret `accepted`, and that endpoint.
fn tokens_of(secret: Secret, accepted: &'static str) -> (Tokens, Api) {
    tokens_with(post(secret), accepted)
}

fn tokens_with(auth: ClientAuth, accepted: &'static str) -> (Tokens, Api) {
    let endpoint = Api::new(move |request| {
        use http_body_util::BodyExt;
        let body = request.clone().into_body().collect();
        let body = futures_util::FutureExt::now_or_never(body).unwrap().unwrap().to_bytes();
        if body.ends_with(accepted.as_bytes()) { token() } else { refusal() }
    });
    let tokens = Tokens::new(credentials_with(auth), once(&endpoint));
    (tokens, endpoint)
}

async fn assert_refused(tokens: &Tokens) {
    assert_eq!(tokens.get().await.unwrap_err().error_code(), Some("invalid_client"));
}

// C9, W9
#[tokio::test(start_paused = true)]
async fn a_secret_that_is_replaced_after_a_refusal_is_used_at_once() {
    let folder = Folder::new();
    std::fs::write(folder.path("secret"), "secret-1").unwrap();
    let (tokens, endpoint) = tokens_of(Secret::file(folder.path("secret")), "secret-2");
    for _ in 0..5 {
        assert_refused(&tokens).await;
    }
    assert_eq!(endpoint.count(), 1);
    folder.replace("secret", "secret-2");
    tokens.get().await.unwrap();
    assert_eq!(endpoint.count(), 2);

    // A token that is current is not replaced.
    folder.replace("secret", "secret-3");
    tokens.get().await.unwrap();
    assert_eq!(endpoint.count(), 2);
}

// C9: Kubernetes replaces the target of a link to a link.
#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn a_link_that_changes_is_followed() {
    use std::os::unix::fs::symlink;

    let folder = Folder::new();
    for n in [1, 2] {
        std::fs::create_dir(folder.path(&n.to_string())).unwrap();
        std::fs::write(folder.path(&format!("{n}/secret")), format!("secret-{n}")).unwrap();
    }
    symlink("1", folder.path("..data")).unwrap();
    symlink("..data/secret", folder.path("secret")).unwrap();
    let (tokens, endpoint) = tokens_of(Secret::file(folder.path("secret")), "secret-2");
    assert_refused(&tokens).await;
    assert_refused(&tokens).await;
    assert_eq!(endpoint.count(), 1);
    symlink("2", folder.path("..new")).unwrap();
    std::fs::rename(folder.path("..new"), folder.path("..data")).unwrap();
    tokens.get().await.unwrap();
    assert_eq!(endpoint.count(), 2);
}

// C9
#[tokio::test(start_paused = true)]
async fn a_function_has_the_version_that_is_set() {
    let number = Arc::new(AtomicU64::new(1));
    let read = {
        let number = number.clone();
        move || {
            let number = number.load(Ordering::Relaxed);
            async move { Ok::<_, io::Error>(format!("secret-{number}")) }
        }
    };
    // Without a version, the back-off does not end early.
    let (tokens, endpoint) = tokens_of(Secret::from_fn("vault", read.clone()), "secret-2");
    assert_refused(&tokens).await;
    number.store(2, Ordering::Relaxed);
    assert_refused(&tokens).await;
    assert_eq!(endpoint.count(), 1);
    tokio::time::advance(secs(60)).await;
    tokens.get().await.unwrap();

    number.store(1, Ordering::Relaxed);
    let versioned = {
        let number = number.clone();
        Secret::from_fn("vault", read).version(move || number.load(Ordering::Relaxed))
    };
    let (tokens, endpoint) = tokens_of(versioned, "secret-2");
    assert_refused(&tokens).await;
    assert_refused(&tokens).await;
    number.store(2, Ordering::Relaxed);
    tokens.get().await.unwrap();
    assert_eq!(endpoint.count(), 2);
}

// RFC 7521 section 4.2, RFC 7523 section 2.2
#[tokio::test(start_paused = true)]
async fn a_client_assertion_is_sent_unchanged() {
    const TYPE: &str =
        "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
    const GRANT: &str = "grant_type=client_credentials";
    let folder = Folder::new();
    let path = folder.path("token");
    for assertion in ["a.b.c", "d.e.f"] {
        std::fs::write(&path, format!("{assertion}\n")).unwrap();
        let sent = form(ClientAuth::client_assertion("id", Secret::file(&path))).await;
        assert_eq!(sent, format!("{GRANT}&client_id=id&{TYPE}&client_assertion={assertion}"));
        let nameless = ClientAssertion::new(Secret::file(&path));
        let sent = form(ClientAuth::custom(nameless.clone())).await;
        assert_eq!(sent, format!("{GRANT}&{TYPE}&client_assertion={assertion}"));
        let spiffe = nameless.assertion_type("urn:x");
        let sent = form(ClientAuth::custom(spiffe)).await;
        let kind = "client_assertion_type=urn%3Ax";
        assert_eq!(sent, format!("{GRANT}&{kind}&client_assertion={assertion}"));
    }
}

// S2
#[test]
fn secrets_are_compared_by_their_source() {
    let from_fn = |name: &str| Secret::from_fn(name, || async { Ok::<_, io::Error>("a") });
    let auths = || {
        vec![
            post("a"),
            post(Secret::file("a")),
            post(Secret::file("b")),
            post(from_fn("a")),
            post(from_fn("b")),
            ClientAuth::client_secret_basic("id", "a"),
            ClientAuth::client_assertion("id", "a"),
            ClientAuth::client_assertion("id", Secret::file("a")),
            ClientAuth::custom(ClientAssertion::new("a")),
            ClientAuth::custom(ClientAssertion::new("a").client_id("id").assertion_type("b")),
        ]
    };
    for (n, one) in auths().into_iter().enumerate() {
        for (m, other) in auths().into_iter().enumerate() {
            assert_eq!(credentials_with(one.clone()) == credentials_with(other), n == m, "{n} {m}");
        }
    }
}

// X3
#[test]
fn debug_shows_the_source_of_a_secret_only() {
    assert_eq!(format!("{:?}", Secret::from(SECRET)), "Secret(**redacted**)");
    assert_eq!(format!("{:?}", Secret::file("/run/s")), r#"Secret::file("/run/s")"#);
    let vault = Secret::from_fn("vault", || async { Ok::<_, io::Error>(SECRET) });
    assert_eq!(format!("{vault:?}"), r#"Secret::from_fn("vault")"#);
    let assertion = ClientAssertion::new(SECRET).client_id("id");
    assert!(!format!("{assertion:?}").contains(SECRET));
    assert_eq!(
        format!("{:?}", ClientAuth::client_assertion("id", SECRET)),
        "ClientAuth(client_assertion)"
    );
}

// W9
#[tokio::test(start_paused = true)]
async fn the_error_names_a_secret_that_hangs() {
    let vault = Secret::from_fn("vault\n1", pending::<Result<String, io::Error>>);
    for (auth, name) in [
        (post(vault.clone()), r#"Secret::from_fn("vault\\n1")"#),
        (ClientAuth::client_assertion("id", vault), r#"Secret::from_fn("vault\\n1")"#),
        (ClientAuth::custom(Hanging), "ClientAuth(hanging)"),
    ] {
        let (trace, _guard) = Trace::start();
        let endpoint = Api::new(|_| token());
        let request = TokenRequest::new(credentials_with(auth));
        let started = Instant::now();
        let error = once(&endpoint).oneshot(request).await.unwrap_err();
        assert_eq!(started.elapsed(), secs(30));
        assert_eq!((error.kind(), endpoint.count()), (TokenErrorKind::ClientAuthentication, 0));
        assert!(error.is_transient());
        let text = error.to_string();
        let why = "the client could not authenticate: a secret or key did not arrive in time; \
                   check the secret or key, and source()";
        assert!(text.ends_with(why), "{text}");
        let source = error.source().unwrap().to_string();
        assert_eq!(source, format!("{name} did not arrive in time"));
        let lines = trace.lines();
        let line = "a secret did not arrive in time; no token request was sent";
        let is_named = |said: &String| said.contains(line) && said.contains(&format!("{name:?}"));
        assert!(lines.iter().any(is_named), "{lines:?}");
    }
}

/// A method that never adds anything to a token request.
struct Hanging;

impl ClientAuthentication for Hanging {
    fn method(&self) -> &str {
        "hanging"
    }

    fn identify(&self, _: &mut Identity) {}

    async fn authenticate(&self, _request: &mut TokenRequestParts) -> Result<(), BoxError> {
        pending().await
    }
}

// W9: spiffe-helper and other programs truncate a file before they write it.
#[tokio::test(start_paused = true)]
async fn a_file_is_not_read_between_truncation_and_the_last_write() {
    let folder = Folder::new();
    let path = folder.path("secret");
    for first_half in ["", "secret-"] {
        std::fs::write(&path, "secret-1").unwrap();
        std::fs::write(&path, first_half).unwrap();
        let write = async {
            sleep(ms(15)).await;
            std::fs::write(&path, "secret-2").unwrap();
        };
        let (sent, ()) = tokio::join!(form(post(Secret::file(&path))), write);
        assert_eq!(sent, format!("{FORM}secret-2"));
    }
}

// W9
#[tokio::test(start_paused = true)]
async fn a_file_that_never_settles_is_read_at_most_six_times() {
    let folder = Folder::new();
    let path = folder.path("log");
    std::fs::write(&path, "line").unwrap();
    let append = async {
        loop {
            // The write must not coincide with a read, which takes place on another thread.
            sleep(ms(7)).await;
            let old = std::fs::read_to_string(&path).unwrap();
            std::fs::write(&path, format!("{old}e")).unwrap();
        }
    };
    let started = Instant::now();
    let sent = tokio::select! {
        sent = form(post(Secret::file(&path))) => sent,
        () = append => unreachable!("the loop has no end"),
    };
    assert!(sent.starts_with(&format!("{FORM}line")));
    assert_eq!(started.elapsed(), ms(100));
}

// W9
#[test]
fn a_file_is_read_while_all_blocking_threads_are_busy() {
    let folder = Folder::new();
    let path = folder.path("secret");
    std::fs::write(&path, "s").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let busy = runtime.spawn_blocking(move || ended.recv());
    let sent = runtime.block_on(async {
        let endpoint = once(&Api::new(|_| token())).timeout(secs(5));
        endpoint.oneshot(TokenRequest::new(credentials_with(post(Secret::file(&path))))).await
    });
    drop(end);
    runtime.block_on(busy).unwrap().unwrap_err();
    sent.unwrap();
}

// C9, W9
#[tokio::test(start_paused = true)]
async fn a_custom_method_can_return_the_version_of_its_secret() {
    struct Wrapped(ClientAuth);

    impl ClientAuthentication for Wrapped {
        fn method(&self) -> &str {
            "wrapped"
        }

        fn identify(&self, identity: &mut Identity) {
            identity.client_auth(&self.0);
        }

        fn version(&self) -> u64 {
            self.0.version()
        }

        async fn authenticate(&self, request: &mut TokenRequestParts) -> Result<(), BoxError> {
            self.0.authenticate(request).await
        }
    }

    let folder = Folder::new();
    std::fs::write(folder.path("secret"), "secret-1").unwrap();
    let auth = ClientAuth::custom(Wrapped(post(Secret::file(folder.path("secret")))));
    let first = auth.version();
    let (tokens, endpoint) = tokens_with(auth.clone(), "secret-2");
    assert_refused(&tokens).await;
    assert_refused(&tokens).await;
    folder.replace("secret", "secret-2");
    tokens.get().await.unwrap();
    assert_eq!(endpoint.count(), 2);
    assert_ne!(auth.version(), first);
}

#[tokio::test(start_paused = true)]
async fn texts_of_all_types_are_secrets() {
    let sent = format!("{FORM}s");
    assert_eq!(form(post("s")).await, sent);
    let text = String::from("s");
    assert_eq!(form(post(&text)).await, sent);
    assert_eq!(form(post(text)).await, sent);
    // A custom source does not read the secret.
    let source = service_fn(|_: TokenRequest| async { AccessToken::new("t") });
    Tokens::new(credentials_with(post("s")), source).warm().await.unwrap();
    settle().await;
}
