//! Keys instead of secrets: a GitHub App and a Google service account.

use std::time::Duration;

use http::Request;
use http_body_util::{BodyExt, Full};
use tower::service_fn;
use tower_oauth2::grant::JwtBearer;
use tower_oauth2::jwt::{Algorithm, SignedJwt, SigningKey};
use tower_oauth2::source::SelfSigned;
use tower_oauth2::{
    AccessToken, BoxError, ClientAuth, Credentials, OAuth2Layer, Origins, TokenEndpoint,
    TokenRequest, Tokens,
};

use crate::server::{Http, TestServer, expect};

/// Creates the tokens for one installation of a GitHub App. The app authenticates with a
/// self-signed JWT.
fn installation(http: Http, github: &str, key: SigningKey, id: u64) -> Result<Tokens, BoxError> {
    let jwt = SignedJwt::new(key).lifetime(Duration::from_secs(540));
    let app = Tokens::new(Credentials::named("app"), SelfSigned::new("Iv23liExample", jwt));
    let api = OAuth2Layer::new(app, Origins::only(github)?).layer(http);
    let uri = format!("{github}/app/installations/{id}/access_tokens");
    let source = service_fn(move |_: TokenRequest| {
        let (api, request) = (api.clone(), Request::post(&uri).body(Full::default()));
        async move {
            let response = api.send(request?).await?;
            let body = response.into_body().collect().await?.to_bytes();
            let body: serde_json::Value = serde_json::from_slice(&body)?;
            let token = body["token"].as_str().ok_or("the response has no token")?;
            let lifetime = Duration::from_secs(3600);
            Ok::<_, BoxError>(AccessToken::new(token)?.with_expires_in(lifetime))
        }
    });
    Ok(Tokens::new(Credentials::named(format!("installation {id}")), source))
}

/// Creates the tokens of a Google service account (RFC 7523 section 2.1).
fn service_account(http: Http, endpoint: &str, key: SigningKey) -> Result<Tokens, BoxError> {
    let jwt =
        SignedJwt::new(key).claim("scope", "https://www.googleapis.com/auth/devstorage.read_only");
    let grant = JwtBearer::signed("robot@project.iam.gserviceaccount.com", jwt);
    let credentials = Credentials::new(endpoint, ClientAuth::anonymous())?.grant(grant);
    Ok(Tokens::new(credentials, TokenEndpoint::new(http)))
}

pub(crate) async fn run(server: &TestServer) -> Result<(), BoxError> {
    let key = || SigningKey::generate(Algorithm::ES256);
    let tokens = installation(server.http(), server.origin(), key()?, 17)?;
    expect(tokens.get().await?.secret(), "token-1")?;

    let account = service_account(server.http(), &server.token_endpoint(), key()?)?;
    expect(account.get().await?.secret(), "token-2")?;
    let form = &server.token_requests()[1];
    expect(&*form["grant_type"], "urn:ietf:params:oauth:grant-type:jwt-bearer")?;
    expect(form["assertion"].split('.').count(), 3)
}
