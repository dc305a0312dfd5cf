use std::error::Error;
use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::task::{Context, Waker};
use std::time::Duration;

use tower_oauth2::{TokenCache, Tokens};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::SubscriberExt;

use super::{layer, send};
use crate::support::{Api, ScriptedSource, credentials, hour, settle};

/// A subscriber and recorder that runs an action at each event and measurement. For example, a
/// request to a collector needs a token too.
#[derive(Clone, Default)]
pub struct Busy {
    action: Arc<Mutex<Option<Action>>>,
    is_running: Arc<AtomicBool>,
    /// Runs the action at gauges only.
    pub wants_gauges: Arc<AtomicBool>,
}

type Action = Arc<dyn Fn() + Send + Sync>;

impl Busy {
    pub fn does(&self, action: impl Fn() + Send + Sync + 'static) {
        *self.action.lock().unwrap() = Some(Arc::new(action));
    }

    pub fn hear(&self) {
        if !self.wants_gauges.load(Ordering::SeqCst) {
            self.act();
        }
    }

    pub fn act(&self) {
        let action = self.action.lock().unwrap().clone();
        // Events of the action itself do not run it again.
        if let Some(action) = action.filter(|_| !self.is_running.swap(true, Ordering::SeqCst)) {
            action();
            self.is_running.store(false, Ordering::SeqCst);
        }
    }
}

impl<S: Subscriber> tracing_subscriber::Layer<S> for Busy {
    fn on_event(&self, _: &Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        self.hear();
    }
}

/// Runs `scenario` with a busy subscriber and recorder, and fails if it does not end.
#[track_caller]
pub fn ends<F: Future<Output = ()>>(scenario: impl FnOnce(Busy) -> F + Send + 'static) {
    let (ended, has_ended) = mpsc::channel();
    std::thread::spawn(move || {
        let busy = Busy::default();
        let subscriber = tracing_subscriber::registry().with(busy.clone());
        let _guard = tracing::subscriber::set_default(subscriber);
        #[cfg(feature = "metrics")]
        let recorder = busy.clone();
        #[cfg(feature = "metrics")]
        let _recording = metrics::set_default_local_recorder(&recorder);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(scenario(busy));
        ended.send(()).unwrap();
    });
    // Only a deadlock takes that long.
    has_ended.recv_timeout(Duration::from_secs(10)).expect("deadlock in the subscriber");
}

// O: events are emitted without a lock.
#[test]
fn a_subscriber_may_use_the_cache_when_a_token_arrives() {
    ends(|busy| async move {
        let tokens = Tokens::new(credentials(), ScriptedSource::tokens(hour));
        let token = tokens.get().await.unwrap();
        token.reject();
        busy.does(move || token.reject());
        assert_eq!(tokens.get().await.unwrap().secret(), "token-2");
    });
}

// O
#[test]
fn a_subscriber_may_use_the_cache_when_a_fetch_fails() {
    ends(|busy| async move {
        let source = ScriptedSource::new(|n, _| async move {
            if n == 1 { Ok(hour(n)) } else { Err("the source is down".into()) }
        });
        let tokens = Tokens::new(credentials(), source);
        let token = tokens.get().await.unwrap();
        token.reject();
        busy.does(move || token.reject());
        assert!(tokens.get().await.is_err());
    });
}

// O
#[test]
fn a_subscriber_may_use_the_layer_when_its_breaker_opens() {
    ends(|busy| async move {
        let tokens = Tokens::new(credentials(), ScriptedSource::tokens(hour));
        let (layer, api) = (layer(&tokens), Api::always(401));
        let (heard, its_api) = (layer.clone(), api.clone());
        busy.does(move || {
            let sent = pin!(send(&heard, &its_api));
            let _ = sent.poll(&mut Context::from_waker(Waker::noop()));
        });
        assert_eq!(send(&layer, &api).await, 401);
    });
}

/// An error that takes a token when it is dropped.
#[derive(Debug)]
struct TakesToken(Arc<OnceLock<TokenCache>>);

impl fmt::Display for TakesToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the source is down")
    }
}

impl Error for TakesToken {}

impl Drop for TakesToken {
    fn drop(&mut self) {
        if let Some(cache) = self.0.get() {
            let tokens = cache.tokens(&credentials().audience("taken-on-drop"));
            let get = pin!(tokens.get());
            let _ = get.poll(&mut Context::from_waker(Waker::noop()));
        }
    }
}

// C10
#[test]
fn an_evicted_error_may_use_the_cache_when_it_is_dropped() {
    ends(|_| async move {
        let cell = Arc::new(OnceLock::new());
        let error = Mutex::new(Some(TakesToken(cell.clone())));
        let source = ScriptedSource::new(move |n, _| {
            let error = error.lock().unwrap().take();
            async move { error.map_or_else(|| Ok(hour(n)), |error| Err(error.into())) }
        });
        let cache = TokenCache::builder(source.clone()).capacity(1).build();
        let tenants = ["a", "b"].map(|audience| credentials().audience(audience));
        assert!(cache.tokens(&tenants[0]).get().await.is_err());
        cell.set(cache.clone()).unwrap();
        cache.tokens(&tenants[1]).get().await.unwrap();
        settle().await;
        assert_eq!(source.count(), 3, "the error took a token");
        assert_eq!(cache.len(), 1);
    });
}
