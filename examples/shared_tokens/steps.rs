//! Two processes that share tokens, and a third process that starts later.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use tower::{BoxError, service_fn};

use crate::server::Server;
use crate::support::issuer::Issuer;
use crate::support::report::{Report, Wire};
use crate::support::server;
use crate::worker::Worker;

pub(crate) async fn run(url: Option<&str>) -> Result<Report, BoxError> {
    let started = match url {
        Some(_) => None,
        None => Some(Server::start().await?),
    };
    let redis = url.or(started.as_ref().map(|server| &*server.url)).unwrap_or_default();
    let issuer = Issuer::new();
    let token_endpoint = issuer.serve().await?;
    let api = server::serve(api(&issuer)).await?;
    // Unique to this run, so that it finds no tokens of an earlier one.
    let prefix = format!("tower-oauth2-example-{}:", std::process::id());
    let start = || Worker::start([redis, &prefix, &token_endpoint, &api]);
    let mut workers = vec![start()?, start()?];
    let mut report = Report::new(&issuer);

    report.begin("Two processes without a token send a request at once");
    report.expect("both get 200", all_get_200(&mut workers)?);
    report.end(
        Wire { api: 2, rejected: 0, token_endpoint: 1 },
        "one process requests a token, and the other one reads it from the store",
    );

    issuer.revoke_all();
    report.begin("The token is revoked");
    report.expect("both get 200", all_get_200(&mut workers)?);
    report.end(
        Wire { api: 4, rejected: 2, token_endpoint: 1 },
        "each process gets a 401 and replays its request, and both use one new token",
    );

    workers = vec![start()?];
    report.begin("Another process starts");
    report.expect("the new worker gets 200", all_get_200(&mut workers)?);
    report.end(Wire { api: 1, rejected: 0, token_endpoint: 0 }, "the token comes from the store");
    Ok(report)
}

/// Sends a request from each worker at the same time. Returns whether all responses are 200.
fn all_get_200(workers: &mut [Worker]) -> Result<bool, BoxError> {
    workers.iter_mut().try_for_each(Worker::begin)?;
    let statuses: Result<Vec<_>, BoxError> = workers.iter_mut().map(Worker::end).collect();
    Ok(statuses?.iter().all(|status| status == "200"))
}

/// Creates an API that responds with 200 if a token is valid, otherwise with 401.
fn api(
    issuer: &Issuer,
) -> impl tower::Service<
    Request<Incoming>,
    Response = Response<Full<Bytes>>,
    Error = Infallible,
    Future: Send,
> + Clone
+ Send
+ 'static {
    let issuer = issuer.clone();
    service_fn(move |request: Request<Incoming>| {
        let is_accepted = issuer.accepts(request.headers());
        let mut response = Response::new(Full::default());
        if !is_accepted {
            *response.status_mut() = StatusCode::UNAUTHORIZED;
        }
        std::future::ready(Ok(response))
    })
}
