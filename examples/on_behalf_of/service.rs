//! The service between the callers and the APIs.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::Full;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tower::{BoxError, ServiceBuilder, ServiceExt};
use tower_oauth2::grant::{TokenExchange, TokenType};
use tower_oauth2::{
    ClientAuth, Credentials, OAuth2, OAuth2Layer, Origins, RequestExt, TokenCache, TokenEndpoint,
    TokenError, TokenErrorKind,
};

type Client = OAuth2<legacy::Client<HttpConnector, Full<Bytes>>>;

/// The state that all requests share.
#[derive(Clone)]
struct Service {
    client: Client,
    cache: TokenCache,
    apis: Arc<[TargetApi]>,
}

/// An API that this service calls.
struct TargetApi {
    name: String,
    origin: String,
    /// Restricts this API's tokens to its origin. They are not sent to the other API.
    origins: Origins,
    /// The service's credentials, with this API as the audience.
    credentials: Credentials,
}

/// Serves `GET /{name}` for each API, and returns the service's origin. `apis` has names and
/// origins.
pub(crate) async fn serve(
    token_endpoint: &str,
    apis: &[(&str, String)],
) -> Result<String, BoxError> {
    let auth = ClientAuth::client_secret_post("this-service", "s3cr3t");
    let own = Credentials::new(token_endpoint, auth)?;
    let targets = apis.iter().map(|(name, origin)| {
        let (name, credentials) = ((*name).to_owned(), own.clone().audience(*name));
        let origins = Origins::only(origin)?;
        Ok(TargetApi { name, origin: origin.clone(), origins, credentials })
    });
    let targets = targets.collect::<Result<_, BoxError>>()?;

    let http = legacy::Client::builder(TokioExecutor::new()).build_http();
    let cache = TokenCache::builder(TokenEndpoint::new(http.clone())).capacity(1000).build();
    let origins = Origins::only(apis.iter().map(|(_, origin)| origin).collect::<Vec<_>>())?;
    let client = ServiceBuilder::new().layer(OAuth2Layer::per_request(origins)).service(http);

    let service = Service { client, cache, apis: targets };
    let router = Router::new().route("/{api}", get(on_behalf_of_caller)).with_state(service);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let origin = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(origin)
}

async fn on_behalf_of_caller(
    State(service): State<Service>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    let Some(api) = service.apis.iter().find(|api| api.name == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    // A real service verifies here that the token has not expired and has this service as audience.
    let Some(token) = bearer(&headers).filter(|token| !token.is_empty()) else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    let exchange = TokenExchange::new(token, TokenType::ACCESS_TOKEN);
    let tokens = service.cache.tokens(&api.credentials.clone().grant(exchange));
    let mut request = Request::new(Full::default());
    let uri = format!("{}/things", api.origin);
    *request.uri_mut() = uri.parse().expect("Origins::only has parsed the origin");
    let request = request.tokens(&tokens.only_for(api.origins.clone()));
    match service.client.oneshot(request).await {
        // The API rejected the exchanged token, so the caller's own token is not at fault.
        Ok(response) if response.status() == StatusCode::UNAUTHORIZED => {
            StatusCode::BAD_GATEWAY.into_response()
        }
        Ok(response) => response.map(Body::new),
        Err(error) => match TokenError::find_in(&*error) {
            // These errors are about the caller's token. Others, such as `invalid_client`, are
            // about this service.
            Some(error)
                if error.kind() == TokenErrorKind::ErrorResponse
                    && matches!(error.error_code(), Some("invalid_request" | "invalid_grant")) =>
            {
                StatusCode::UNAUTHORIZED.into_response()
            }
            _ => StatusCode::BAD_GATEWAY.into_response(),
        },
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}
