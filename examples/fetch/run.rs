//! Sends the requests to the API.

use std::future::Future;
use std::io;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tower::{BoxError, Service, ServiceExt};

use crate::bounded::{self, Keep};
use crate::failure::Describer;
use crate::options::{Load, Template};
use crate::tally::{Answer, Tally};

/// The request to send, the number of times, and the wording of errors.
pub(crate) struct Plan<'a> {
    pub(crate) template: &'a Template,
    pub(crate) load: &'a Load,
    pub(crate) describer: Describer,
}

impl Plan<'_> {
    /// Sends the requests, and keeps the response to the last one.
    ///
    /// Calls `body` for each request.
    pub(crate) async fn run<S, B, F>(self, client: S, body: impl Fn() -> F) -> Tally
    where
        S: Service<Request<B>, Response = Response<Incoming>, Error = BoxError>,
        S: Clone + Send + 'static,
        S::Future: Send,
        F: Future<Output = io::Result<B>> + Send + 'static,
        B: Send + 'static,
    {
        let Self { template, load, describer } = self;
        let mut tally = Tally::default();
        let mut requests = JoinSet::new();
        let mut pause = None;
        for number in 1..=load.repeat {
            if requests.len() >= load.concurrency {
                take_one(&mut requests, &mut tally).await;
            }
            if let Some(pause) = pause.take() {
                pause.await;
            }
            pause = (!load.every.is_zero()).then(|| sleep(load.every));
            let keep = if number == load.repeat { Keep::Body } else { Keep::Nothing };
            let exchange =
                Exchange { template: template.clone(), describer: describer.clone(), keep };
            requests.spawn(exchange.send(client.clone(), body()));
        }
        while !requests.is_empty() {
            take_one(&mut requests, &mut tally).await;
        }
        tally
    }
}

async fn take_one(requests: &mut JoinSet<Result<Answer, String>>, tally: &mut Tally) {
    match requests.join_next().await {
        Some(Ok(Ok(answer))) => tally.answered(answer),
        Some(Ok(Err(error))) => tally.failed(error),
        Some(Err(_)) => tally.failed("a request's task panicked".to_owned()),
        None => {}
    }
}

/// One request and its response.
struct Exchange {
    template: Template,
    describer: Describer,
    keep: Keep,
}

impl Exchange {
    async fn send<S, B>(
        self,
        client: S,
        body: impl Future<Output = io::Result<B>>,
    ) -> Result<Answer, String>
    where
        S: Service<Request<B>, Response = Response<Incoming>, Error = BoxError>,
    {
        let Self { template, describer, keep } = self;
        let origin = template.origin();
        let body = body.await.map_err(|error| format!("the data cannot be read: {error}"))?;
        let response = client.oneshot(template.request(body)).await;
        let response = response.map_err(|error| describer.request(&*error, &origin))?;
        let (head, body) = response.into_parts();
        let body = bounded::body(body, keep).await;
        let body = body.map_err(|error| describer.body(&*error, &origin))?;
        let body = (keep == Keep::Body).then_some(body);
        Ok(Answer { status: head.status, replayed: head.extensions.get().copied(), body })
    }
}
