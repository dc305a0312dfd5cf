use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tower::{BoxError, ServiceExt, service_fn};
use tower_oauth2::source::HttpClient;
use tower_oauth2::{AccessToken, TokenEndpoint, TokenError, TokenRequest};

use crate::support::*;

const FORM: &str = "grant_type=client_credentials";

async fn fetch(endpoint: TokenEndpoint) -> Result<AccessToken, TokenError> {
    endpoint.oneshot(TokenRequest::new(credentials())).await
}

async fn read<B: Body<Error: Into<BoxError>>>(request: Request<B>) -> String {
    let bytes = request.into_body().collect().await.map_err(Into::into).unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn a_client_may_take_request_bodies_of_other_types() {
    let forms = Arc::new(Mutex::new(Vec::new()));
    let seen = forms.clone();
    let http = service_fn(move |request: Request<axum::body::Body>| {
        let seen = seen.clone();
        async move {
            assert_eq!(request.headers()["content-type"], "application/x-www-form-urlencoded");
            let form = read(request).await;
            seen.lock().unwrap().push(form);
            let body = axum::body::Body::from(r#"{"access_token":"t"}"#);
            Ok::<_, Infallible>(Response::new(body))
        }
    });
    assert_eq!(fetch(TokenEndpoint::with_body(http)).await.unwrap().secret(), "t");
    assert_eq!(*forms.lock().unwrap(), [FORM]);
}

#[tokio::test]
async fn a_client_may_return_response_bodies_of_other_types() {
    // The data of this body are not `Bytes`.
    let http = service_fn(|request: Request<Full<Bytes>>| async move {
        assert_eq!(read(request).await, FORM);
        let body: &'static [u8] = br#"{"access_token":"t"}"#;
        Ok::<_, Infallible>(Response::new(Full::new(body)))
    });
    assert_eq!(fetch(TokenEndpoint::new(http)).await.unwrap().secret(), "t");
}

// The bound lets the compiler infer the request body of a generic client.
#[tokio::test]
async fn a_client_may_be_passed_through_a_generic_function() {
    fn endpoint<M>(http: impl HttpClient<M>) -> TokenEndpoint {
        TokenEndpoint::new(http)
    }

    let http = service_fn(|_| async {
        let body = Full::<Bytes>::from(r#"{"access_token":"t"}"#);
        Ok::<_, BoxError>(Response::new(body))
    });
    assert_eq!(fetch(TokenEndpoint::new(http)).await.unwrap().secret(), "t");
    assert_eq!(fetch(endpoint(http)).await.unwrap().secret(), "t");
}
