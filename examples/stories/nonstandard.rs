//! Settings for servers that do not follow the standards.

use std::time::Duration;

use http::{HeaderName, Request};
use http_body_util::Full;
use tower::service_fn;
use tower_oauth2::grant::Grant;
use tower_oauth2::replay::ReplayPolicy;
use tower_oauth2::source::HttpClient;
use tower_oauth2::{
    AccessToken, BoxError, ClientAuth, Credentials, OAuth2Layer, Origins, Secret, TokenEndpoint,
    Tokens,
};

use crate::server::{TestServer, expect};

/// Creates credentials for Zoom, which has a non-standard grant type.
fn zoom(token_endpoint: &str, account: &str) -> Result<Credentials, BoxError> {
    let auth = ClientAuth::client_secret_basic("client-id", "s3cr3t");
    Ok(Credentials::new(token_endpoint, auth)?
        .grant(Grant::custom("account_credentials"))
        .parameter("account_id", account))
}

/// Creates tokens for Apigee. It reads the grant type from the query, may omit `expires_in`, and
/// has its own name for Bearer tokens.
fn apigee<M>(http: impl HttpClient<M>) -> Result<Tokens, BoxError> {
    let auth = ClientAuth::client_secret_basic_raw("key", Secret::file("/run/secrets/apigee"));
    let endpoint = "https://org.apigee.example/oauth/token?grant_type=client_credentials";
    let credentials =
        Credentials::new(endpoint, auth)?.default_expires_in(Duration::from_secs(1800));
    Ok(Tokens::new(credentials, TokenEndpoint::new(http).token_type_alias("BearerToken")))
}

/// Creates a layer for Shopify, which expects the bare token in a custom header.
fn shopify(tokens: Tokens, shop: &str) -> Result<OAuth2Layer, BoxError> {
    Ok(OAuth2Layer::new(tokens, Origins::only(format!("https://{shop}.myshopify.com"))?)
        .header_name(HeaderName::from_static("x-shopify-access-token"))
        .no_scheme())
}

/// Creates a layer for Zoho, which has a custom scheme and rejects tokens with 400.
fn zoho(tokens: Tokens) -> Result<OAuth2Layer, BoxError> {
    Ok(OAuth2Layer::new(tokens, Origins::only("https://www.zohoapis.eu")?)
        .scheme("Zoho-oauthtoken")?
        .replay_policy(
            ReplayPolicy::unauthorized().or(ReplayPolicy::when(|status, _| status == 400)),
        ))
}

pub(crate) async fn run(server: &TestServer) -> Result<(), BoxError> {
    let credentials = zoom(&server.token_endpoint(), "acme")?;
    Tokens::new(credentials, TokenEndpoint::new(server.http())).warm().await?;
    let form = &server.token_requests()[0];
    expect(&*form["grant_type"], "account_credentials")?;
    expect(&*form["account_id"], "acme")?;
    apigee(server.http())?;

    // Responds with the header that contains the token.
    let echo = |name: &'static str| {
        service_fn(move |request: Request<Full<bytes::Bytes>>| async move {
            Ok::<_, BoxError>(http::Response::new(request.headers()[name].clone()))
        })
    };
    let tokens = Tokens::fixed(AccessToken::new("t")?);
    let request = |uri: &str| Request::get(uri).body(Full::default());
    let shopify = shopify(tokens.clone(), "shop")?.layer(echo("x-shopify-access-token"));
    let response = shopify.send(request("https://shop.myshopify.com/")?).await?;
    expect(response.body().to_str()?, "t")?;
    let zoho = zoho(tokens)?.layer(echo("authorization"));
    let response = zoho.send(request("https://www.zohoapis.eu/")?).await?;
    expect(response.body().to_str()?, "Zoho-oauthtoken t")
}
