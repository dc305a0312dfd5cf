//! A token endpoint and an API on one loopback server, for the stories.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes as Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use bytes::Bytes;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::json;
use tokio::net::TcpListener;
use tower_oauth2::{BoxError, ClientAuth, ConfigError, Credentials};

/// The HTTP client of the stories.
pub(crate) type Http = Client<HttpConnector, Full<Bytes>>;

/// The parameters of a token request.
pub(crate) type Form = HashMap<String, String>;

/// A server on loopback. It grants every token request, and its API accepts each token that was
/// issued and not revoked.
#[derive(Clone, Default)]
pub(crate) struct TestServer {
    origin: String,
    state: Arc<Mutex<ServerState>>,
}

#[derive(Default)]
struct ServerState {
    token_requests: Vec<Form>,
    accepted: Vec<String>,
}

impl TestServer {
    pub(crate) async fn start() -> Result<Self, BoxError> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let origin = format!("http://{}", listener.local_addr()?);
        let server = Self { origin, ..Self::default() };
        let app = Router::new()
            .route("/token", post(issue))
            .route("/things", get(things))
            .route("/app/installations/{id}/access_tokens", post(installation_token))
            .with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(server)
    }

    pub(crate) fn http(&self) -> Http {
        Client::builder(TokioExecutor::new()).build_http()
    }

    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    pub(crate) fn token_endpoint(&self) -> String {
        format!("{}/token", self.origin)
    }

    pub(crate) fn things(&self) -> String {
        format!("{}/things", self.origin)
    }

    pub(crate) fn credentials(&self, client_id: &str) -> Result<Credentials, ConfigError> {
        let auth = ClientAuth::client_secret_post(client_id, "s3cr3t");
        Credentials::new(self.token_endpoint(), auth)
    }

    /// Returns the token requests so far.
    pub(crate) fn token_requests(&self) -> Vec<Form> {
        self.state().token_requests.clone()
    }

    pub(crate) fn revoke_all(&self) {
        self.state().accepted.clear();
    }

    fn state(&self) -> MutexGuard<'_, ServerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn issue(&self, form: Form) -> String {
        let mut state = self.state();
        state.token_requests.push(form);
        let token = format!("token-{}", state.token_requests.len());
        state.accepted.push(token.clone());
        token
    }
}

async fn issue(State(server): State<TestServer>, body: Body) -> String {
    let form: Form = form_urlencoded::parse(&body).into_owned().collect();
    let refresh_token = form.get("refresh_token").map(|used| format!("{used}+"));
    let access_token = server.issue(form);
    json!({ "access_token": access_token, "expires_in": 3600, "refresh_token": refresh_token })
        .to_string()
}

/// Issues a token to an app that sends a JWT, as GitHub does.
async fn installation_token(
    State(server): State<TestServer>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<(StatusCode, String), StatusCode> {
    let jwt = bearer(&headers).filter(|jwt| jwt.split('.').count() == 3);
    jwt.ok_or(StatusCode::UNAUTHORIZED)?;
    let token = server.issue(Form::from([("installation".to_owned(), id)]));
    Ok((StatusCode::CREATED, json!({ "token": token }).to_string()))
}

async fn things(
    State(server): State<TestServer>,
    headers: HeaderMap,
) -> Result<String, StatusCode> {
    let token = bearer(&headers).unwrap_or_default();
    if server.state().accepted.iter().any(|accepted| accepted == token) {
        Ok(token.to_owned())
    } else {
        Err(StatusCode::UNAUTHORIZED)
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get("authorization")?.to_str().ok()?.strip_prefix("Bearer ")
}

/// Returns an error if the values differ.
pub(crate) fn expect<T: PartialEq + std::fmt::Debug>(seen: T, expected: T) -> Result<(), BoxError> {
    if seen == expected {
        return Ok(());
    }
    Err(format!("got {seen:?}, expected {expected:?}").into())
}
