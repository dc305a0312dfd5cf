//! A gRPC server that accepts some tokens.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body_util::BodyExt;
use tonic::Status;
use tonic::body::Body;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthService, health_reporter};
use tower::{BoxError, Service, ServiceExt};

/// A health server, and an adder of the bytes of a call's messages. Clones share their state.
#[derive(Clone)]
pub struct Server {
    health: HealthServer<HealthService>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The `authorization` of each call.
    calls: Vec<Option<String>>,
    refused: Vec<&'static str>,
    refusal: Option<Refusal>,
    /// The bodies of accepted calls other than those of the health service.
    bodies: Vec<Vec<u8>>,
}

/// The way in which a call without an accepted token is refused.
#[derive(Clone, Copy)]
pub enum Refusal {
    /// In the headers, before anything is read.
    InHeaders,
    /// In the headers, after the first chunk of the messages.
    AfterFirstChunk,
    /// In the trailers of a response that has begun.
    InTrailers,
    /// With an HTTP 401, as a proxy does.
    WithHttpStatus,
    /// With an error of the channel.
    WithError,
}

impl Server {
    /// Creates a server that refuses these tokens.
    pub fn refusing(refused: &[&'static str], refusal: Refusal) -> Self {
        let (reporter, _) = health_reporter();
        let health = HealthServer::new(HealthService::from_health_reporter(reporter));
        let state = State { refused: refused.to_vec(), refusal: Some(refusal), ..State::default() };
        Self { health, state: Arc::new(Mutex::new(state)) }
    }

    pub fn new() -> Self {
        Self::refusing(&[], Refusal::InHeaders)
    }

    /// Returns the `authorization` of each call.
    pub fn calls(&self) -> Vec<Option<String>> {
        self.state.lock().unwrap().calls.clone()
    }

    /// Returns the token of each call.
    pub fn tokens(&self) -> Vec<String> {
        let calls = self.calls().into_iter().flatten();
        calls.map(|value| value.strip_prefix("Bearer ").unwrap().to_owned()).collect()
    }

    /// Returns the bodies of accepted calls other than those of the health service.
    pub fn bodies(&self) -> Vec<Vec<u8>> {
        self.state.lock().unwrap().bodies.clone()
    }

    async fn answer(self, mut request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let authorization =
            request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
        let refusal = {
            let mut state = self.state.lock().unwrap();
            state.calls.push(authorization.clone());
            let token = authorization.as_deref().and_then(|value| value.strip_prefix("Bearer "));
            let is_refused = token.is_none_or(|token| state.refused.contains(&token));
            state.refusal.filter(|_| is_refused && !state.refused.is_empty())
        };
        match refusal {
            Some(Refusal::InHeaders) => Ok(Status::unauthenticated("refused").into_http()),
            Some(Refusal::AfterFirstChunk) => {
                let _ = request.body_mut().frame().await;
                Ok(Status::unauthenticated("refused").into_http())
            }
            Some(Refusal::InTrailers) => {
                let mut trailers = http::HeaderMap::new();
                Status::unauthenticated("refused").add_header(&mut trailers)?;
                let body = http_body_util::Empty::new().with_trailers(async { Some(Ok(trailers)) });
                let response = Response::builder().header("content-type", "application/grpc");
                Ok(response.body(Body::new(body))?)
            }
            Some(Refusal::WithHttpStatus) => {
                Ok(Response::builder().status(401).body(Body::empty())?)
            }
            Some(Refusal::WithError) => Err("the connection broke".into()),
            None if request.uri().path().starts_with("/grpc.health") => {
                Ok(self.health.oneshot(request).await?)
            }
            None => {
                let body = request.into_body().collect().await?.to_bytes();
                self.state.lock().unwrap().bodies.push(body.to_vec());
                Ok(Status::ok("").into_http())
            }
        }
    }
}

impl Service<Request<Body>> for Server {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.clone().answer(request))
    }
}
