// Replaces the HTTP client in the recipes of the guide, and acts as the vendor's documentation
// says.

/// Responds to each `POST` as configured and to others with an empty 200, and records all requests.
#[derive(Clone)]
pub struct Http {
    answer: std::sync::Arc<Answer>,
    sent: std::sync::Arc<std::sync::Mutex<Vec<http::Request<String>>>>,
}

type Body = http_body_util::Full<bytes::Bytes>;
type Answer = dyn Fn(&http::Request<String>) -> http::Response<&'static str> + Send + Sync;

#[allow(dead_code, reason = "no recipe needs all of it")]
impl Http {
    /// Creates a client that gets this token response.
    pub fn answering(body: &'static str) -> Self {
        Self::asking(move |_| http::Response::new(body))
    }

    pub fn asking(
        answer: impl Fn(&http::Request<String>) -> http::Response<&'static str> + Send + Sync + 'static,
    ) -> Self {
        Self { answer: std::sync::Arc::new(answer), sent: Default::default() }
    }

    pub fn sent(&self) -> Vec<http::Request<String>> {
        let copy = |request: &http::Request<String>| request.clone();
        self.sent.lock().unwrap().iter().map(copy).collect()
    }

    /// Sends a request to `uri` through the recipe's client, and checks it and the token request. A
    /// `*` is any value.
    pub async fn expect<S>(
        &self,
        api: S,
        uri: &str,
        token_endpoint: &str,
        authorization: Option<&str>,
        form: &[(&str, &str)],
    ) where
        S: tower::Service<http::Request<Body>, Response = http::Response<Body>>,
        S::Error: std::fmt::Debug,
    {
        let request = http::Request::get(uri).body(Body::default()).unwrap();
        tower::ServiceExt::oneshot(api, request).await.unwrap();

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

impl tower::Service<http::Request<Body>> for Http {
    type Response = http::Response<Body>;
    type Error = tower::BoxError;
    type Future = std::pin::Pin<
        Box<dyn std::future::Future<Output = Result<Self::Response, Self::Error>> + Send>,
    >;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = http_body_util::BodyExt::collect(body).await?.to_bytes();
            let request = http::Request::from_parts(head, String::from_utf8(body.to_vec())?);
            let answer = match *request.method() == http::Method::POST {
                true => (this.answer)(&request),
                false => http::Response::new(""),
            };
            this.sent.lock().unwrap().push(request);
            Ok(answer.map(Body::from))
        })
    }
}

fn header(request: &http::Request<String>, name: &str) -> Option<String> {
    Some(request.headers().get(name)?.to_str().unwrap().to_owned())
}

/// Returns the form of a request, sorted by name.
fn form_of(request: &http::Request<String>) -> Vec<(String, String)> {
    let mut form: Vec<_> = form_urlencoded::parse(request.body().as_bytes()).into_owned().collect();
    form.sort_unstable();
    form
}

/// Returns header and claims of the JWT in this parameter.
#[allow(dead_code, reason = "not every recipe has one")]
fn jwt_of(request: &http::Request<String>, parameter: &str) -> [serde_json::Value; 2] {
    let form = form_of(request);
    let (_, jwt) = form.iter().find(|(name, _)| name == parameter).expect("the parameter is there");
    jwt_parts(jwt)
}

#[allow(dead_code, reason = "not every recipe has one")]
fn jwt_parts(jwt: &str) -> [serde_json::Value; 2] {
    let parts: Vec<&str> = jwt.split('.').collect();
    assert_eq!(parts.len(), 3);
    [parts[0], parts[1]].map(|part| {
        use base64::Engine;
        let part = base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(part).unwrap();
        serde_json::from_slice(&part).unwrap()
    })
}
