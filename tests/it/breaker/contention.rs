//! Servers with one live token per client: each new token revokes the previous one.

use tower::Layer;
use tower_oauth2::store::{MemoryStore, TokenStoreLayer};
use tower_oauth2::{RequestExt, TokenCache, Tokens};

use super::*;

const API: &str = "https://api.test/";
const WARNING: &str = "processes revoke each other's tokens";

/// A server with one live token, and an API that accepts no other.
#[derive(Clone, Default)]
struct Server {
    newest: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<Instant>>>,
}

impl Server {
    /// Returns a source whose tokens revoke the one before them when they are issued.
    fn source(&self, lifetime: Duration) -> ScriptedSource {
        let server = self.clone();
        ScriptedSource::new(move |_, _| {
            let server = server.clone();
            async move {
                sleep(ms(50)).await;
                server.requests.lock().unwrap().push(Instant::now());
                Ok(lasting(server.newest.fetch_add(1, Ordering::SeqCst) + 1, lifetime))
            }
        })
    }

    fn api(&self) -> Api {
        let newest = self.newest.clone();
        api_accepting(move |seen| seen.token == newest.load(Ordering::SeqCst))
    }

    /// Returns the client of a process without a store.
    fn process(&self) -> OAuth2<Api> {
        layer(self.source(secs(3600))).layer(self.api())
    }

    fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

fn warnings(trace: &Trace) -> usize {
    trace.lines().iter().filter(|line| line.contains(WARNING)).count()
}

// R8
#[tokio::test(start_paused = true)]
async fn two_processes_make_few_token_requests_and_one_warning_each() {
    // The processes choose random times.
    fastrand::seed(1);
    let (trace, _guard) = Trace::start();
    let server = Server::default();
    let (one, other) = (server.process(), server.process());
    let start = Instant::now();
    let (failed_one, failed_other) =
        tokio::join!(load(&one, ms(10), secs(300), API), load(&other, ms(10), secs(300), API),);
    // A few at once, and then one in 5 s for each process.
    assert!(server.count() <= 2 * (10 + 60), "{}", server.count());
    let requests = server.requests.lock().unwrap().clone();
    let late: Vec<_> = requests.iter().filter(|at| **at - start > secs(60)).collect();
    assert!(late.len() <= 2 * 48 + 2, "{}", late.len());
    // Each of the two has the live token for part of the time.
    let sent = 300 * 100;
    assert!(failed_one + failed_other <= sent, "{failed_one} + {failed_other}");
    assert!(failed_one.max(failed_other) <= sent * 9 / 10, "{failed_one} + {failed_other}");
    assert_eq!(warnings(&trace), 2, "one for each process");
    let line = trace.lines().into_iter().find(|line| line.contains(WARNING)).unwrap();
    for part in ["WARN ", "endpoint=https://auth.test", "origin=https://api.test", "store"] {
        assert!(line.contains(part), "{line}");
    }
    assert!(!trace.lines().iter().any(|line| line.contains("an API rejects fresh tokens")));
}

// R8
#[tokio::test(start_paused = true)]
async fn processes_with_little_traffic_are_warned_too() {
    for pause in [secs(10), secs(45), secs(120)] {
        let (trace, _guard) = Trace::start();
        let server = Server::default();
        let (one, other) = (server.process(), server.process());
        for _ in 0..30 {
            assert_eq!(status(&one, API).await, 200);
            sleep(pause).await;
            assert_eq!(status(&other, API).await, 200);
            sleep(pause).await;
        }
        assert_eq!(warnings(&trace), 2, "{pause:?}");
    }
}

// R8
#[tokio::test(start_paused = true)]
async fn each_of_many_credentials_is_warned_about_once() {
    let (trace, _guard) = Trace::start();
    let revoked = Arc::new(AtomicUsize::new(0));
    let api = {
        let revoked = revoked.clone();
        api_accepting(move |seen| seen.token > revoked.load(Ordering::SeqCst))
    };
    let source = ScriptedSource::tokens(hour);
    let cache = builder(&source).build();
    let service = OAuth2Layer::per_request(Origins::any()).layer(api);
    for n in 0..3 {
        for _ in 0..20 {
            send_request(&service, get("/").tokens(&cache.tokens(&tenant(n)))).await;
            revoked.store(source.count(), Ordering::SeqCst);
            sleep(secs(6)).await;
        }
    }
    assert_eq!(warnings(&trace), 3);
}

// R8
#[tokio::test(start_paused = true)]
async fn a_few_revocations_in_a_row_are_healed_and_not_warned_about() {
    let (trace, _guard) = Trace::start();
    let server = TokenServer::default();
    let revoking = server.clone();
    let api = api_accepting(move |seen| revoking.accepts(&seen));
    let service = layer(server.source(ms(50))).layer(api);
    for _ in 0..4 {
        assert_eq!(status(&service, API).await, 200);
        server.revoke();
    }
    assert_eq!(status(&service, API).await, 200);
    assert_eq!(warnings(&trace), 0);
    // A revocation once a day does not cause a warning either.
    for _ in 0..10 {
        sleep(secs(86_400)).await;
        server.revoke();
        assert_eq!(status(&service, API).await, 200);
    }
    assert_eq!(warnings(&trace), 0);
}

// R8
#[tokio::test(start_paused = true)]
async fn a_broken_api_causes_no_contention_warning() {
    let (trace, _guard) = Trace::start();
    let is_bad = one_in(10);
    let server = TokenServer::default();
    let bad_node = api_accepting(move |_| !is_bad());
    for api in [Api::always(401).counting_only(), bad_node] {
        let service = layer(server.source(ms(50))).layer(api);
        // Several requests at a time, so that others go on while one is replayed.
        tokio::join!(
            load(&service, ms(5), secs(120), API),
            load(&service, ms(7), secs(120), API),
            load(&service, ms(9), secs(120), API),
        );
    }
    assert_eq!(warnings(&trace), 0);
}

/// Sends requests from three processes on one store for `time`. Returns how many failed.
async fn fleet(
    server: &Server,
    tokens: fn(ScriptedSource, MemoryStore) -> Tokens,
) -> (usize, usize) {
    const LIFETIME: Duration = Duration::from_secs(600);
    let store = MemoryStore::new();
    let processes = [(); 3].map(|()| {
        let tokens = tokens(server.source(LIFETIME), store.clone());
        OAuth2Layer::new(tokens, Origins::any()).layer(server.api())
    });
    let [a, b, c] = &processes;
    // A token is used until 10 s before its end, so this takes ten tokens.
    let time = secs(10 * 590 - 5);
    let (a, b, c) = tokio::join!(
        load(a, ms(700), time, API),
        load(b, ms(1100), time, API),
        load(c, ms(1300), time, API),
    );
    (a + b + c, server.count())
}

// S5
#[tokio::test(start_paused = true)]
async fn processes_on_one_store_make_one_request_for_each_lifetime() {
    let (trace, _guard) = Trace::start();
    let server = Server::default();
    let (failed, count) = fleet(&server, |source, store| {
        TokenCache::builder(TokenStoreLayer::new(store).layer(source))
            .renew_ahead(Duration::ZERO)
            .build()
            .tokens(&credentials())
    })
    .await;
    assert_eq!((failed, count), (0, 10));
    assert_eq!(warnings(&trace), 0);
    // Nothing was revoked while it was in use.
    assert!(!trace.lines().iter().any(|line| line.contains("token was rejected")));
}

/// A renewal ahead of expiry revokes the token that the other processes use. They find the new one
/// in the store.
// S5
#[tokio::test(start_paused = true)]
async fn a_renewal_ahead_of_expiry_costs_the_others_a_replay() {
    let server = Server::default();
    let (failed, count) = fleet(&server, |source, store| {
        Tokens::new(credentials(), TokenStoreLayer::new(store).layer(source))
    })
    .await;
    assert_eq!(failed, 0);
    assert!((10..=15).contains(&count), "{count}");
}
