//! The service in the middle.

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
    apis: Arc<[Further]>,
}

/// An API that this service calls, and its credentials for it.
struct Further {
    name: String,
    origin: String,
    /// A token for one API is never sent to the other.
    origins: Origins,
    credentials: Credentials,
}

/// Serves `GET /{api}` for each of these, by name and origin; returns the service's own origin.
pub(crate) async fn serve(
    token_endpoint: &str,
    apis: &[(&str, String)],
) -> Result<String, BoxError> {
    let auth = ClientAuth::client_secret_post("this-service", "s3cr3t");
    let own = Credentials::new(token_endpoint, auth)?;
    let further = apis.iter().map(|(name, origin)| {
        let (name, credentials) = ((*name).to_owned(), own.clone().audience(*name));
        let origins = Origins::only(origin)?;
        Ok(Further { name, origin: origin.clone(), origins, credentials })
    });
    let further = further.collect::<Result<_, BoxError>>()?;

    let http = legacy::Client::builder(TokioExecutor::new()).build_http();
    let cache = TokenCache::builder(TokenEndpoint::new(http.clone())).capacity(1000).build();
    let origins = Origins::only(apis.iter().map(|(_, origin)| origin).collect::<Vec<_>>())?;
    let client = ServiceBuilder::new().layer(OAuth2Layer::per_request(origins)).service(http);

    let service = Service { client, cache, apis: further };
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
    let Some(further) = service.apis.iter().find(|further| further.name == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    // Here a real service checks the token: that it is meant for this service, and has not ended.
    let Some(token) = bearer(&headers).filter(|token| !token.is_empty()) else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    let exchange = TokenExchange::new(token, TokenType::ACCESS_TOKEN);
    let tokens = service.cache.tokens(&further.credentials.clone().grant(exchange));
    let mut request = Request::new(Full::default());
    let uri = format!("{}/things", further.origin);
    *request.uri_mut() = uri.parse().expect("the origin was parsed for the layer");
    let request = request.tokens(&tokens.only_for(further.origins.clone()));
    match service.client.oneshot(request).await {
        Ok(response) => response.map(Body::new),
        Err(error) => match TokenError::find_in(&*error) {
            // The caller's token is to blame; an `invalid_client` would be ours.
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
