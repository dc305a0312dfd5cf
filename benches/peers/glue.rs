//! Wraps each crate as its documentation uses it, as a tower service.
//!
//! Renewal is configured so that a token of two seconds is kept for about as long as in this crate.

use std::future::{Future, Ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::Either;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Request, Response, StatusCode};
use huskarl::authorizer::HttpAuthorizer;
use huskarl::cache::{GrantTokenSource, InMemoryRefreshTokenStore, InMemoryTokenCache};
use huskarl::core::client_auth::ClientSecret;
use huskarl::core::http::{HttpClient, HttpResponse, Idempotency};
use huskarl::core::platform::MaybeSendBoxFuture;
use huskarl::core::secrets::{ProvidedSecret, SecretString};
use huskarl::grant::client_credentials::{
    ClientCredentialsGrant, ClientCredentialsGrantParameters,
};
use kube_client::Config;
use kube_client::client::ConfigExt;
use kube_client::config::AuthInfo;
use middle::{Authorizer, BasicClientCredentialAuthorizer};
use toolkit_auth::{
    BearerAuthAutoRefreshLayer, BearerAuthLayer, OAuthClientConfig, TokenProvider,
};
use toolkit_http::{HttpClientConfig, HttpError};
use tower::{BoxError, Layer, Service, ServiceExt};

use crate::cases::Body;
use crate::cases::stacks::secret;
use crate::endpoint::serve;
use crate::issuer::Issuer;

/// The time before its end at which a token is replaced.
const MARGIN: Duration = Duration::from_millis(200);

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// An API that each of the crates can call.
pub trait Api:
    Service<Request<Body>, Response = Response<Body>, Error = BoxError, Future: Send>
    + Clone
    + Send
    + 'static
{
}

impl<S> Api for S where
    S: Service<Request<Body>, Response = Response<Body>, Error = BoxError, Future: Send>
        + Clone
        + Send
        + 'static
{
}

/// `middle` renews in the background and returns a header. It does not see responses.
#[derive(Clone)]
pub struct Middle<S> {
    inner: S,
    authorizer: BasicClientCredentialAuthorizer,
}

pub async fn middle<S: Api>(issuer: &Issuer, inner: S) -> Middle<S> {
    let endpoint = format!("http://{}/token", serve(issuer).await).parse().expect("a URL");
    let authorizer = BasicClientCredentialAuthorizer::basic_builder("client-id", "s3cr3t", endpoint)
        .refresh_tolerance(MARGIN)
        .build();
    Middle { inner, authorizer: authorizer.await.expect("a token") }
}

impl<S: Api> Service<Request<Body>> for Middle<S> {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Either<S::Future, Ready<Result<Response<Body>, BoxError>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        match self.authorizer.authorization_header() {
            Ok(header) => {
                request.headers_mut().insert(AUTHORIZATION, Arc::unwrap_or_clone(header));
                Either::Left(self.inner.call(request))
            }
            Err(error) => Either::Right(std::future::ready(Err(error.into()))),
        }
    }
}

/// Wraps `inner` in the two layers of `cf-gears-toolkit-auth`. Both require the error type of its
/// own HTTP client.
pub async fn cf_gears<S: Api>(issuer: &Issuer, inner: S) -> impl Api + use<S> {
    let layer = BearerAuthLayer::new(provider(issuer).await);
    let service = layer.layer(inner.map_err(HttpError::Transport as fn(BoxError) -> HttpError));
    service.map_err(BoxError::from as fn(HttpError) -> BoxError)
}

pub async fn cf_gears_refresh<S: Api>(issuer: &Issuer, inner: S) -> impl Api + use<S> {
    let layer = BearerAuthAutoRefreshLayer::new(provider(issuer).await);
    let service = layer.layer(inner.map_err(HttpError::Transport as fn(BoxError) -> HttpError));
    service.map_err(BoxError::from as fn(HttpError) -> BoxError)
}

async fn provider(issuer: &Issuer) -> TokenProvider {
    let endpoint = format!("http://{}/token", serve(issuer).await).parse().expect("a URL");
    let config = OAuthClientConfig {
        token_endpoint: Some(endpoint),
        client_id: "client-id".into(),
        client_secret: toolkit_auth::SecretString::new("s3cr3t"),
        refresh_offset: MARGIN,
        jitter_max: Duration::ZERO,
        min_refresh_period: Duration::from_millis(100),
        http_config: Some(HttpClientConfig::for_testing()),
        ..OAuthClientConfig::default()
    };
    TokenProvider::new(config).expect("a valid configuration")
}

/// `huskarl` makes headers and checks responses. Its guide has the loop around that.
#[derive(Clone)]
pub struct Huskarl<S> {
    inner: S,
    authorizer: Arc<HttpAuthorizer>,
}

pub async fn huskarl<S: Api>(issuer: &Issuer, inner: S) -> Huskarl<S> {
    let secret = ProvidedSecret::new(SecretString::new("s3cr3t"));
    let grant = ClientCredentialsGrant::builder()
        .client_id("client-id")
        .client_auth(ClientSecret::new(secret))
        .token_endpoint("https://auth.example.com/token".parse().expect("a URL"))
        .http_client(Endpoint(issuer.clone()))
        .build();
    let source = GrantTokenSource::builder()
        .grant(grant)
        .grant_parameters(ClientCredentialsGrantParameters::builder().build())
        .refresh_store(InMemoryRefreshTokenStore::default())
        .build();
    let cache = InMemoryTokenCache::builder()
        .source(source)
        .expires_margin(MARGIN)
        .refresh_jitter(None)
        .build();
    Huskarl { inner, authorizer: Arc::new(HttpAuthorizer::builder().cache(cache).build()) }
}

impl<S: Api> Service<Request<Body>> for Huskarl<S> {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Boxed<Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let again = self.inner.clone();
        let mut ready = std::mem::replace(&mut self.inner, again.clone());
        let authorizer = self.authorizer.clone();
        Box::pin(async move {
            let mut kept = request.clone();
            let (method, uri) = (kept.method().clone(), kept.uri().clone());
            let headers = authorizer.get_headers(&method, &uri).await?;
            request.headers_mut().extend(headers);
            let response = ready.call(request).await?;
            authorizer.process_response(&uri, response.headers());
            if response.status() != StatusCode::UNAUTHORIZED {
                return Ok(response);
            }
            let headers = authorizer.get_headers(&method, &uri).await?;
            kept.headers_mut().extend(headers);
            let response = again.oneshot(kept).await?;
            authorizer.process_response(&uri, response.headers());
            Ok(response)
        })
    }
}

/// The HTTP client with which `huskarl` calls the token endpoint.
struct Endpoint(Issuer);

impl HttpClient for Endpoint {
    fn execute(
        &self,
        _: Request<Bytes>,
        _: Idempotency,
    ) -> MaybeSendBoxFuture<'_, Result<HttpResponse, huskarl::core::Error>> {
        Box::pin(async {
            let (secret, lifetime) = self.0.issue().await;
            let token = serde_json::json!({
                "access_token": secret,
                "token_type": "Bearer",
                "expires_in": lifetime.as_secs(),
            });
            let mut headers = HeaderMap::new();
            headers.insert("content-type", "application/json".parse().expect("a value"));
            let body = Bytes::from(token.to_string());
            Ok(HttpResponse { status: StatusCode::OK, headers, body })
        })
    }
}

/// Wraps `inner` in the layer of `kube-client`, with its token from a file. `kube-client` makes the
/// layer from its configuration, and has no client credentials. Its token from a file is compared.
pub fn kube<S: Api>(inner: S) -> impl Service<Request<Body>, Error = BoxError> + Clone {
    let file = std::env::temp_dir().join(format!("tower-oauth2-peers.{}", std::process::id()));
    std::fs::write(&file, secret(0)).expect("a file");
    let mut config = Config::new("https://api.example.com".parse().expect("a URI"));
    config.auth_info =
        AuthInfo { token_file: Some(file.display().to_string()), ..AuthInfo::default() };
    let layer = config.auth_layer().expect("a token in a file").expect("a layer");
    std::fs::remove_file(&file).expect("a file that was written");
    layer.layer(inner)
}
