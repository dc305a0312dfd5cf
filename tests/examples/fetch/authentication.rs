//! Client authentication.

#[cfg(feature = "jwt")]
use base64::Engine;
#[cfg(feature = "jwt")]
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::header::AUTHORIZATION;

use super::{basic, run};
use crate::process::{File, SECRET, fetch, fetch_from};
use crate::server::{Ca, Server};

#[cfg(feature = "jwt")]
#[tokio::test]
async fn an_option_binds_tokens_to_a_key() {
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
        let header = BASE64_URL_SAFE_NO_PAD.decode(proof.split('.').next().unwrap()).unwrap();
        let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
        thumbprints.push(header["jwk"].to_string());
    }
    assert_eq!(thumbprints[0], thumbprints[1]);
    assert_ne!(thumbprints[0], thumbprints[2]);
}

#[tokio::test]
async fn options_set_the_client_authentication() {
    let secret_file = File::new("secret", "from a+file\n");
    let secret_file = ["--client-secret-file", secret_file.path()];
    for (method, header, body) in [
        ("client_secret", Some(basic("client-id:from%20a%2Bfile")), ""),
        ("client_secret_basic", Some(basic("client-id:from%20a%2Bfile")), ""),
        ("client_secret_basic_raw", Some(basic("client-id:from a+file")), ""),
        ("client_secret_post", None, "&client_id=client-id&client_secret=from+a%2Bfile"),
        ("none", None, "&client_id=client-id"),
    ] {
        let server = Server::start().await;
        let secret_file = secret_file.iter().copied().filter(|_| method != "none");
        let arguments = ["--auth", method].into_iter().chain(secret_file);
        let ended = run(fetch_from(&server, "/echo", arguments)).await;
        assert_eq!(ended.code, Some(0), "{method}: {}", ended.stderr);
        let sent = &server.token_requests()[0];
        let sent_header = sent.headers().get(AUTHORIZATION).map(|value| value.to_str().unwrap());
        assert_eq!(sent_header, header.as_deref(), "{method}");
        assert_eq!(*sent.body(), format!("grant_type=client_credentials{body}"), "{method}");
    }
}

#[tokio::test]
async fn metadata_choose_the_place_of_a_secret() {
    let server = Server::start().await;
    let mut command = fetch(["--issuer", &server.at("/realm"), "--client-id", "client-id"]);
    command.args(["--well-known", "/metadata/post", "--auth", "client_secret"]);
    let ended = run({
        command.arg(server.at("/echo"));
        command
    })
    .await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let body = format!("grant_type=client_credentials&client_id=client-id&client_secret={SECRET}");
    assert_eq!(*server.token_requests()[0].body(), body);
}

/// Returns the header and claims of a token request's assertion, and the client id.
#[cfg(feature = "jwt")]
fn assertion(server: &Server) -> (serde_json::Value, serde_json::Value, Option<String>) {
    assertion_in(&server.token_requests()[0])
}

#[cfg(feature = "jwt")]
fn assertion_in(
    sent: &http::Request<bytes::Bytes>,
) -> (serde_json::Value, serde_json::Value, Option<String>) {
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
async fn options_set_the_signing_key() {
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

    let audience = ["--assertion-audience", "token-endpoint"];
    for (audience, expected) in [
        (&[][..], server.at("/realm")),
        (&["--assertion-audience", "issuer"], server.at("/realm")),
        (&audience, server.at("/token")),
    ] {
        let before = server.token_requests().len();
        let mut command = fetch(["--issuer", &server.at("/realm"), "--client-id", "client-id"]);
        command.args(["--well-known", "/metadata"]);
        command.args(["--auth", "private_key_jwt", "--key", key.path()]);
        command.args(["--claims", r#"{"nbf":null,"tenant":{"id":7}}"#]);
        command.args(["--typ", "client-authentication+jwt"]).args(audience).arg(server.at("/echo"));
        let ended = run(command).await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let (header, claims, _) = assertion_in(&server.token_requests()[before]);
        assert_eq!(header["typ"], "client-authentication+jwt");
        assert_eq!((&claims["aud"], &claims["tenant"]["id"]), (&expected.into(), &7.into()));
        assert!(claims.get("nbf").is_none());
    }

    // An unusable key is an error of the token request, in one line.
    let broken = File::new("broken.pem", "-----BEGIN PRIVATE KEY-----\nAAAA");
    let arguments = ["--auth", "private_key_jwt", "--key", broken.path()];
    let ended = run(fetch_from(&server, "/echo", arguments)).await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("signing key is truncated"), "{}", ended.stderr);

    // So is an algorithm that does not fit the key.
    let arguments = ["--auth", "private_key_jwt", "--key", key.path(), "--alg", "EdDSA"];
    let ended = run(fetch_from(&server, "/echo", arguments)).await;
    assert_eq!(ended.code, Some(1));
    let why = "signing key supports ES256, and not the algorithm: EdDSA";
    assert!(ended.stderr.contains(why), "{}", ended.stderr);
}

#[tokio::test]
async fn an_assertion_is_read_from_a_file() {
    let file = File::new("assertion", "a.b.c\n");
    let server = Server::start().await;
    let arguments = ["--auth", "client_assertion", "--assertion-file", file.path()];
    let ended = run(fetch_from(&server, "/echo", arguments)).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(server.token_requests()[0].body().ends_with(b"&client_assertion=a.b.c"));

    // An assertion of another type, without a client id.
    let (endpoint, server) = (server.at("/token"), server);
    let mut command = fetch(["--token-endpoint", &endpoint, "--auth", "client_assertion"]);
    command.args(["--assertion-file", file.path(), "--assertion-type", "urn:test:saml"]);
    let ended = run({
        command.arg(server.at("/echo"));
        command
    })
    .await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let body = "grant_type=client_credentials&client_assertion_type=urn%3Atest%3Asaml&\
                client_assertion=a.b.c";
    assert_eq!(server.token_requests()[1].body(), body);
}

#[tokio::test]
async fn the_token_endpoint_comes_from_the_issuer() {
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
        (server.at("/realm"), "client_secret_post", "error: client authentication must be one"),
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
async fn a_certificate_replaces_a_secret() {
    let ca = Ca::new();
    let server = Server::start_mtls(&ca).await;
    let cacert = File::new("mtls-ca.pem", &ca.pem);
    let identity = ca.certify();
    let cert = File::new("mtls-cert.pem", &identity.certificate_pem());
    let key = File::new("mtls-key.pem", &identity.key_pem());
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

    // The key does not belong to the certificate.
    let other = File::new("mtls-other.pem", &ca.certify().key_pem());
    let arguments = ["--cacert", cacert.path(), "--key", other.path()];
    let ended = run(fetch_from(&server, "/echo", arguments.into_iter().chain(cert))).await;
    assert_eq!((ended.code, ended.lines().len()), (Some(1), 1));
    assert!(ended.stderr.starts_with("error: --cert and --key cannot be used: "));
    assert_eq!(server.seen().len(), before);
}
