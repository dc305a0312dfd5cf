//! Calls, and what becomes of them when the token was revoked.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt, stream};
use http::uri::PathAndQuery;
use tonic::client::Grpc;
use tonic::{Code, Status, Streaming};
use tonic_health::ServingStatus;
use tonic_health::pb::health_check_response::ServingStatus::{NotServing, Serving};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_prost::ProstCodec;
use tower::BoxError;
use tower_oauth2::grpc::AuthorizedChannel;
use tower_oauth2::replay::Replayed;
use tower_oauth2::{TokenError, TokenErrorKind};

use crate::server::{self, Running, SUM};
use crate::support::issuer::{CLIENT_SECRET, Issuer};
use crate::support::report::{Report, Wire};
use crate::{channel, tokens};

pub(crate) async fn run() -> Result<Report, BoxError> {
    let issuer = Issuer::new();
    let token_endpoint = issuer.serve().await?;
    let server = server::start(&issuer).await?;
    println!("token endpoint {token_endpoint}, gRPC server {}", server.origin);
    let channel = channel(tokens(&token_endpoint, CLIENT_SECRET)?, &server.origin)?;
    let report = Report::new(&issuer);

    let mut demo = Demo { issuer, token_endpoint, server, report };
    demo.unary(channel.clone()).await?;
    demo.server_streaming(channel.clone()).await?;
    demo.revocation(channel.clone()).await?;
    demo.revocation_before_a_stream(channel.clone()).await?;
    demo.revocation_while_the_caller_streams(channel).await?;
    demo.no_token().await?;
    demo.no_token_endpoint().await?;
    Ok(demo.report)
}

struct Demo {
    issuer: Issuer,
    token_endpoint: String,
    server: Running,
    report: Report,
}

impl Demo {
    async fn unary(&mut self, channel: AuthorizedChannel) -> Result<(), BoxError> {
        self.report.begin("Three unary calls");
        let mut health = self.health(channel)?;
        for _ in 0..3 {
            let response = health.check(HealthCheckRequest::default()).await?;
            let is_serving = response.get_ref().status() == Serving;
            self.report.expect("the server says that it is serving", is_serving);
        }
        self.end(3, 0, 1, "C2: one token request, however many calls");
        Ok(())
    }

    async fn server_streaming(&mut self, channel: AuthorizedChannel) -> Result<(), BoxError> {
        self.report.begin("A call that is answered with a stream");
        let mut health = self.health(channel)?;
        let mut changes = health.watch(HealthCheckRequest::default()).await?.into_inner();
        self.both_states_arrive(&mut changes).await?;
        self.end(1, 0, 0, "C1: a token that is there is used");
        Ok(())
    }

    async fn revocation(&mut self, channel: AuthorizedChannel) -> Result<(), BoxError> {
        self.report.begin("A unary call with a token that was revoked");
        self.issuer.revoke_all();
        let response = self.health(channel)?.check(HealthCheckRequest::default()).await?;
        self.report.expect("the caller is answered", response.get_ref().status() == Serving);
        self.expect_replay(&response);
        self.end(2, 1, 1, "R1, R7: UNAUTHENTICATED is healed by one replay");
        Ok(())
    }

    async fn revocation_before_a_stream(
        &mut self,
        channel: AuthorizedChannel,
    ) -> Result<(), BoxError> {
        self.report.begin("A call that is answered with a stream, and the token was revoked");
        self.issuer.revoke_all();
        let response = self.health(channel)?.watch(HealthCheckRequest::default()).await?;
        self.expect_replay(&response);
        self.both_states_arrive(&mut response.into_inner()).await?;
        self.end(2, 1, 1, "R1, R7: the stream that arrives is the replay's");
        Ok(())
    }

    async fn revocation_while_the_caller_streams(
        &mut self,
        channel: AuthorizedChannel,
    ) -> Result<(), BoxError> {
        self.report.begin("The caller streams numbers, and the token was revoked");
        // The breaker is open for a moment after the last revocation. It affects this client too,
        // because its URIs name no origin that has accepted a token before.
        tokio::time::sleep(Duration::from_millis(500)).await;
        self.issuer.revoke_all();
        let sum_begun = self.server.sum_begun.clone();
        // The rest is sent once the server has accepted the call, so the first call is refused in
        // the middle of its stream.
        let rest = async move {
            sum_begun.notified().await;
            stream::iter(501..=1000)
        };
        let numbers = stream::iter(1..=500).chain(rest.flatten_stream());

        // This client names no origin, like generated clients that are made with `new`. Its calls
        // go to the origin of the channel.
        let mut adder = Grpc::new(channel);
        adder.ready().await?;
        let response = adder
            .client_streaming(
                tonic::Request::new(numbers),
                PathAndQuery::from_static(SUM),
                ProstCodec::<u64, u64>::new(),
            )
            .await?;
        self.expect_replay(&response);
        let is_whole = *response.get_ref() == (1..=1000).sum::<u64>();
        self.report.expect("each number arrived once", is_whole);
        self.end(2, 1, 1, "R3, R4, X2: the replay has what went out, and then the rest");
        Ok(())
    }

    async fn no_token_endpoint(&mut self) -> Result<(), BoxError> {
        self.report.begin("A call while the token endpoint is down");
        let tokens = tokens("http://127.0.0.1:9/token", CLIENT_SECRET)?;
        let channel = channel(tokens, &self.server.origin)?;
        let mut request = tonic::Request::new(HealthCheckRequest::default());
        request.set_timeout(Duration::from_secs(30));
        let Err(status) = self.health(channel)?.check(request).await else {
            return Err("a call without a token was answered".into());
        };
        self.report.expect("the status is UNAVAILABLE", status.code() == Code::Unavailable);
        let kind = TokenError::find_in(&status).map(TokenError::kind);
        self.report.expect("its source says why", kind == Some(TokenErrorKind::Transport));
        self.end(0, 0, 0, "R2: no token, no call");
        Ok(())
    }

    async fn no_token(&mut self) -> Result<(), BoxError> {
        self.report.begin("A call of a client with a wrong secret");
        let tokens = tokens(&self.token_endpoint, "a wrong one")?;
        let channel = channel(tokens, &self.server.origin)?;
        let Err(status) = self.health(channel)?.check(HealthCheckRequest::default()).await else {
            return Err("a call without a token was answered".into());
        };
        let is_unauthenticated = status.code() == Code::Unauthenticated;
        self.report.expect("the status is UNAUTHENTICATED", is_unauthenticated);
        let error = TokenError::find_in(&status).and_then(TokenError::error_code);
        self.report.expect("its source says invalid_client", error == Some("invalid_client"));
        self.end(0, 0, 1, "R2: no token, no call");
        Ok(())
    }

    /// Creates a client as generated code does. Since it names the origin, the token goes nowhere
    /// else.
    fn health(
        &self,
        channel: AuthorizedChannel,
    ) -> Result<HealthClient<AuthorizedChannel>, BoxError> {
        Ok(HealthClient::with_origin(channel, self.server.origin.parse()?))
    }

    async fn both_states_arrive(
        &mut self,
        changes: &mut Streaming<HealthCheckResponse>,
    ) -> Result<(), Status> {
        let before = changes.message().await?.map(|response| response.status());
        self.server.health.set_service_status("", ServingStatus::NotServing).await;
        let after = changes.message().await?.map(|response| response.status());
        self.server.health.set_service_status("", ServingStatus::Serving).await;
        let is_whole = (before, after) == (Some(Serving), Some(NotServing));
        self.report.expect("both messages of the stream arrive", is_whole);
        Ok(())
    }

    fn expect_replay<T>(&mut self, response: &tonic::Response<T>) {
        let replayed = response.extensions().get::<Replayed>();
        self.report
            .expect("the response says that it was replayed", replayed == Some(&Replayed::Yes));
    }

    fn end(&mut self, api: usize, rejected: usize, token_endpoint: usize, rule: &str) {
        self.report.end(Wire { api, rejected, token_endpoint }, rule);
    }
}
