use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio::time::Instant;
use tower::Service;

use super::dialect::Dialect;
use super::discovery::Discovery;
use super::limits::EndpointLimits;
use super::token_request::{Target, request_token};
use crate::credentials::request::TokenRequest;
use crate::error::{TokenError, TokenErrorKind};
use crate::metrics::{FetchTimer, Measured};
use crate::protocol::http_client::BoxedClient;
use crate::token::AccessToken;
use crate::util::limits::MAX_LIFETIME;

/// Sends one token request, without retries and without the rotation of refresh tokens.
#[derive(Clone)]
pub(super) struct SingleRequest {
    pub(super) http: BoxedClient,
    pub(super) limits: EndpointLimits,
    pub(super) dialect: Arc<Dialect>,
}

impl Service<TokenRequest> for SingleRequest {
    type Response = AccessToken;
    type Error = TokenError;
    type Future = Pin<Box<dyn Future<Output = Result<AccessToken, TokenError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // The client is made ready in `call`, after client authentication, which may take a while.
        // A client that is ready earlier would hold a permit or a connection without using it.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: TokenRequest) -> Self::Future {
        let Self { http, limits, dialect } = self.clone();
        Box::pin(async move {
            let credentials = request.credentials();
            let timer = FetchTimer::start(Measured::TokenRequest, &request);
            let fetched = async {
                if Handle::try_current().is_err() {
                    return Err(TokenError::new(TokenErrorKind::NoRuntime, ""));
                }
                let deadline = Instant::now() + limits.timeout.min(MAX_LIFETIME);
                let discovery = Discovery { request: &request, limits: &limits, deadline };
                let endpoint = discovery.endpoint(http.clone()).await?;
                let target = Target { request: &request, endpoint: &endpoint, dialect: &dialect };
                let error = match request_token(http.clone(), target, deadline).await {
                    Ok(token) => return Ok(token),
                    Err(error) => error,
                };
                match discovery.changed_endpoint(http.clone(), &endpoint, &error).await? {
                    Some(endpoint) => {
                        let target = Target { endpoint: &endpoint, ..target };
                        request_token(http, target, deadline).await
                    }
                    None => Err(error),
                }
            };
            let result = fetched.await;
            timer.finish(&result);
            result.map_err(|error| error.at_least_at(credentials.server()))
        })
    }
}
