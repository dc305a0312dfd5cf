use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Waker};
use std::time::Duration;

use http::{Response, StatusCode};
use http_body_util::Full;
use tower::{Layer, ServiceExt};
use tower_oauth2::TokenCache;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::SubscriberExt;

use super::{layer, send};
use crate::support::{Api, Source, credentials, get, hour, lasting};

/// A listener that has something of its own to do at each event, and whenever something is counted, such
/// as to send it to a collector that wants a token too.
#[derive(Clone, Default)]
struct Busy {
    action: Arc<Mutex<Option<Action>>>,
    is_at_it: Arc<AtomicBool>,
}

type Action = Arc<dyn Fn() + Send + Sync>;

impl Busy {
    fn does(&self, action: impl Fn() + Send + Sync + 'static) {
        *self.action.lock().unwrap() = Some(Arc::new(action));
    }

    fn act(&self) {
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
        self.act();
    }
}

#[cfg(feature = "metrics")]
mod counting {
    use metrics::{
        Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata,
        Recorder, SharedString, Unit,
    };

    use super::{Arc, Busy};

    impl CounterFn for Busy {
        fn increment(&self, _: u64) {
            self.act();
        }

        fn absolute(&self, _: u64) {}
    }

    impl GaugeFn for Busy {
        fn increment(&self, _: f64) {
            self.act();
        }

        fn decrement(&self, _: f64) {
            self.act();
        }

        fn set(&self, _: f64) {}
    }

    impl HistogramFn for Busy {
        fn record(&self, _: f64) {
            self.act();
        }
    }

    impl Recorder for Busy {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(Arc::new(self.clone()))
        }

        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::from_arc(Arc::new(self.clone()))
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::from_arc(Arc::new(self.clone()))
        }
    }
}

/// Runs `scenario` to its end, with somebody listening who is busy.
#[track_caller]
fn ends<F: Future<Output = ()>>(scenario: impl FnOnce(Busy) -> F + Send + 'static) {
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

// O: nor that it closed again.
#[test]
fn a_listener_may_use_the_layer_when_its_breaker_closes() {
    ends(|busy| async move {
        let tokens = TokenCache::new(credentials(), Source::of(hour));
        let count = AtomicUsize::new(0);
        let api = Api::new(move |_| {
            let is_up = count.fetch_add(1, Ordering::SeqCst) >= 3;
            let mut response = Response::new(Full::default());
            if !is_up {
                *response.status_mut() = StatusCode::UNAUTHORIZED;
            }
            response
        });
        let layer = layer(&tokens);
        assert_eq!(send(&layer, &api).await, 401);
        tokio::time::advance(Duration::from_secs(5)).await;
        // Each time it asks for the breaker's opinion, with another token that is there.
        let mut tenants: Vec<_> = (0..20).map(|n| credentials().audience(n.to_string())).collect();
        for tenant in &tenants {
            tokens.get_for(tenant).await.unwrap();
        }
        let (heard, its_api) = (layer.clone(), Api::always(401));
        let asked = Mutex::new(move || tenants.pop());
        busy.does(move || {
            let mut request = get("/");
            request
                .extensions_mut()
                .insert(asked.lock().unwrap()().expect("no more than 20 events"));
            let sent = pin!(heard.layer(its_api.clone()).oneshot(request));
            let _ = sent.poll(&mut Context::from_waker(Waker::noop()));
        });
        assert_eq!(send(&layer, &api).await, 200);
    });
}

// O, C10: nor that credentials which failed are forgotten, in whichever way.
#[test]
fn a_listener_may_use_the_cache_when_failures_are_forgotten() {
    ends(|busy| async move {
        let is_down = Arc::new(AtomicBool::new(false));
        let down = is_down.clone();
        let source = Source::new(move |n, _| {
            let is_down = down.load(Ordering::SeqCst);
            async move {
                if is_down {
                    Err("the source is down".into())
                } else {
                    Ok(lasting(n, Duration::ZERO))
                }
            }
        });
        let tokens = TokenCache::builder(credentials(), source).capacity(1).build();
        let tenants: Vec<_> = (0..20).map(|n| credentials().audience(n.to_string())).collect();
        // Tokens of old, which are looked for among all credentials.
        let mut old = vec![tokens.get().await.unwrap()];
        for tenant in &tenants {
            old.push(tokens.get_for(tenant).await.unwrap());
        }
        is_down.store(true, Ordering::SeqCst);
        let heard = tokens.clone();
        busy.does(move || old.iter().for_each(|token| heard.reject(token)));
        for tenant in &tenants {
            assert!(tokens.get_for(tenant).await.is_err());
            tokio::time::advance(Duration::from_millis(10)).await;
        }
        tokens.remove(&tenants[19]);
        assert!(tokens.get().await.is_err());
        tokens.remove(tokens.credentials());
    });
}
