//! Grants other than client credentials.

mod exchange;
#[cfg(feature = "jwt")]
mod jwt_bearer;
mod refresh;
mod rotation;
mod secrets;
mod server;
mod several_apis;
mod takeover;
mod tokens_as_secret;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};

type HttpRequest = Request<Full<Bytes>>;
type HttpResponse = Response<Full<Bytes>>;

const ENDPOINT: &str = "https://auth.test/token";

fn answer(status: u16, body: impl Into<Bytes>) -> HttpResponse {
    let mut response = Response::new(Full::from(body.into()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

/// Returns the form of a token request, sorted by name.
async fn form(request: &HttpRequest) -> Vec<(String, String)> {
    let body = request.clone().into_body().collect().await.unwrap().to_bytes();
    let mut form: Vec<_> = form_urlencoded::parse(&body).into_owned().collect();
    form.sort_unstable();
    form
}

fn member<'a>(form: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut values = form.iter().filter(|(known, _)| known == name).map(|(_, value)| &**value);
    let value = values.next();
    assert_eq!(values.next(), None, "{name} is there twice");
    value
}

fn owned(form: &[(&str, &str)]) -> Vec<(String, String)> {
    form.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn grants_can_be_shared_between_threads() {
    fn is_shared<T: Send + Sync + Unpin + std::fmt::Debug + 'static>() {}
    fn is_cloned<T: Clone>() {}
    #[cfg(feature = "jwt")]
    is_shared::<tower_oauth2::grant::JwtBearer>();
    is_shared::<tower_oauth2::grant::TokenExchange>();
    is_shared::<tower_oauth2::grant::RefreshToken>();
    is_shared::<tower_oauth2::grant::RotatedToken>();
    is_cloned::<tower_oauth2::grant::TokenExchange>();
    is_cloned::<tower_oauth2::grant::RefreshToken>();
}
