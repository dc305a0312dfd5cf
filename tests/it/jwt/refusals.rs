//! Assertions that servers refuse for their audience.

use tower::{ServiceExt, service_fn};
use tower_oauth2::client_auth::ClientSecretJwt;
use tower_oauth2::grant::JwtBearer;
use tower_oauth2::jwt::{Audience, SignedJwt, SigningKey};
use tower_oauth2::metadata::Metadata;
use tower_oauth2::{ClientAuth, Credentials, TokenEndpoint, TokenErrorKind, TokenRequest};

use super::{ENDPOINT, HttpRequest, HttpResponse, Jwt, answer, form, member, vectors};
use crate::support::{Api, SECRET, single_try};

const HONEST: &str = "https://honest.test";
const HONEST_ENDPOINT: &str = "https://honest.test/token";
const LIAR: &str = "https://liar.test";

fn jwt() -> SignedJwt {
    SigningKey::from_jwk(vectors::P256).unwrap().into()
}

/// Returns the audience of the assertion in a token request.
async fn audience(request: &HttpRequest) -> String {
    let form = form(request).await;
    let jwt = member(&form, "client_assertion").or(member(&form, "assertion")).unwrap();
    Jwt::parse(jwt).claims["aud"].as_str().unwrap().to_owned()
}

/// Creates a server that accepts assertions for its token endpoint and for its issuer.
fn honest() -> Api {
    Api::new(|request| {
        let audience = futures_util::FutureExt::now_or_never(audience(request)).unwrap();
        match &*audience {
            HONEST | HONEST_ENDPOINT => answer(200, None, r#"{"access_token":"t"}"#),
            _ => answer(401, None, r#"{"error":"invalid_client"}"#),
        }
    })
}

/// Creates a server whose metadata names the token endpoint of the honest one.
fn liar(document: &'static str) -> Api {
    Api::new(move |request| {
        assert_eq!(request.method(), http::Method::GET);
        answer(200, None, document)
    })
}

fn internet(honest: Api, liar: Api) -> TokenEndpoint {
    single_try(service_fn(move |request: HttpRequest| {
        let server = match request.uri().host() {
            Some("honest.test") => honest.clone(),
            _ => liar.clone(),
        };
        async move { server.oneshot(request).await.map(|response: HttpResponse| response) }
    }))
}

fn assertions(audience: Audience) -> Vec<(ClientAuth, Option<JwtBearer>)> {
    let secret_jwt = ClientSecretJwt::new("id", SECRET).audience(audience.clone());
    let jwt = || jwt().audience(audience.clone());
    vec![
        (ClientAuth::private_key_jwt("id", jwt()), None),
        (ClientAuth::custom(secret_jwt), None),
        (ClientAuth::anonymous(), Some(JwtBearer::signed("robot", jwt()))),
    ]
}

fn with_grant(credentials: Credentials, grant: Option<JwtBearer>) -> Credentials {
    match grant {
        Some(grant) => credentials.grant(grant),
        None => credentials,
    }
}

// W8: CVE-2025-27370 and CVE-2025-27371.
#[tokio::test]
async fn lying_metadata_obtains_no_assertion_for_another_server() {
    const DOCUMENT: &str =
        r#"{"issuer":"https://liar.test","token_endpoint":"https://honest.test/token"}"#;
    // Not set, or set for the server that the user believes to talk to.
    for set in ["".into(), Audience::Issuer] {
        for (auth, grant) in assertions(set) {
            let (honest, liar) = (honest(), liar(DOCUMENT));
            let metadata = Metadata::fetch(LIAR, liar.clone()).await.unwrap();
            for credentials in [
                Credentials::from_issuer(LIAR, auth.clone()).unwrap(),
                metadata.credentials(auth.clone()).unwrap(),
            ] {
                let credentials = with_grant(credentials, grant.clone());
                let request = TokenRequest::new(credentials);
                let error =
                    internet(honest.clone(), liar.clone()).oneshot(request).await.unwrap_err();
                assert_eq!(error.error_code(), Some("invalid_client"));
            }
            assert_eq!(honest.count(), 2);
            for request in honest.requests() {
                assert_eq!(audience(&request).await, LIAR);
            }
        }
    }
}

// W8
#[tokio::test]
async fn metadata_in_the_name_of_another_issuer_get_no_assertion() {
    const DOCUMENT: &str =
        r#"{"issuer":"https://honest.test","token_endpoint":"https://liar.test/token"}"#;
    for (auth, grant) in assertions("".into()) {
        let (honest, liar) = (honest(), liar(DOCUMENT));
        let credentials = with_grant(Credentials::from_issuer(LIAR, auth).unwrap(), grant);
        let endpoint = internet(honest.clone(), liar.clone());
        let error = endpoint.oneshot(TokenRequest::new(credentials)).await.unwrap_err();
        assert_eq!(error.kind(), TokenErrorKind::InvalidMetadata);
        assert_eq!(honest.count(), 0);
    }
}

const REALM: &str = "https://auth.test/realm";
const REALM_DOCUMENT: &str =
    r#"{"issuer":"https://auth.test/realm","token_endpoint":"https://auth.test/token"}"#;

/// Returns the error of a server that accepts only its token endpoint as the audience.
async fn refusal(error: &'static str, auth: ClientAuth, grant: Option<JwtBearer>) -> String {
    let server = Api::new(move |request| match request.method() {
        &http::Method::GET => answer(200, None, REALM_DOCUMENT),
        _ => answer(400, None, error),
    });
    let credentials = with_grant(Credentials::from_issuer(REALM, auth).unwrap(), grant);
    single_try(server).oneshot(TokenRequest::new(credentials)).await.unwrap_err().to_string()
}

// W5: Ory Hydra accepts only its token endpoint.
#[tokio::test]
async fn the_error_names_the_audience_and_how_to_set_another() {
    let hint = "; the assertion was for https://auth.test/realm: if the server requires its token \
                endpoint there, set Audience::TokenEndpoint";
    for error in [
        r#"{"error":"invalid_client"}"#,
        r#"{"error":"invalid_grant"}"#,
        r#"{"error":"invalid_request"}"#,
        r#"{"error":"unauthorized_client"}"#,
        "",
    ] {
        for (auth, grant) in assertions("".into()) {
            let text = refusal(error, auth, grant).await;
            assert!(text.ends_with(hint), "{text}");
        }
    }
    for (auth, grant) in assertions(Audience::TokenEndpoint) {
        let text = refusal(r#"{"error":"invalid_client"}"#, auth, grant).await;
        let hint = format!(
            "; the assertion was for {ENDPOINT}: if the server requires another one, set \
             `audience`, for example to the issuer"
        );
        assert!(text.ends_with(&hint), "{text}");
    }
    // A custom claim may have several.
    for (claim, shown) in [
        (serde_json::json!(["https://a.test/?secret", "b"]), "for https://a.test/?... and b: if"),
        (
            serde_json::json!(["b", ENDPOINT]),
            "and https://auth.test/token: if the server requires another",
        ),
    ] {
        let auth = ClientAuth::private_key_jwt("id", jwt().claim("aud", claim));
        let text = refusal(r#"{"error":"invalid_client"}"#, auth, None).await;
        assert!(text.contains(shown), "{text}");
    }
    // Two assertions: the code says which one was refused.
    let auth = ClientAuth::private_key_jwt("id", jwt().audience("https://a.test/?secret"));
    let grant = JwtBearer::signed("robot", jwt().audience("the \u{7}grant"));
    for (error, shown) in [
        (r#"{"error":"invalid_client"}"#, "for https://a.test/?...: if"),
        (r#"{"error":"invalid_grant"}"#, r"for the \u{7}grant: if"),
    ] {
        let text = refusal(error, auth.clone(), Some(grant.clone())).await;
        assert!(text.contains(shown), "{text}");
    }
}

#[tokio::test]
async fn other_errors_name_no_audience() {
    for error in [r#"{"error":"invalid_scope"}"#, r#"{"error":"slow_down"}"#] {
        for (auth, grant) in assertions("".into()) {
            assert!(!refusal(error, auth, grant).await.contains("audience"));
        }
    }
    for auth in [
        ClientAuth::client_secret_basic("id", SECRET),
        ClientAuth::client_assertion("id", "a.eyJhdWQiOiJ4In0.b"),
    ] {
        let text = refusal(r#"{"error":"invalid_client"}"#, auth, None).await;
        assert!(!text.contains("the assertion was for"), "{text}");
    }
}
