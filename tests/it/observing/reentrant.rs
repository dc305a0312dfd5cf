use std::error::Error;
use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::task::{Context, Waker};
use std::time::Duration;

use tower_oauth2::TokenCache;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::SubscriberExt;

use super::{layer, send};
use crate::support::{Api, Source, credentials, hour, settle};

/// A listener that has something of its own to do at each event, and whenever something is counted, such
/// as to send it to a collector that wants a token too.
#[derive(Clone, Default)]
pub struct Busy {
    action: Arc<Mutex<Option<Action>>>,
    is_at_it: Arc<AtomicBool>,
    /// Nothing else is of interest to it.
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
        // What it does itself is no news to it.
        if let Some(action) = action.filter(|_| !self.is_at_it.swap(true, Ordering::SeqCst)) {
            action();
            self.is_at_it.store(false, Ordering::SeqCst);
        }
    }
}

impl<S: Subscriber> tracing_subscriber::Layer<S> for Busy {
    fn on_event(&self, _: &Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        self.hear();
    }
}

/// Runs `scenario` to its end, with somebody listening who is busy.
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
    // Only a dead-lock takes as long as this.
    has_ended.recv_timeout(Duration::from_secs(10)).expect("the listener is locked out");
}

// O: what a fetch brought is not told under a lock.
#[test]
fn a_listener_may_use_the_cache_when_a_token_arrives() {
    ends(|busy| async move {
        let tokens = TokenCache::new(credentials(), Source::of(hour));
        let token = tokens.get().await.unwrap();
        tokens.reject(&token);
        let heard = tokens.clone();
        busy.does(move || heard.reject(&token));
        assert_eq!(tokens.get().await.unwrap().secret(), "token-2");
    });
}

// O: nor that it failed.
#[test]
fn a_listener_may_use_the_cache_when_a_fetch_fails() {
    ends(|busy| async move {
        let source = Source::new(|n, _| async move {
            if n == 1 { Ok(hour(n)) } else { Err("the source is down".into()) }
        });
        let tokens = TokenCache::new(credentials(), source);
        let token = tokens.get().await.unwrap();
        tokens.reject(&token);
        let heard = tokens.clone();
        busy.does(move || heard.reject(&token));
        assert!(tokens.get().await.is_err());
    });
}

// O: nor that a breaker opened.
#[test]
fn a_listener_may_use_the_layer_when_its_breaker_opens() {
    ends(|busy| async move {
        let tokens = TokenCache::new(credentials(), Source::of(hour));
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
        if let Some(tokens) = self.0.get() {
            let other = credentials().audience("taken-on-drop");
            let get = pin!(tokens.get_for(&other));
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
        let source = Source::new(move |n, _| {
            let error = error.lock().unwrap().take();
            async move { error.map_or_else(|| Ok(hour(n)), |error| Err(error.into())) }
        });
        let tokens = TokenCache::builder(credentials(), source.clone()).capacity(1).build();
        let tenants = ["a", "b"].map(|audience| credentials().audience(audience));
        assert!(tokens.get_for(&tenants[0]).await.is_err());
        cell.set(tokens.clone()).unwrap();
        tokens.get_for(&tenants[1]).await.unwrap();
        settle().await;
        assert_eq!(source.count(), 3, "the error took a token");
        assert_eq!(tokens.len(), 1);
    });
}
