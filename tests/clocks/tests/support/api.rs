use std::convert::Infallible;
use std::future::ready;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, Response};
use http_body_util::Full;
use tower::{Service, service_fn};

/// An API that accepts every token, and remembers the token of each request.
#[derive(Clone, Default)]
pub struct Api {
    tokens: Arc<Mutex<Vec<String>>>,
}

impl Api {
    /// Returns the service that a layer is put around.
    pub fn service<B: Send + 'static>(
        &self,
    ) -> impl Service<
        Request<B>,
        Response = Response<Full<Bytes>>,
        Error = Infallible,
        Future: Send + 'static,
    > + Clone
    + Send
    + 'static {
        let tokens = self.tokens.clone();
        service_fn(move |request: Request<B>| {
            let header = request.headers()[AUTHORIZATION].to_str().unwrap();
            let token = header.strip_prefix("Bearer ").unwrap();
            tokens.lock().unwrap().push(token.to_owned());
            ready(Ok(Response::new(Full::default())))
        })
    }

    /// Returns the token of each request so far.
    pub fn tokens(&self) -> Vec<String> {
        self.tokens.lock().unwrap().clone()
    }
}
