//! Tests the settings of the layer, and how requests name their tokens.

mod drain;
mod grpc_timeout;
mod header;
mod per_request;
mod request_ext;
mod send;
mod without_token;

use http::{Request, Response};
use http_body_util::Full;
use tower::BoxError;
use tower_oauth2::{Origins, TokenError, TokenErrorKind};

type HttpRequest = Request<Full<bytes::Bytes>>;
type HttpResponse = Response<Full<bytes::Bytes>>;

fn origins() -> Origins {
    Origins::only("https://api.test").unwrap()
}

fn foreign() -> HttpRequest {
    Request::get("https://foreign.test/").body(Full::default()).unwrap()
}

fn kind(result: Result<HttpResponse, BoxError>) -> TokenErrorKind {
    TokenError::find_in(&*result.unwrap_err()).expect("a token error").kind()
}
