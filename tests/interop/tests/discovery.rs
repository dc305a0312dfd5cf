//! Metadata of issuers (RFC 8414, OpenID Connect Discovery 1.0).

use http::Request;
use tower::ServiceBuilder;
use tower_oauth2::metadata::{Metadata, WellKnown};
use tower_oauth2::{ClientAuth, OAuth2Layer, Origins, TokenEndpoint, TokenErrorKind, Tokens};

use crate::client::{http, send};
use crate::server::Server;
use crate::tls::{self, Shows};

const OAUTH: &str = "/.well-known/oauth-authorization-server";
const OPENID: &str = "/.well-known/openid-configuration";

#[tokio::test]
async fn an_openid_provider_is_discovered_after_a_404() {
    let server = Server::oidc_provider_alone();
    let issuer = server.told("/issuer");
    let metadata = Metadata::fetch(issuer, http()).await.unwrap();
    let expected = [(OAUTH.to_owned(), 404), (OPENID.to_owned(), 200)];
    assert_eq!(server.discovered().await, expected);
    assert_eq!(metadata.issuer(), issuer);
    assert_eq!(metadata.token_endpoint(), server.told("/token_endpoint"));
    assert_eq!(metadata.introspection_endpoint().unwrap(), server.told("/introspection_endpoint"));
    assert_eq!(metadata.revocation_endpoint().unwrap(), server.told("/revocation_endpoint"));
    let methods: Vec<_> = metadata.token_endpoint_auth_methods_supported().collect();
    for method in ["client_secret_basic", "private_key_jwt", "self_signed_tls_client_auth"] {
        assert!(methods.contains(&method), "{method} is not in {methods:?}");
    }
    assert!(metadata.grant_types_supported().any(|grant| grant == "client_credentials"));
    for mut algorithms in [
        Vec::from_iter(metadata.token_endpoint_auth_signing_alg_values_supported()),
        Vec::from_iter(metadata.dpop_signing_alg_values_supported()),
    ] {
        algorithms.retain(|alg| ["ES256", "ES384", "EdDSA", "RS256", "PS256"].contains(alg));
        assert_eq!(algorithms.len(), 5);
    }

    let client = server.client("discovered");
    let api = server.api(metadata.credentials(client.basic()).unwrap());
    assert_eq!(send(api, server.get("/plain/discovered")).await.status, 200);
    assert_eq!(server.token_statuses(&client.id).await, [200]);
}

#[tokio::test]
async fn only_the_named_document_is_fetched() {
    let server = Server::oidc_provider_alone();
    let builder = || Metadata::builder(server.told("/issuer")).unwrap();
    let error = builder().well_known(WellKnown::OauthAuthorizationServer).fetch(http()).await;
    assert_eq!(error.unwrap_err().status().unwrap(), 404);
    builder().well_known(WellKnown::OpenidConfiguration).fetch(http()).await.unwrap();
    let expected = [(OAUTH.to_owned(), 404), (OPENID.to_owned(), 200)];
    assert_eq!(server.discovered().await, expected);
}

#[tokio::test]
async fn mutual_tls_uses_the_endpoint_alias() {
    let server = Server::oidc_provider();
    let client = server.client("tls-discovered");
    let http = tls::http(Shows::Authorized);
    let metadata = Metadata::fetch(server.told("/issuer"), http.clone()).await.unwrap();
    assert_ne!(server.told("/tls/token_endpoint"), server.told("/token_endpoint"));
    let auth = ClientAuth::tls_client_auth(&client.id, Shows::Authorized.certificate());
    let credentials = metadata.credentials(auth).unwrap();
    assert_eq!(credentials.token_endpoint().unwrap(), server.told("/tls/token_endpoint"));
    let own = metadata.credentials(server.client("discovered").basic()).unwrap();
    assert_eq!(own.token_endpoint().unwrap(), server.told("/token_endpoint"));

    let tokens = Tokens::new(credentials, TokenEndpoint::new(http.clone()));
    let origins = Origins::only([server.told("/tls/api")]).unwrap();
    let api = ServiceBuilder::new().layer(OAuth2Layer::new(tokens, origins)).service(http);
    let uri = format!("{}/plain/tls-discovered", server.told("/tls/api"));
    let answer = send(api, Request::get(uri)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.body["cnf"]["x5t#S256"].is_string(), "{}", answer.body);
}

#[tokio::test]
async fn an_assertion_goes_to_the_endpoint_that_was_found() {
    let server = Server::oidc_provider();
    let name = "assertion-discovered";
    let metadata = Metadata::fetch(server.told("/issuer"), http()).await.unwrap();
    let auth = ClientAuth::private_key_jwt(name, server.key(name));
    let api = server.api(metadata.credentials(auth).unwrap());
    assert_eq!(send(api, server.get("/plain/assertion-discovered")).await.status, 200);
    assert_eq!(server.token_statuses(name).await, [200]);
}

#[tokio::test]
async fn metadata_of_another_issuer_is_refused() {
    for (server, port) in [
        (Server::oidc_provider(), true),
        // The server takes its issuer from the request, except for the end of the path.
        (Server::django_oauth_toolkit(), false),
    ] {
        let issuer = server.told("/issuer");
        let mut others = vec![format!("{issuer}/")];
        if port {
            others.push(issuer.replace("127.0.0.1", "localhost"));
        }
        for other in others {
            let error = Metadata::fetch(&other, http()).await.unwrap_err();
            assert_eq!(error.kind(), TokenErrorKind::InvalidMetadata, "{other}: {error}");
            assert!(!error.is_transient());
        }
    }
}

#[tokio::test]
async fn an_oauth_server_is_discovered_with_one_request() {
    let server = Server::django_oauth_toolkit();
    let client = server.client("discovered");
    let issuer = server.told("/issuer");
    let metadata = Metadata::fetch(issuer, http()).await.unwrap();
    assert_eq!((metadata.issuer(), metadata.mtls_token_endpoint()), (issuer, None));
    assert_eq!(metadata.token_endpoint(), server.told("/token_endpoint"));
    assert!(metadata.scopes_supported().any(|scope| scope == "read"));
    assert_eq!(metadata.dpop_signing_alg_values_supported().count(), 0);
    let api = server.api(metadata.credentials(client.basic()).unwrap().scope("read"));
    assert_eq!(send(api, server.get("/api/bearer/discovered")).await.status, 200);

    // The server does not list this method.
    let auth = ClientAuth::tls_client_auth(&client.id, Shows::Authorized.certificate());
    let error = metadata.credentials(auth).unwrap_err();
    assert!(error.to_string().contains("token_endpoint_auth_methods_supported"), "{error}");
}

#[tokio::test]
async fn the_well_known_part_comes_before_the_path_of_an_issuer() {
    let server = Server::django_oauth_toolkit();
    let issuer = format!("{}/o", server.told("/issuer"));
    let metadata = Metadata::fetch(&issuer, http()).await.unwrap();
    assert_eq!(metadata.issuer(), issuer);
    assert_eq!(metadata.token_endpoint(), server.told("/token_endpoint"));
}
