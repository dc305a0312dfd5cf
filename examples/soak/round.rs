//! One round: everything is set up, runs for a while, and is dropped.

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
use crate::authority::Authority;
use crate::caller::Caller;
use crate::figures::Figures;
use crate::ledger::Ledger;
use crate::memory::{self, Sample};
use crate::options::Options;
use crate::servers::Connections;
use crate::stacks;
use crate::store::FlappingStore;

/// How long it may take until callers are done, and until what they left is gone.
const UNTIL_DONE: Duration = Duration::from_secs(45);
const UNTIL_GONE: Duration = Duration::from_secs(15);

/// Of the world around the clients.
#[derive(Clone)]
struct World {
    authority: Authority,
    store: FlappingStore,
    token_connections: Connections,
    api_connections: Connections,
    ledger: Ledger,
    token_endpoint: String,
    api: String,
}

pub(crate) fn run(options: &Options, time: Duration) -> Result<Figures, BoxError> {
    // Two runtimes, so that the tasks of clients can be told from those of servers.
    let servers = runtime(1)?;
    let clients = runtime(2)?;
    let world = servers.block_on(World::start(options.seed))?;
    let samples = servers.spawn(sample(clients.handle().clone(), world.clone(), time));
    let weather = servers.spawn(world.clone().change(options.seed));
    let begun = Instant::now();
    clients.block_on(call(&world, options, time))?;
    let took = begun.elapsed();
    weather.abort();
    let samples = servers.block_on(samples)?;

    let left = clients.block_on(settle(&world));
    let (counts, mut broken) = world.ledger.conclude();
    let (tasks, connections) = left;
    if tasks > 0 {
        broken.push(format!("{tasks} tasks are left behind"));
    }
    if connections > 0 {
        broken.push(format!("{connections} connections are left behind"));
    }
    let quarters = memory::quarters(&samples);
    broken.extend(memory::growth(time, &quarters));
    drop(world);
    for runtime in [clients, servers] {
        runtime.shutdown_timeout(Duration::from_secs(5));
    }
    Ok(Figures { took, counts, quarters, tasks, connections, left_on_heap: None, broken })
}

fn runtime(threads: usize) -> std::io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(threads).enable_all().build()
}

impl World {
    async fn start(seed: u64) -> Result<Self, BoxError> {
        let ledger = Ledger::default();
        let authority = Authority::new(seed, &ledger);
        let store = FlappingStore::new(seed + 1, &ledger);
        let api = Api::new(seed + 2, &authority, &ledger);
        let (token_connections, api_connections) = (Connections::new(), Connections::new());
        let token_endpoint = token_connections.serve({
            let authority = authority.clone();
            service_fn(move |request| authority.clone().answer(request))
        });
        let token_endpoint = format!("{}/token", token_endpoint.await?);
        let api = api_connections.serve(service_fn(move |request| api.clone().answer(request)));
        let api = api.await?;
        Ok(Self {
            authority,
            store,
            token_connections,
            api_connections,
            ledger,
            token_endpoint,
            api,
        })
    }

    /// Trouble, until it is aborted.
    async fn change(self, seed: u64) {
        let mut rng = Rng::with_seed(seed + 3);
        let now = Instant::now();
        let (mut authority, mut store, mut revocation, mut breaking) = (now, now, now, now);
        loop {
            let now = Instant::now();
            if now >= authority {
                authority = now + self.authority.change();
            }
            if now >= store {
                store = now + self.store.change();
            }
            if now >= revocation {
                self.authority.revoke_all();
                // Now and then a second one, as soon as there is another token.
                revocation = now + Duration::from_millis(rng.u64(20..1500));
            }
            if now >= breaking {
                self.api_connections.break_off();
                self.token_connections.break_off();
                self.ledger.count("times that all connections were broken off");
                breaking = now + Duration::from_millis(rng.u64(500..4000));
            }
            self.ledger.tidy();
            let next = authority.min(store).min(revocation).min(breaking);
            tokio::time::sleep_until(next).await;
        }
    }
}

/// Lets all callers run, and ends when they are done.
async fn call(world: &World, options: &Options, time: Duration) -> Result<(), BoxError> {
    let stacks = stacks::all(&world.token_endpoint, &world.api, &world.store, &world.ledger)?;
    let stacks = Arc::new(stacks);
    let until = Instant::now() + time;
    let ids = Arc::new(AtomicU64::new(0));
    let uri: Uri = format!("{}/", world.api).parse()?;
    let mut callers = JoinSet::new();
    for n in 0..options.callers {
        let (stacks, uri, ids) = (stacks.clone(), uri.clone(), ids.clone());
        let rng = Rng::with_seed(options.seed.wrapping_add(1000 + n));
        let caller = Caller { stacks, uri, ledger: world.ledger.clone(), ids, rng };
        callers.spawn(caller.run(until));
    }
    let all = async {
        while let Some(ended) = callers.join_next().await {
            if ended.is_err_and(|error| error.is_panic()) {
                world.ledger.broken("a caller panicked");
            }
        }
    };
    if timeout(time + UNTIL_DONE, all).await.is_err() {
        world.ledger.broken(format!("{} callers do not come to an end", callers.len()));
    }
    Ok(())
}

/// Waits until what was dropped is gone. How many tasks and connections are not.
async fn settle(world: &World) -> (usize, usize) {
    let end = Instant::now() + UNTIL_GONE;
    loop {
        let tasks = Handle::current().metrics().num_alive_tasks();
        let connections = world.api_connections.open() + world.token_connections.open();
        if tasks + connections == 0 || Instant::now() > end {
            return (tasks, connections);
        }
        sleep(Duration::from_millis(10)).await;
    }
}

async fn sample(clients: Handle, world: World, time: Duration) -> Vec<Sample> {
    const EVERY: Duration = Duration::from_millis(250);

    let count = time.as_millis() / EVERY.as_millis();
    let mut samples = Vec::new();
    for _ in 0..count.max(4) {
        sleep(EVERY).await;
        let connections = world.api_connections.open() + world.token_connections.open();
        samples.push(Sample::take(clients.metrics().num_alive_tasks(), connections));
    }
    samples
}
