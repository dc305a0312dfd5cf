//! `fetch --explain`: its output can be shared.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::Request;

use super::run;
use crate::process::{File, SECRET, fetch};
use crate::server::{JWT, Server};

fn jwt(header: &str, claims: &str) -> String {
    let [header, claims] = [header, claims].map(|json| BASE64_URL_SAFE_NO_PAD.encode(json));
    format!("{header}.{claims}.c2VjcmV0LXNpZ25hdHVyZQ")
}

fn parameter(sent: &Request<bytes::Bytes>, name: &str) -> Option<String> {
    let mut form = form_urlencoded::parse(sent.body());
    form.find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
}

/// Runs `fetch --explain`, and checks that its output has no secret that the server received.
async fn explain(server: &Server, path: &str, arguments: &[&str]) -> String {
    let before = server.seen().len();
    let mut command = fetch(["--explain", "--token-endpoint", &server.at(path)]);
    command.args(arguments);
    let ended = run(command).await;
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{}", ended.stdout);
    let seen = server.seen().split_off(before);
    assert_eq!(seen.len(), 1, "the API gets no request");
    let sent = &seen[0];
    let parameters = ["client_secret", "client_assertion", "assertion", "refresh_token", "tenant"]
        .into_iter()
        .filter_map(|name| parameter(sent, name));
    let headers = ["authorization", "dpop", "x-api-key"].into_iter().filter_map(|name| {
        let value = sent.headers().get(name)?.to_str().unwrap();
        Some(value.rsplit(' ').next().unwrap().to_owned())
    });
    let secrets: Vec<_> = parameters.chain(headers).collect();
    assert!(arguments.contains(&"none") || !secrets.is_empty());
    for secret in secrets.iter().map(|secret| &**secret).chain([SECRET, JWT]) {
        // Each part of a JWT, its signature in particular.
        for part in secret.split('.') {
            assert!(!ended.stdout.contains(part), "{part}: {}", ended.stdout);
        }
    }
    ended.stdout
}

#[tokio::test]
async fn a_token_request_is_shown_without_secrets() {
    let server = Server::start().await;
    let endpoint = server.at("/token");
    let out = explain(&server, "/token", &["--client-id", "client-id", "--scope", "a b"]).await;
    let user_agent = concat!("tower-oauth2/", env!("CARGO_PKG_VERSION"));
    let request = format!(
        "# Token request\nPOST {endpoint}\naccept: application/json\naccept-encoding: identity\n\
         authorization: Basic ***\ncontent-type: application/x-www-form-urlencoded\n\
         user-agent: {user_agent}\n\ngrant_type=client_credentials\n&scope=a+b\n\n\
         # Token response\n200 OK\n"
    );
    assert!(out.starts_with(&request), "{out}");
    assert!(out.contains(r#""access_token": "***""#), "{out}");
    assert!(out.contains(r#""expires_in": 3600"#), "{out}");

    let out = explain(&server, "/marked", &["--client-id", "client-id"]).await;
    assert!(out.contains(r#""access_token": "***""#), "{out}");

    let arguments = ["--client-id", "client-id", "--auth", "client_secret_post"];
    let custom = ["--param", "refresh_token=r3fr3sh", "--param", "tenant=t3nant"];
    let header = ["--token-header", "X-Api-Key: k3y-of-the-gateway"];
    let arguments = [&arguments[..], &custom, &header].concat();
    let out = explain(&server, "/token", &arguments).await;
    assert!(out.contains("x-api-key: ***\n"), "{out}");
    let body = "\n&client_id=client-id\n&client_secret=***\n";
    assert!(out.contains(body), "{out}");
    assert!(out.contains("\n&refresh_token=***\n&tenant=***\n"), "{out}");

    let out = explain(&server, "/token", &["--json", "--client-id", "c", "--auth", "none"]).await;
    assert!(out.contains(r#""client_id": "c""#), "{out}");
    assert!(out.contains(r#""grant_type": "client_credentials""#), "{out}");
}

#[tokio::test]
async fn received_jwts_are_decoded() {
    let server = Server::start().await;
    let out = explain(&server, "/jwt", &["--client-id", "client-id"]).await;
    assert!(out.contains("## JWT in access_token (signature not shown)"), "{out}");
    for line in [r#""typ": "at+jwt""#, r#""iss": "issuer""#, r#""sub": "alf""#] {
        assert!(out.contains(line), "{out}");
    }
    assert!(!out.contains("refresh-1"), "{out}");

    // The claims of a JWT may have secrets too.
    let header = r#"{"alg":"ES256","jwk":{"kty":"EC","x":"public-x","d":"private-d"}}"#;
    let claims = format!(r#"{{"sub":"a\u001b","refresh_token":"r3fr3sh","nested":["{JWT}"]}}"#);
    let assertion = File::new("explained.jwt", &jwt(header, &claims));
    let arguments = ["--auth", "client_assertion", "--assertion-file", assertion.path()];
    let out = explain(&server, "/token", &arguments).await;
    assert!(out.contains("## JWT in client_assertion (signature not shown)"), "{out}");
    for line in [r#""x": "public-x""#, r#""d": "***""#, r#""sub": "a\\u{1b}""#] {
        assert!(out.contains(line), "{out}");
    }
    for secret in ["private-d", "r3fr3sh", "\u{1b}["] {
        assert!(!out.contains(secret), "{out}");
    }

    // The assertion of a grant.
    let assertion = format!("assertion={}", jwt(r#"{"alg":"ES256"}"#, r#"{"sub":"user-7"}"#));
    let arguments = ["--client-id", "c", "--auth", "none", "--param", &assertion];
    let out = explain(&server, "/token", &arguments).await;
    assert!(out.contains("## JWT in assertion"), "{out}");
    assert!(out.contains(r#""sub": "user-7""#), "{out}");

    // A JWT without a signature is a token by itself.
    let unsigned = jwt(r#"{"alg":"none"}"#, r#"{"sub":"user-8"}"#);
    let unsigned = format!("assertion={}.", unsigned.rsplit_once('.').unwrap().0);
    let arguments = ["--client-id", "c", "--auth", "none", "--param", &unsigned];
    let mut command = fetch(["--explain", "--token-endpoint", &server.at("/token")]);
    command.args(arguments);
    let out = run(command).await.stdout;
    assert!(out.contains("\n&assertion=***\n") && !out.contains("user-8"), "{out}");
}

#[cfg(feature = "jwt")]
#[tokio::test]
async fn created_jwts_are_decoded() {
    let server = Server::start().await;
    let key = File::new("explain.pem", &rcgen::KeyPair::generate().unwrap().serialize_pem());
    let private_key = ["--auth", "private_key_jwt", "--key", key.path(), "--kid", "k1"];
    for method in [&private_key[..], &["--auth", "client_secret_jwt"]] {
        let arguments = [&["--client-id", "client-id", "--dpop"], method].concat();
        let out = explain(&server, "/token", &arguments).await;
        assert!(out.contains("\ndpop: ***\n"), "{out}");
        assert!(out.contains("\n&client_assertion=***\n"), "{out}");
        let (_, proof) = out.split_once("## JWT in dpop (signature not shown)").unwrap();
        let (proof, assertion) = proof.split_once("## JWT in client_assertion (sig").unwrap();
        for line in [r#""typ": "dpop+jwt""#, r#""htm": "POST""#, r#""kty": "EC""#] {
            assert!(proof.contains(line), "{out}");
        }
        assert!(assertion.contains(r#""iss": "client-id""#), "{out}");
        let audience = format!(r#""aud": "{}""#, server.at("/token"));
        assert!(assertion.contains(&audience), "{out}");
    }
}

#[tokio::test]
async fn a_refused_token_request_is_explained() {
    let server = Server::start().await;
    let mut command = fetch(["--explain", "--token-endpoint", &server.at("/described")]);
    command.args(["--client-id", "client-id", "--auth", "client_secret_post"]);
    // The options of the API request may stay.
    command.args(["--repeat", "3", &server.at("/echo")]);
    let ended = run(command).await;
    assert_eq!((ended.code, server.seen().len()), (Some(1), 1));
    assert!(ended.stdout.contains("# Token response\n400 Bad Request\n"), "{}", ended.stdout);
    assert!(ended.stdout.contains(r#""error": "no_such_scope""#), "{}", ended.stdout);
    assert!(ended.stdout.contains("client_secret=***"), "{}", ended.stdout);
    assert!(!ended.stdout.contains('\u{1b}'), "{}", ended.stdout);
    assert!(ended.stderr.contains("the server says: no_such_scope"), "{}", ended.stderr);
}
