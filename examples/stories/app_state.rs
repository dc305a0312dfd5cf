//! A client in an application's state, with a timeout, retries and a concurrency limit.

use std::future::{Ready, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::limit::ConcurrencyLimit;
use tower::retry::{Policy, Retry};
use tower::timeout::Timeout;
use tower::{ServiceBuilder, ServiceExt};
use tower_http::classify::{ServerErrorsAsFailures, SharedClassifier};
use tower_http::trace::{Trace, TraceLayer};
use tower_oauth2::{BoxError, Credentials, OAuth2, OAuth2Layer, Origins, TokenEndpoint, Tokens};

use crate::server::{Http, TestServer, expect};

type Body = Full<Bytes>;
type Traced = Trace<Http, SharedClassifier<ServerErrorsAsFailures>>;
type Api = Timeout<Retry<Attempts, ConcurrencyLimit<OAuth2<Traced>>>>;

/// The state that all handlers share.
#[derive(Clone)]
struct App {
    things: Api,
}

/// Retries server errors and failed connections.
#[derive(Clone)]
struct Attempts(u32);

impl<R> Policy<Request<Body>, Response<R>, BoxError> for Attempts {
    type Future = Ready<()>;

    fn retry(
        &mut self,
        _: &mut Request<Body>,
        result: &mut Result<Response<R>, BoxError>,
    ) -> Option<Self::Future> {
        let failed = result.as_ref().map_or(true, |response| response.status().is_server_error());
        self.0 = self.0.checked_sub(1).filter(|_| failed)?;
        Some(ready(()))
    }

    fn clone_request(&mut self, request: &Request<Body>) -> Option<Request<Body>> {
        Some(request.clone())
    }
}

fn app(http: Http, credentials: Credentials, api: &str) -> Result<App, BoxError> {
    let tokens = Tokens::new(credentials, TokenEndpoint::new(http.clone()));
    let things = ServiceBuilder::new()
        .timeout(Duration::from_secs(30))
        .retry(Attempts(2))
        .concurrency_limit(64)
        .layer(OAuth2Layer::new(tokens, Origins::only(api)?))
        .layer(TraceLayer::new_for_http())
        .service(http);
    Ok(App { things })
}

async fn handler(app: App, uri: &str) -> Result<http::StatusCode, BoxError> {
    let request = Request::get(uri).body(Body::default())?;
    Ok(app.things.oneshot(request).await?.status())
}

pub(crate) async fn run(server: &TestServer) -> Result<(), BoxError> {
    let app = app(server.http(), server.credentials("app")?, server.origin())?;
    for _ in 0..2 {
        expect(handler(app.clone(), &server.things()).await?.as_u16(), 200)?;
    }
    expect(server.token_requests().len(), 1)?;
    // The layer gets another token when the API rejects the first one.
    server.revoke_all();
    expect(handler(app, &server.things()).await?.as_u16(), 200)?;
    expect(server.token_requests().len(), 2)
}
