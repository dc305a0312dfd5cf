//! TLS, and clients that authenticate with a certificate (RFC 8705), at `oidc-provider`.

use http::Request;
use tower::ServiceBuilder;
use tower_oauth2::{
    ClientAuth, Credentials, OAuth2, OAuth2Layer, Origins, TokenEndpoint, TokenError, Tokens,
};

use crate::client::{Answer, send, try_send};
use crate::server::Server;
use crate::tls::{self, Shows, TlsClient};

fn tokens(server: &Server, auth: ClientAuth, shows: Shows) -> Tokens {
    let credentials = Credentials::new(server.told("/tls/token_endpoint"), auth).unwrap();
    Tokens::new(credentials, TokenEndpoint::new(tls::http(shows)))
}

fn api(server: &Server, tokens: Tokens, shows: Shows) -> OAuth2<TlsClient> {
    let origins = Origins::only([server.told("/tls/api")]).unwrap();
    ServiceBuilder::new().layer(OAuth2Layer::new(tokens, origins)).service(tls::http(shows))
}

async fn get(server: &Server, api: OAuth2<TlsClient>, path: &str) -> Answer {
    send(api, Request::get(format!("{}{path}", server.told("/tls/api")))).await
}

#[tokio::test]
async fn basic_over_tls() {
    let server = Server::oidc_provider();
    let client = server.client("over-tls");
    let tokens = tokens(server, client.basic(), Shows::Nothing);
    let answer = get(server, api(server, tokens, Shows::Nothing), "/plain/over-tls").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.body["client_id"], "over-tls");
}

type Method = fn(String, &'static [u8]) -> ClientAuth;

const AUTHORIZED: Method = |id, certificate| ClientAuth::tls_client_auth(id, certificate);
const SELF_SIGNED: Method =
    |id, certificate| ClientAuth::self_signed_tls_client_auth(id, certificate);

/// Asserts that the certificate authenticates the client and binds the token (RFC 8705).
async fn assert_certificate_authenticates(
    name: &str,
    method: Method,
    shows: Shows,
    another: Shows,
) {
    let server = Server::oidc_provider();
    let client = server.client(name);
    let path = format!("/plain/{name}");
    let auth = method(client.id.clone(), shows.certificate());
    let tokens = tokens(server, auth, shows);
    let answer = get(server, api(server, tokens.clone(), shows), &path).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.body["client_id"], *client.id);
    assert!(answer.body["cnf"]["x5t#S256"].is_string(), "{}", answer.body);
    assert_eq!(server.token_statuses(&client.id).await, [200]);

    for (other, why) in [(another, "another certificate"), (Shows::Nothing, "no certificate")] {
        let answer = get(server, api(server, tokens.clone(), other), &path).await;
        assert_eq!((answer.status.as_u16(), &answer.body["why"]), (401, &why.into()));
    }
}

#[tokio::test]
async fn a_certificate_with_the_registered_subject() {
    let (own, another) = (Shows::Authorized, Shows::SelfSigned);
    assert_certificate_authenticates("tls-subject", AUTHORIZED, own, another).await;
}

#[tokio::test]
async fn a_certificate_with_the_registered_name() {
    let (own, another) = (Shows::Authorized, Shows::SelfSigned);
    assert_certificate_authenticates("tls-dns", AUTHORIZED, own, another).await;
}

#[tokio::test]
async fn a_self_signed_certificate_that_is_registered_itself() {
    let (own, another) = (Shows::SelfSigned, Shows::Authorized);
    assert_certificate_authenticates("tls-self-signed", SELF_SIGNED, own, another).await;
}

/// A JWT names the certificate that it is bound to (RFC 8707, RFC 9068).
#[tokio::test]
async fn a_jwt_for_a_resource_is_bound_to_the_certificate() {
    let server = Server::oidc_provider();
    let (client, shows) = (server.client("tls-jwt"), Shows::Authorized);
    let auth = ClientAuth::tls_client_auth(&client.id, shows.certificate());
    let credentials = Credentials::new(server.told("/tls/token_endpoint"), auth).unwrap();
    let credentials = credentials.resource(server.told("/resources/jwt"));
    let tokens = Tokens::new(credentials, TokenEndpoint::new(tls::http(shows)));
    let answer = get(server, api(server, tokens.clone(), shows), "/jwt/tls").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.body["aud"], server.told("/resources/jwt"));
    assert!(answer.body["cnf"]["x5t#S256"].is_string(), "{}", answer.body);
    let other = Shows::SelfSigned;
    let answer = get(server, api(server, tokens, other), "/jwt/tls").await;
    assert_eq!((answer.status.as_u16(), &answer.body["why"]), (401, &"another certificate".into()));
}

#[tokio::test]
async fn a_token_for_a_secret_can_be_bound_to_a_certificate_too() {
    let server = Server::oidc_provider();
    let client = server.client("tls-bound");
    let tokens = tokens(server, client.basic(), Shows::Authorized);
    let answer = get(server, api(server, tokens, Shows::Authorized), "/plain/tls-bound").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.body["cnf"]["x5t#S256"].is_string(), "{}", answer.body);
}

#[tokio::test]
async fn an_unregistered_certificate_is_an_invalid_client() {
    let server = Server::oidc_provider();
    for (name, shows) in [
        ("tls-stranger", Shows::Authorized),
        ("tls-stranger", Shows::SelfSigned),
        ("tls-stranger", Shows::Nothing),
    ] {
        let client = server.client(name);
        // The connection decides, not the certificate in the credentials.
        let auth = ClientAuth::tls_client_auth(&client.id, Shows::Authorized.certificate());
        let tokens = tokens(server, auth, shows);
        let request = Request::get(format!("{}/plain/{name}", server.told("/tls/api")));
        let request = request.body(Default::default()).unwrap();
        let error = try_send(api(server, tokens, shows), request).await.err().unwrap();
        let error = TokenError::find_in(&*error).unwrap();
        assert_eq!(error.error_code(), Some("invalid_client"), "{error}");
    }
}
