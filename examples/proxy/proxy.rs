//! The proxy: an axum router that forwards requests with a client that has two layers.

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{
    ALLOW, CONNECTION, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, RETRY_AFTER, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, ServiceBuilder, ServiceExt};
use tower_oauth2::replay::{NotReplayed, ReplayableLayer, Replayed};
use tower_oauth2::{
    ClientAuth, Credentials, OAuth2Layer, Origins, TokenEndpoint, TokenError, TokenErrorKind,
    Tokens,
};

use crate::support::issuer::{CLIENT_ID, CLIENT_SECRET};

type HttpClient = BoxCloneSyncService<Request, Response, BoxError>;

/// Creates a proxy that forwards requests to `upstream`. The service's token replaces the caller's
/// `Authorization` header.
pub(crate) fn with_token(upstream: &str, token_endpoint: &str) -> Result<Router, BoxError> {
    let client = ServiceBuilder::new()
        .map_response(|response: Response<Incoming>| response.map(Body::new))
        // Uploads are streams. Up to 64 KiB of each are buffered for a replay.
        .layer(ReplayableLayer::new())
        .layer(OAuth2Layer::new(tokens(token_endpoint)?, Origins::only([upstream])?))
        .service(Client::builder(TokioExecutor::new()).build_http());
    router(BoxCloneSyncService::new(client), upstream)
}

pub(crate) fn tokens(token_endpoint: &str) -> Result<Tokens, BoxError> {
    let http = Client::builder(TokioExecutor::new()).build_http();
    let credentials = Credentials::new(
        token_endpoint,
        ClientAuth::client_secret_basic(CLIENT_ID, CLIENT_SECRET),
    )?;
    Ok(Tokens::new(credentials, TokenEndpoint::new(http)))
}

/// Creates a proxy without the layers, for comparison.
pub(crate) fn pass_through(upstream: &str) -> Result<Router, BoxError> {
    let client: Client<HttpConnector, Body> = Client::builder(TokioExecutor::new()).build_http();
    let client = ServiceBuilder::new()
        .map_response(|response: Response<Incoming>| response.map(Body::new))
        .map_err(BoxError::from)
        .service(client);
    router(BoxCloneSyncService::new(client), upstream)
}

fn router(client: HttpClient, upstream: &str) -> Result<Router, BoxError> {
    let upstream = upstream.parse::<Uri>()?.into_parts();
    let (Some(scheme), Some(authority)) = (upstream.scheme, upstream.authority) else {
        return Err("upstream URL must have a scheme and a host".into());
    };
    let proxy = Proxy { client, scheme, authority };
    Ok(Router::new().fallback(forward).with_state(proxy))
}

#[derive(Clone)]
struct Proxy {
    client: HttpClient,
    scheme: Scheme,
    authority: Authority,
}

async fn forward(State(proxy): State<Proxy>, request: Request) -> Response {
    // A TRACE response contains the request as the upstream received it, token included (RFC 9110
    // section 9.3.8).
    if request.method() == Method::TRACE {
        let allowed = [(ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE"))];
        return (StatusCode::METHOD_NOT_ALLOWED, allowed).into_response();
    }
    let response = match proxy.to_upstream(request) {
        Ok(request) => proxy.client.oneshot(request).await,
        Err(error) => Err(error.into()),
    };
    match response {
        Ok(response) if response.status() == StatusCode::UNAUTHORIZED => unauthorized(&response),
        Ok(mut response) => {
            remove_hop_by_hop(response.headers_mut());
            response
        }
        Err(error) => error_response(&error),
    }
}

impl Proxy {
    /// Converts the caller's request to a request to the upstream. HTTP version and extensions
    /// belong to the caller's connection, and are not copied.
    fn to_upstream(&self, request: Request) -> http::Result<Request> {
        let (head, body) = request.into_parts();
        let path = head.uri.into_parts().path_and_query;
        let uri = Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(path.unwrap_or(PathAndQuery::from_static("/")));
        let mut request = Request::builder().method(head.method).uri(uri.build()?).body(body)?;
        *request.headers_mut() = head.headers;
        remove_hop_by_hop(request.headers_mut());
        // The client sets the upstream's host.
        request.headers_mut().remove(HOST);
        Ok(request)
    }
}

/// Removes the headers that apply to one connection only (RFC 9110 section 7.6.1).
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let known = [
        CONNECTION,
        HeaderName::from_static("keep-alive"),
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        HeaderName::from_static("proxy-connection"),
        TE,
        TRANSFER_ENCODING,
        UPGRADE,
    ];
    for name in known.into_iter().chain(named) {
        headers.remove(name);
    }
}

/// Returns the response for the caller after the upstream rejected the service's token. It is not a
/// 401, because the caller cannot fix the service's token.
fn unauthorized(response: &Response) -> Response {
    match response.extensions().get() {
        // The next request gets a new token.
        Some(Replayed::No(NotReplayed::Body)) => retry_after(0),
        _ => StatusCode::BAD_GATEWAY.into_response(),
    }
}

fn error_response(error: &BoxError) -> Response {
    eprintln!("proxy: {error}");
    match TokenError::find_in(&**error) {
        Some(error) if error.kind() == TokenErrorKind::Timeout => {
            StatusCode::GATEWAY_TIMEOUT.into_response()
        }
        Some(error) if error.is_transient() => {
            retry_after(error.retry_in().map_or(0, |wait| wait.as_secs() + 1))
        }
        // The settings of the proxy are wrong. Its callers cannot fix them.
        Some(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        None => StatusCode::BAD_GATEWAY.into_response(),
    }
}

fn retry_after(seconds: u64) -> Response {
    let headers = [(RETRY_AFTER, HeaderValue::from(seconds))];
    (StatusCode::SERVICE_UNAVAILABLE, headers).into_response()
}
