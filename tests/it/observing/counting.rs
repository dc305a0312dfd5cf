//! Recorders of metrics that call back into the cache.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use tower::ServiceExt;
use tower_oauth2::{TokenCache, Tokens};

use super::reentrant::{Busy, ends};
use super::{layer, send};
use crate::support::{Api, ScriptedSource, credentials, get, hour, lasting, settle};

impl CounterFn for Busy {
    fn increment(&self, _: u64) {
        self.hear();
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
        self.hear();
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

// O, R8
#[test]
fn a_recorder_may_use_the_layer_when_a_breaker_resets() {
    ends(|busy| async move {
        let tokens = Tokens::new(credentials(), ScriptedSource::tokens(hour));
        let (layer, api) = (layer(&tokens), Api::always(401));
        assert_eq!(send(&layer, &api).await, 401);
        let (heard, its_api) = (layer.clone(), api.clone());
        let sent_before = api.count();
        busy.wants_gauges.store(true, Ordering::SeqCst);
        busy.does(move || {
            let sent = pin!(heard.layer(its_api.clone()).oneshot(get("/")));
            let _ = sent.poll(&mut Context::from_waker(Waker::noop()));
        });
        tokio::time::advance(Duration::from_secs(30)).await;
        settle().await;
        assert_eq!(api.count(), sent_before + 1);
    });
}

// O, C10
#[test]
fn a_recorder_may_use_the_cache_when_failures_are_cleared() {
    ends(|busy| async move {
        let is_down = Arc::new(AtomicBool::new(false));
        let down = is_down.clone();
        let source = ScriptedSource::new(move |n, _| {
            let is_down = down.load(Ordering::SeqCst);
            async move {
                if is_down {
                    Err("the source is down".into())
                } else {
                    Ok(lasting(n, Duration::ZERO))
                }
            }
        });
        let cache = TokenCache::builder(source).capacity(1).build();
        let tokens = cache.tokens(&credentials());
        let tenants: Vec<_> = (0..20).map(|n| credentials().audience(n.to_string())).collect();
        let mut old = vec![tokens.get().await.unwrap()];
        for tenant in &tenants {
            old.push(cache.tokens(tenant).get().await.unwrap());
        }
        is_down.store(true, Ordering::SeqCst);
        busy.does(move || old.iter().for_each(|token| token.reject()));
        for tenant in &tenants {
            assert!(cache.tokens(tenant).get().await.is_err());
            tokio::time::advance(Duration::from_millis(10)).await;
        }
        cache.remove(&tenants[19]);
        assert!(tokens.get().await.is_err());
        cache.remove(tokens.credentials());
    });
}
