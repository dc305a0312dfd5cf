//! Sends the request as often as asked for, and no more at once than allowed.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tower::ServiceExt;

use crate::client::Client;
use crate::failure;
use crate::options::{Load, Template};
use crate::tally::{Answer, Tally};

pub(crate) async fn run(client: Client, template: &Template, load: &Load) -> Tally {
    let origin = template.origin();
    let mut tally = Tally::default();
    let mut requests = JoinSet::new();
    let mut pause = None;
    for _ in 0..load.repeat {
        if requests.len() >= load.concurrency {
            take_one(&mut requests, &mut tally).await;
        }
        if let Some(pause) = pause.take() {
            pause.await;
        }
        pause = (!load.every.is_zero()).then(|| sleep(load.every));
        requests.spawn(exchange(client.clone(), template.request(), origin.clone()));
    }
    while !requests.is_empty() {
        take_one(&mut requests, &mut tally).await;
    }
    tally
}

async fn take_one(requests: &mut JoinSet<Result<Answer, String>>, tally: &mut Tally) {
    match requests.join_next().await {
        Some(Ok(Ok(answer))) => tally.answered(answer),
        Some(Ok(Err(error))) => tally.failed(error),
        Some(Err(_)) => tally.failed("a request's task panicked".to_owned()),
        None => {}
    }
}

async fn exchange(
    client: Client,
    request: Request<Full<Bytes>>,
    origin: String,
) -> Result<Answer, String> {
    let response =
        client.oneshot(request).await.map_err(|error| failure::of_request(&*error, &origin))?;
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(|error| failure::of_body(&error, &origin))?;
    Ok(Answer {
        status: head.status,
        replayed: head.extensions.get().copied(),
        body: body.to_bytes(),
    })
}
