//! The HTTP client of the tests, with and without the layer.

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};
use tower_oauth2::replay::Replayed;
use tower_oauth2::{ClientAuth, Credentials, OAuth2, OAuth2Layer, Origins, TokenEndpoint, Tokens};

use crate::server::{Registered, Server};

pub type Client = legacy::Client<HttpConnector, Full<Bytes>>;

pub fn http() -> Client {
    legacy::Client::builder(TokioExecutor::new()).build_http()
}

pub struct Answer {
    pub status: StatusCode,
    pub replayed: Option<Replayed>,
    /// `null` if the body is not JSON.
    pub body: Value,
}

impl Registered {
    pub fn basic(&self) -> ClientAuth {
        ClientAuth::client_secret_basic(&self.id, &self.secret)
    }

    pub fn post(&self) -> ClientAuth {
        ClientAuth::client_secret_post(&self.id, &self.secret)
    }
}

impl Server {
    pub fn credentials(&self, auth: ClientAuth) -> Credentials {
        Credentials::new(self.told("/token_endpoint"), auth).unwrap()
    }

    /// Returns a client of the API with its own cache.
    pub fn api(&self, credentials: Credentials) -> OAuth2<Client> {
        let tokens = Tokens::new(credentials, TokenEndpoint::new(http()));
        self.api_with(tokens, |layer| layer)
    }

    pub fn api_with(
        &self,
        tokens: Tokens,
        configure: impl FnOnce(OAuth2Layer) -> OAuth2Layer,
    ) -> OAuth2<Client> {
        let origins = Origins::only([self.told("/api")]).unwrap();
        ServiceBuilder::new().layer(configure(OAuth2Layer::new(tokens, origins))).service(http())
    }

    pub fn get(&self, path: &str) -> http::request::Builder {
        Request::get(format!("{}{path}", self.told("/api")))
    }
}

/// Sends a request without a body, and returns the answer.
pub async fn send<S>(service: S, request: http::request::Builder) -> Answer
where
    S: Service<Request<Full<Bytes>>, Response = Response<Incoming>>,
    S::Error: Into<BoxError>,
{
    try_send(service, request.body(Full::default()).unwrap()).await.unwrap()
}

pub async fn try_send<S>(service: S, request: Request<Full<Bytes>>) -> Result<Answer, BoxError>
where
    S: Service<Request<Full<Bytes>>, Response = Response<Incoming>>,
    S::Error: Into<BoxError>,
{
    let (head, body) = service.oneshot(request).await.map_err(Into::into)?.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(Answer {
        status: head.status,
        replayed: head.extensions.get().copied(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    })
}

/// Sends a form to an endpoint of the server as `client`, without this crate.
pub async fn post_form(uri: &str, client: &Registered, form: &[(&str, &str)]) -> Answer {
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;

    assert!(!client.id.contains(|c: char| !c.is_ascii_alphanumeric() && !"-_".contains(c)));
    let basic = BASE64_STANDARD.encode(format!("{}:{}", client.id, client.secret));
    let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let request = Request::post(uri)
        .header(header::AUTHORIZATION, format!("Basic {basic}"))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(form.into())
        .unwrap();
    try_send(http(), request).await.unwrap()
}
