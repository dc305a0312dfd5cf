//! One round: starts everything, runs it for a while, and drops it.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use fastrand::Rng;
use http::Uri;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tower::{BoxError, service_fn};

use crate::api::Api;
use crate::caller::Caller;
use crate::figures::Figures;
use crate::issuer::Issuer;
use crate::ledger::Ledger;
use crate::memory::{self, Sample};
use crate::options::Options;
use crate::servers::Connections;
use crate::stacks;
use crate::store::FailingStore;

/// The time after the round in which the callers must end.
const CALLERS_END: Duration = Duration::from_secs(45);
/// The time in which tasks and connections must end once the callers have been dropped.
const TASKS_END: Duration = Duration::from_secs(15);

/// The servers and the store around the clients.
#[derive(Clone)]
struct Environment {
    issuer: Issuer,
    store: FailingStore,
    token_connections: Connections,
    api_connections: Connections,
    ledger: Ledger,
    token_endpoint: String,
    api: String,
}

pub(crate) fn run(options: &Options, time: Duration) -> Result<Figures, BoxError> {
    // The servers have their own runtime, so that the tasks of the clients can be counted.
    let servers = runtime(1)?;
    let clients = runtime(2)?;
    let environment = servers.block_on(Environment::start(options.seed))?;
    let samples = servers.spawn(sample(clients.handle().clone(), environment.clone(), time));
    let faults = servers.spawn(environment.clone().cause_faults(options.seed));
    let started = Instant::now();
    clients.block_on(call(&environment, options, time))?;
    let duration = started.elapsed();
    faults.abort();
    let samples = servers.block_on(samples)?;

    let (tasks, connections) = clients.block_on(wait_for_end(&environment));
    let (counts, mut broken) = environment.ledger.conclude();
    if tasks > 0 {
        broken.push(format!("{tasks} tasks leaked"));
    }
    if connections > 0 {
        broken.push(format!("{connections} connections leaked"));
    }
    let quarters = memory::quarters(&samples);
    broken.extend(memory::growth(time, &quarters));
    drop(environment);
    for runtime in [clients, servers] {
        runtime.shutdown_timeout(Duration::from_secs(5));
    }
    Ok(Figures { duration, counts, quarters, tasks, connections, left_on_heap: None, broken })
}

fn runtime(threads: usize) -> std::io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(threads).enable_all().build()
}

impl Environment {
    async fn start(seed: u64) -> Result<Self, BoxError> {
        let ledger = Ledger::default();
        let issuer = Issuer::new(seed, &ledger);
        let store = FailingStore::new(seed + 1, &ledger);
        let api = Api::new(seed + 2, &issuer, &ledger);
        let (token_connections, api_connections) = (Connections::new(), Connections::new());
        let token_endpoint = token_connections.serve({
            let issuer = issuer.clone();
            service_fn(move |request| issuer.clone().answer(request))
        });
        let token_endpoint = format!("{}/token", token_endpoint.await?);
        let api = api_connections.serve(service_fn(move |request| api.clone().answer(request)));
        let api = api.await?;
        Ok(Self { issuer, store, token_connections, api_connections, ledger, token_endpoint, api })
    }

    /// Causes faults until it is aborted.
    async fn cause_faults(self, seed: u64) {
        let mut rng = Rng::with_seed(seed + 3);
        let now = Instant::now();
        let (mut issuer, mut store, mut revocation, mut closing) = (now, now, now, now);
        loop {
            let now = Instant::now();
            if now >= issuer {
                issuer = now + self.issuer.change();
            }
            if now >= store {
                store = now + self.store.change();
            }
            if now >= revocation {
                self.issuer.revoke_all();
                // The minimum is short, so that some tokens are revoked as soon as they are issued.
                revocation = now + Duration::from_millis(rng.u64(20..1500));
            }
            if now >= closing {
                self.api_connections.close_all();
                self.token_connections.close_all();
                self.ledger.count("times that all connections were closed");
                closing = now + Duration::from_millis(rng.u64(500..4000));
            }
            self.ledger.settle_old();
            let next = issuer.min(store).min(revocation).min(closing);
            tokio::time::sleep_until(next).await;
        }
    }
}

/// Runs all callers, and returns when they have ended.
async fn call(
    environment: &Environment,
    options: &Options,
    time: Duration,
) -> Result<(), BoxError> {
    let stacks = stacks::all(
        &environment.token_endpoint,
        &environment.api,
        &environment.store,
        &environment.ledger,
    )?;
    let stacks = Arc::new(stacks);
    let until = Instant::now() + time;
    let ids = Arc::new(AtomicU64::new(0));
    let uri: Uri = format!("{}/", environment.api).parse()?;
    let mut callers = JoinSet::new();
    for n in 0..options.callers {
        let (stacks, uri, ids) = (stacks.clone(), uri.clone(), ids.clone());
        let rng = Rng::with_seed(options.seed.wrapping_add(1000 + n));
        let caller = Caller { stacks, uri, ledger: environment.ledger.clone(), ids, rng };
        callers.spawn(caller.run(until));
    }
    let all = async {
        while let Some(ended) = callers.join_next().await {
            if ended.is_err_and(|error| error.is_panic()) {
                environment.ledger.broken("a caller panicked");
            }
        }
    };
    if timeout(time + CALLERS_END, all).await.is_err() {
        environment.ledger.broken(format!("{} callers did not end in time", callers.len()));
    }
    Ok(())
}

/// Waits until the tasks and connections of dropped clients have ended. Returns the numbers of
/// those that have not.
async fn wait_for_end(environment: &Environment) -> (usize, usize) {
    let end = Instant::now() + TASKS_END;
    loop {
        let tasks = Handle::current().metrics().num_alive_tasks();
        let connections = environment.api_connections.open() + environment.token_connections.open();
        if tasks + connections == 0 || Instant::now() > end {
            return (tasks, connections);
        }
        sleep(Duration::from_millis(10)).await;
    }
}

async fn sample(clients: Handle, environment: Environment, time: Duration) -> Vec<Sample> {
    const EVERY: Duration = Duration::from_millis(250);

    let count = time.as_millis() / EVERY.as_millis();
    let mut samples = Vec::new();
    for _ in 0..count.max(4) {
        sleep(EVERY).await;
        let connections = environment.api_connections.open() + environment.token_connections.open();
        samples.push(Sample::take(clients.metrics().num_alive_tasks(), connections));
    }
    samples
}
