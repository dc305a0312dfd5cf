use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::time::Instant;

/// A token endpoint, `/token`, and an API, `/`, on loopback.
pub struct Authority {
    pub origin: String,
    state: Shared,
}

type Shared = Arc<Mutex<Counts>>;

struct Counts {
    lifetime: Duration,
    token_requests: usize,
    last_issue: Instant,
    valid: HashSet<String>,
    accepted: usize,
    rejected: usize,
}

impl Authority {
    /// Starts a server whose tokens live for `lifetime`.
    pub async fn start(lifetime: Duration) -> Self {
        let state = Arc::new(Mutex::new(Counts {
            lifetime,
            token_requests: 0,
            last_issue: Instant::now(),
            valid: HashSet::new(),
            accepted: 0,
            rejected: 0,
        }));
        let router = Router::new()
            .route("/token", post(issue))
            .route("/", get(serve))
            .with_state(state.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async { axum::serve(listener, router).await });
        Self { origin, state }
    }

    fn state(&self) -> MutexGuard<'_, Counts> {
        self.state.lock().unwrap()
    }

    /// Sets the lifetime of the next tokens.
    pub fn grant(&self, lifetime: Duration) {
        self.state().lifetime = lifetime;
    }

    pub fn revoke(&self) {
        self.state().valid.clear();
    }

    pub fn token_requests(&self) -> usize {
        self.state().token_requests
    }

    pub fn last_issue(&self) -> Instant {
        self.state().last_issue
    }

    /// Returns how many requests the API has answered with 200.
    pub fn accepted(&self) -> usize {
        self.state().accepted
    }

    pub fn rejected(&self) -> usize {
        self.state().rejected
    }
}

async fn issue(State(state): State<Shared>) -> String {
    let mut state = state.lock().unwrap();
    state.token_requests += 1;
    state.last_issue = Instant::now();
    let token = format!("token-{}", state.token_requests);
    state.valid.insert(token.clone());
    let expires_in = state.lifetime.as_secs();
    format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":{expires_in}}}"#)
}

async fn serve(State(state): State<Shared>, headers: HeaderMap) -> StatusCode {
    let token = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = token.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    let mut state = state.lock().unwrap();
    if state.valid.contains(token) {
        state.accepted += 1;
        StatusCode::OK
    } else {
        state.rejected += 1;
        StatusCode::UNAUTHORIZED
    }
}
