//! The HTTP client of the guide's recipes. It answers as the vendor's documentation says.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tower::{BoxError, Service, ServiceExt};

/// Records all requests. Responds to each `POST` as configured and to others with an empty 200.
#[derive(Clone)]
pub struct Http {
    answer: Arc<Answer>,
    sent: Arc<Mutex<Vec<Request<String>>>>,
}

type Body = Full<Bytes>;
type Answer = dyn Fn(&Request<String>) -> Response<&'static str> + Send + Sync;

impl Http {
    /// Creates a client that gets this token response.
    pub fn answering(body: &'static str) -> Self {
        Self::asking(move |_| Response::new(body))
    }

    pub fn asking(
        answer: impl Fn(&Request<String>) -> Response<&'static str> + Send + Sync + 'static,
    ) -> Self {
        Self { answer: Arc::new(answer), sent: Default::default() }
    }

    pub fn sent(&self) -> Vec<Request<String>> {
        let copy = |request: &Request<String>| request.clone();
        self.sent.lock().unwrap().iter().map(copy).collect()
    }

    /// Sends a request to `uri` through the recipe's client, and checks the resulting requests. A
    /// `*` is any value.
    pub async fn expect<S>(
        &self,
        api: S,
        uri: &str,
        token_endpoint: &str,
        authorization: Option<&str>,
        form: &[(&str, &str)],
    ) where
        S: Service<Request<Body>, Response = Response<Body>>,
        S::Error: Debug,
    {
        let request = Request::get(uri).body(Body::default()).unwrap();
        api.oneshot(request).await.unwrap();

        let sent = self.sent();
        let [.., asked, called] = &sent[..] else { panic!("one request or none was sent") };
        assert_eq!(
            (asked.method().as_str(), asked.uri().to_string().as_str()),
            ("POST", token_endpoint)
        );
        assert_eq!(asked.headers()["content-type"], "application/x-www-form-urlencoded");
        assert_eq!(header(asked, "authorization"), authorization.map(str::to_owned));
        let mut expected = form.to_vec();
        expected.sort_unstable();
        let found = form_of(asked);
        let names = |form: &[(&str, &str)]| {
            form.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>()
        };
        let found: Vec<(&str, &str)> =
            found.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(names(&found), names(&expected));
        for ((name, found), (_, expected)) in found.iter().zip(&expected) {
            assert!(*expected == "*" || found == expected, "{name}={found}, not {expected}");
        }
        assert_eq!(called.uri().to_string(), uri);
        assert!(header(called, "authorization").is_some_and(|value| value.ends_with(" t")));
    }
}

impl Service<Request<Body>> for Http {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let request = Request::from_parts(head, String::from_utf8(body.to_vec())?);
            let answer = match *request.method() == Method::POST {
                true => (this.answer)(&request),
                false => Response::new(""),
            };
            this.sent.lock().unwrap().push(request);
            Ok(answer.map(Body::from))
        })
    }
}

/// Returns a header of a request.
pub fn header(request: &Request<String>, name: &str) -> Option<String> {
    Some(request.headers().get(name)?.to_str().unwrap().to_owned())
}

/// Returns the form of a request, sorted by name.
pub fn form_of(request: &Request<String>) -> Vec<(String, String)> {
    let mut form: Vec<_> = form_urlencoded::parse(request.body().as_bytes()).into_owned().collect();
    form.sort_unstable();
    form
}

/// Returns header and claims of the JWT in this parameter.
pub fn jwt_of(request: &Request<String>, parameter: &str) -> [Value; 2] {
    let form = form_of(request);
    let (_, jwt) = form.iter().find(|(name, _)| name == parameter).expect("the parameter is there");
    jwt_parts(jwt)
}

/// Returns header and claims of a JWT.
pub fn jwt_parts(jwt: &str) -> [Value; 2] {
    let parts: Vec<&str> = jwt.split('.').collect();
    assert_eq!(parts.len(), 3);
    [parts[0], parts[1]].map(|part| {
        let part = BASE64_URL_SAFE_NO_PAD.decode(part).unwrap();
        serde_json::from_slice(&part).unwrap()
    })
}
