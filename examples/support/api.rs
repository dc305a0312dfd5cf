//! An API that stores resources, and responds to requests without a valid token with 401.
//!
//! The response to `PUT`, `GET` and `DELETE` is the resource. The response to `POST` is the
//! [`Digest`] of the request body, which is not stored.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use ring::digest;
use tower::Service;

use super::issuer::Issuer;

/// Clones share their resources.
#[derive(Clone)]
pub(crate) struct Api {
    issuer: Issuer,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    resources: HashMap<String, Resource>,
    bodies: Vec<Digest>,
}

#[derive(Clone)]
struct Resource {
    content_type: Option<HeaderValue>,
    content: Bytes,
}

impl Api {
    pub(crate) fn new(issuer: &Issuer) -> Self {
        Self { issuer: issuer.clone(), state: Arc::default() }
    }

    /// Returns the digests of all request bodies so far, including rejected requests.
    pub(crate) fn bodies(&self) -> Vec<Digest> {
        self.lock().bodies.clone()
    }

    /// Reads the whole body first, whatever the response.
    async fn answer(self, request: Request<Incoming>) -> hyper::Result<Response<Full<Bytes>>> {
        let (head, mut body) = request.into_parts();
        let mut hasher = Hasher::new();
        let mut content = BytesMut::new();
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame?.into_data() {
                hasher.update(&data);
                if head.method == Method::PUT {
                    content.extend_from_slice(&data);
                }
            }
        }
        let digest = hasher.finish();
        self.lock().bodies.push(digest);
        Ok(if self.issuer.accepts(&head.headers) {
            self.lock().act(&head, content.freeze(), digest)
        } else {
            unauthorized()
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service<Request<Incoming>> for Api {
    type Response = Response<Full<Bytes>>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        Box::pin(self.clone().answer(request))
    }
}

impl State {
    fn act(&mut self, head: &Parts, content: Bytes, digest: Digest) -> Response<Full<Bytes>> {
        let path = head.uri.path();
        let resource = match head.method {
            Method::POST => return response(StatusCode::OK, digest.to_string()),
            Method::PUT => {
                let content_type = head.headers.get(CONTENT_TYPE).cloned();
                let resource = Resource { content_type, content };
                self.resources.insert(path.to_owned(), resource.clone());
                Some(resource)
            }
            Method::GET => self.resources.get(path).cloned(),
            Method::DELETE => self.resources.remove(path),
            _ => return response(StatusCode::METHOD_NOT_ALLOWED, ""),
        };
        let Some(Resource { content_type, content }) = resource else {
            return response(StatusCode::NOT_FOUND, "");
        };
        let mut response = response(StatusCode::OK, content);
        if let Some(content_type) = content_type {
            response.headers_mut().insert(CONTENT_TYPE, content_type);
        }
        response
    }
}

fn unauthorized() -> Response<Full<Bytes>> {
    let mut response = response(StatusCode::UNAUTHORIZED, "");
    let challenge = HeaderValue::from_static(r#"Bearer error="invalid_token""#);
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

fn response(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}

/// The length and hash of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digest {
    length: u64,
    sha256: [u8; 32],
}

impl Digest {
    /// Computes the digest of a body in any number of chunks.
    pub(crate) fn of<D: AsRef<[u8]>>(chunks: impl IntoIterator<Item = D>) -> Self {
        let mut hasher = Hasher::new();
        chunks.into_iter().for_each(|chunk| hasher.update(chunk.as_ref()));
        hasher.finish()
    }
}

/// Displays as `11 bytes, SHA-256 b94d...`.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes, SHA-256 ", self.length)?;
        self.sha256.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

struct Hasher {
    length: u64,
    sha256: digest::Context,
}

impl Hasher {
    fn new() -> Self {
        Self { length: 0, sha256: digest::Context::new(&digest::SHA256) }
    }

    fn update(&mut self, data: &[u8]) {
        self.length += data.len() as u64;
        self.sha256.update(data);
    }

    fn finish(self) -> Digest {
        let sha256 = self.sha256.finish();
        let sha256 = sha256.as_ref().try_into().expect("SHA-256 has 32 bytes");
        Digest { length: self.length, sha256 }
    }
}
