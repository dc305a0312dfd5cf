//! Two processes, and a third one that comes later.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use tower::{BoxError, service_fn};

use crate::member::Member;
use crate::server::Server;
use crate::support::issuer::Issuer;
use crate::support::report::{Report, Wire};
use crate::support::server;

pub(crate) async fn run(url: Option<&str>) -> Result<Report, BoxError> {
    let own = match url {
        Some(_) => None,
        None => Some(Server::start().await?),
    };
    let redis = url.or(own.as_ref().map(|server| &*server.url)).unwrap_or_default();
    let issuer = Issuer::new();
    let token_endpoint = issuer.serve().await?;
    let api = server::serve(api(&issuer)).await?;
    // Nobody's but this run's.
    let prefix = format!("tower-oauth2-example-{}:", std::process::id());
    let start = || Member::start([redis, &prefix, &token_endpoint, &api]);
    let mut members = vec![start()?, start()?];
    let mut report = Report::new(&issuer);

    report.begin("Two processes without a token send a request at once");
    report.expect("both are answered with 200", are_answered(&mut members)?);
    report.end(
        Wire { api: 2, rejected: 0, token_endpoint: 1 },
        "one of them asks for a token, and the other one takes it from the store",
    );

    issuer.revoke_all();
    report.begin("The token is revoked");
    report.expect("both are answered with 200", are_answered(&mut members)?);
    report.end(
        Wire { api: 4, rejected: 2, token_endpoint: 1 },
        "each sees a 401 and sends its request again, with one new token for both",
    );

    members = vec![start()?];
    report.begin("Another process starts");
    report.expect("it is answered with 200", are_answered(&mut members)?);
    report.end(Wire { api: 1, rejected: 0, token_endpoint: 0 }, "the token is in the store");
    Ok(report)
}

/// Sends a request from each, at once.
fn are_answered(members: &mut [Member]) -> Result<bool, BoxError> {
    members.iter_mut().try_for_each(Member::begin)?;
    let statuses: Result<Vec<_>, BoxError> = members.iter_mut().map(Member::end).collect();
    Ok(statuses?.iter().all(|status| status == "200"))
}

/// 200 or 401.
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
