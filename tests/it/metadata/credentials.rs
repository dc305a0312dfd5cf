use tower::BoxError;
use tower_oauth2::client_auth::{ClientAuthentication, Identity, TokenRequestParts};
use tower_oauth2::{ClientAuth, Credentials};

use super::*;

const MTLS: &str = "https://mtls.auth.test/token";

/// A custom method with this name.
struct Own(&'static str);

impl ClientAuthentication for Own {
    fn method(&self) -> &str {
        self.0
    }

    fn identify(&self, _: &mut Identity) {}

    async fn authenticate(&self, _: &mut TokenRequestParts) -> Result<(), BoxError> {
        Ok(())
    }
}

fn all_methods() -> [ClientAuth; 7] {
    [
        ClientAuth::client_secret("client-id", SECRET),
        ClientAuth::client_secret_basic("client-id", SECRET),
        ClientAuth::client_secret_basic_raw("client-id", SECRET),
        ClientAuth::client_secret_post("client-id", SECRET),
        ClientAuth::none("client-id"),
        ClientAuth::tls_client_auth("client-id", "DER"),
        ClientAuth::self_signed_tls_client_auth("client-id", "DER"),
    ]
}

#[tokio::test]
async fn credentials_are_those_for_the_token_endpoint() {
    let endpoint = "https://auth.test/token?tenant=1";
    let metadata = metadata(json!({ "token_endpoint": endpoint })).await;
    for auth in all_methods() {
        let credentials = metadata.credentials(auth.clone()).unwrap();
        assert_eq!(credentials.token_endpoint().unwrap(), endpoint);
        assert_eq!(credentials, metadata.credentials(auth).unwrap());
    }
    assert!(metadata.credentials(ClientAuth::none("")).is_err());
}

// W8: a server may compare the audience byte for byte.
#[cfg(feature = "jwt")]
#[tokio::test]
async fn an_assertion_has_the_audience_as_the_metadata_spells_it() {
    use http_body_util::BodyExt;
    use tower::ServiceExt;
    use tower_oauth2::jwt::{Algorithm, Audience, SignedJwt, SigningKey};
    use tower_oauth2::{TokenEndpoint, TokenRequest};

    use crate::jwt::Jwt;
    use crate::support::Api;

    for endpoint in ["https://auth.test", "HTTPS://Auth.test:443/token"] {
        let metadata = metadata(json!({ "token_endpoint": endpoint })).await;
        let jwt = || SignedJwt::new(SigningKey::generate(Algorithm::ES256).unwrap());
        for (jwt, expected) in [
            (jwt(), metadata.issuer()),
            (jwt().audience(Audience::Issuer), metadata.issuer()),
            (jwt().audience(Audience::TokenEndpoint), endpoint),
        ] {
            let credentials = metadata.credentials(ClientAuth::private_key_jwt("client-id", jwt));
            let api = Api::new(|_| answer(200, r#"{"access_token":"t"}"#));
            let request = TokenRequest::new(credentials.unwrap());
            TokenEndpoint::new(api.clone()).oneshot(request).await.unwrap();
            let body = api.requests().remove(0).into_body().collect().await.unwrap().to_bytes();
            let mut form = form_urlencoded::parse(&body);
            let (_, assertion) = form.find(|(name, _)| name == "client_assertion").unwrap();
            assert_eq!(Jwt::parse(&assertion).claims["aud"], expected);
        }
    }
}

// RFC 8705 section 5
#[tokio::test]
async fn only_mutual_tls_uses_the_endpoint_alias() {
    let metadata = metadata(json!({ "mtls_endpoint_aliases": { "token_endpoint": MTLS } })).await;
    for auth in all_methods() {
        let expected = if auth.method().contains("tls") { MTLS } else { ENDPOINT };
        assert_eq!(metadata.credentials(auth).unwrap().token_endpoint().unwrap(), expected);
    }
}

// RFC 8414 section 2
#[tokio::test]
async fn a_method_that_the_server_does_not_list_is_refused() {
    for (listed, allowed) in [
        (
            &["client_secret_basic"][..],
            &["client_secret", "client_secret_basic", "client_secret_basic_raw"][..],
        ),
        (&["client_secret_post", "none"], &["client_secret", "client_secret_post"]),
        (&["tls_client_auth"], &["tls_client_auth"]),
        (&["self_signed_tls_client_auth"], &["self_signed_tls_client_auth"]),
        (&["private_key_jwt"], &[]),
        (&["something-new"], &[]),
        (&["CLIENT_SECRET_BASIC", "none "], &[]),
    ] {
        let metadata = metadata(json!({ "token_endpoint_auth_methods_supported": listed })).await;
        for auth in all_methods() {
            let method = auth.method().to_owned();
            let made = metadata.credentials(auth);
            // Many servers take public clients without listing `none`.
            let is_allowed = allowed.contains(&&*method) || method == "none";
            assert_eq!(made.is_ok(), is_allowed, "{method} of {listed:?}");
            if let Err(error) = made {
                assert_eq!(
                    error.to_string(),
                    format!(
                        "client authentication must be one of the server's \
                         token_endpoint_auth_methods_supported: {method}"
                    )
                );
            }
        }
    }
}

#[tokio::test]
async fn a_custom_method_with_a_registered_name_must_be_listed() {
    let metadata =
        metadata(json!({ "token_endpoint_auth_methods_supported": ["client_secret_post"] })).await;
    for (name, passes) in [
        ("client_secret_post", true),
        ("private_key_jwt", false),
        ("client_secret_jwt", false),
        ("our-own", true),
    ] {
        let made = metadata.credentials(ClientAuth::custom(Own(name)));
        assert_eq!(made.is_ok(), passes, "{name}");
    }
}

// RFC 8414 section 2
#[tokio::test]
async fn a_client_secret_is_sent_by_the_method_that_is_listed() {
    use http_body_util::BodyExt;
    use tower::ServiceExt;
    use tower_oauth2::TokenRequest;

    for (listed, in_form) in [
        (json!(["client_secret_post", "private_key_jwt"]), true),
        (json!(["client_secret_post", "client_secret_basic"]), false),
        (json!(["client_secret_basic"]), false),
        (json!([]), false),
        (json!("client_secret_post"), false),
    ] {
        let members = with(json!({ "token_endpoint_auth_methods_supported": listed }));
        let api = Api::new(move |request| match request.method().as_str() {
            "GET" => answer(200, members.clone()),
            _ => answer(200, r#"{"access_token":"t"}"#),
        });
        let auth = || ClientAuth::client_secret("client-id", SECRET);
        let metadata = Metadata::fetch(ISSUER, api.clone()).await.unwrap();
        for credentials in [
            metadata.credentials(auth()).unwrap(),
            Credentials::from_issuer(ISSUER, auth()).unwrap(),
        ] {
            single_try(api.clone()).oneshot(TokenRequest::new(credentials)).await.unwrap();
            let request = api.requests().pop().unwrap();
            assert_eq!(request.headers().contains_key("authorization"), !in_form, "{listed}");
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let expected = if in_form {
                format!("grant_type=client_credentials&client_id=client-id&client_secret={SECRET}")
            } else {
                "grant_type=client_credentials".to_owned()
            };
            assert_eq!(body, expected, "{listed}");
        }
    }
}

// S2: a document can name the token endpoint of another issuer, to get the token of that one.
#[tokio::test]
async fn credentials_of_two_issuers_share_no_token() {
    let of = async |issuer: &str| {
        let document = json!({ "issuer": issuer, "token_endpoint": ENDPOINT }).to_string();
        let metadata = Metadata::fetch(issuer, always(200, document)).await.unwrap();
        metadata.credentials(ClientAuth::none("client-id")).unwrap()
    };
    let (honest, lying) = (of(ISSUER).await, of("https://evil.test").await);
    assert_eq!(honest, of(ISSUER).await);
    assert_eq!(honest.token_endpoint(), lying.token_endpoint());
    assert_ne!(honest, lying);
    assert_ne!(lying, Credentials::new(ENDPOINT, ClientAuth::none("client-id")).unwrap());
}
