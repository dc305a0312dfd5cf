//! A tonic server with two services, whose interceptor asks for a valid token.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::net::TcpListener;
use tokio::sync::Notify;
use tonic::body::Body;
use tonic::server::{ClientStreamingService, Grpc, NamedService};
use tonic::service::InterceptorLayer;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};
use tonic_health::server::{HealthReporter, health_reporter};
use tonic_prost::ProstCodec;
use tower::{BoxError, Service};

use crate::support::issuer::Issuer;

pub(crate) struct Running {
    pub(crate) origin: String,
    /// Sets what the health service answers.
    pub(crate) health: HealthReporter,
    /// Told of each call that the adder begins to serve.
    pub(crate) sum_begun: Arc<Notify>,
}

pub(crate) async fn start(issuer: &Issuer) -> io::Result<Running> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let origin = format!("http://{}", listener.local_addr()?);
    let (health, health_server) = health_reporter();
    let adder = Adder::default();
    let sum_begun = adder.begun.clone();
    let issuer = issuer.clone();
    let check_token = move |request: Request<()>| {
        if issuer.accepts(request.metadata().as_ref()) {
            Ok(request)
        } else {
            Err(Status::unauthenticated("no valid token"))
        }
    };
    tokio::spawn(
        Server::builder()
            .layer(InterceptorLayer::new(check_token))
            .add_service(health_server)
            .add_service(adder)
            .serve_with_incoming(TcpIncoming::from(listener)),
    );
    Ok(Running { origin, health, sum_begun })
}

/// A hand-written service instead of one that protoc would generate. It serves `rpc Sum(stream
/// google.protobuf.UInt64Value) returns (google.protobuf.UInt64Value)`.
#[derive(Clone, Default)]
struct Adder {
    begun: Arc<Notify>,
}

pub(crate) const SUM: &str = "/example.Adder/Sum";

type BoxFuture<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

impl ClientStreamingService<u64> for Adder {
    type Response = u64;
    type Future = BoxFuture<Response<u64>, Status>;

    fn call(&mut self, request: Request<Streaming<u64>>) -> Self::Future {
        self.begun.notify_one();
        Box::pin(async move {
            let mut numbers = request.into_inner();
            let mut sum = 0;
            while let Some(number) = numbers.message().await? {
                sum += number;
            }
            Ok(Response::new(sum))
        })
    }
}

impl NamedService for Adder {
    const NAME: &'static str = "example.Adder";
}

impl<B> Service<http::Request<B>> for Adder
where
    B: http_body::Body<Error: Into<BoxError> + Send> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let adder = self.clone();
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::<u64, u64>::new());
            Ok(grpc.client_streaming(adder, request).await)
        })
    }
}
