//! A token endpoint with custom grants, and an API that names the token's owner.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tower::{BoxError, ServiceExt, service_fn};

use super::issuer::{CLIENT_ID, CLIENT_SECRET, Issuer};
use super::server;

pub(crate) type Form = HashMap<String, String>;

/// The owner of the token and further members of the response, or an error code.
pub(crate) type Decision = Result<(String, Value), &'static str>;

/// Clones share their tokens.
#[derive(Clone)]
pub(crate) struct Grants {
    issuer: Issuer,
    /// The owners, by token.
    subjects: Arc<Mutex<HashMap<String, String>>>,
}

impl Grants {
    pub(crate) fn new(issuer: &Issuer) -> Self {
        Self { issuer: issuer.clone(), subjects: Arc::default() }
    }

    /// Serves a token endpoint that responds as `decide` says, and returns its URL.
    pub(crate) async fn serve(
        &self,
        decide: impl Fn(&Parts, &Form) -> Decision + Clone + Send + 'static,
    ) -> io::Result<String> {
        let grants = self.clone();
        let origin = server::serve(service_fn(move |request: Request<Incoming>| {
            let (grants, decide) = (grants.clone(), decide.clone());
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await?.to_bytes();
                let form = form_urlencoded::parse(&body).into_owned().collect();
                grants.answer(decide(&head, &form)).await
            }
        }));
        Ok(format!("{}/token", origin.await?))
    }

    /// Serves an API, and returns its origin.
    pub(crate) async fn serve_api(&self) -> io::Result<String> {
        let grants = self.clone();
        server::serve(service_fn(move |request: Request<Incoming>| {
            let response = match grants.subject(request.headers()) {
                Some(subject) => response(StatusCode::OK, subject),
                None => response(StatusCode::UNAUTHORIZED, ""),
            };
            async move { Ok::<_, Infallible>(response) }
        }))
        .await
    }

    fn subject(&self, headers: &HeaderMap) -> Option<String> {
        if !self.issuer.accepts(headers) {
            return None;
        }
        let token = headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?;
        self.subjects.lock().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }

    async fn answer(&self, decision: Decision) -> Result<Response<Full<Bytes>>, BoxError> {
        let grant_type = if decision.is_ok() { "client_credentials" } else { "refused" };
        let issued = self.ask_issuer(grant_type).await?;
        let (subject, more) = match decision {
            Ok(granted) => granted,
            Err(error) => {
                let body = json!({ "error": error }).to_string();
                return Ok(response(StatusCode::BAD_REQUEST, body));
            }
        };
        let mut body: Value = serde_json::from_slice(&issued)?;
        let token = body["access_token"].as_str().ok_or("no token was issued")?.to_owned();
        if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
            body.extend(more);
        }
        self.subjects.lock().unwrap_or_else(PoisonError::into_inner).insert(token, subject);
        Ok(response(StatusCode::OK, body.to_string()))
    }

    async fn ask_issuer(&self, grant_type: &str) -> Result<Bytes, BoxError> {
        let user_pass = BASE64_STANDARD.encode(format!("{CLIENT_ID}:{CLIENT_SECRET}"));
        let request = Request::post("/token")
            .header(AUTHORIZATION, format!("Basic {user_pass}"))
            .body(Full::<Bytes>::from(format!("grant_type={grant_type}")))?;
        let response = self.issuer.clone().oneshot(request).await?;
        Ok(response.into_body().collect().await?.to_bytes())
    }
}

fn response(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}
