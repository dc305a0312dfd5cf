use http::Request;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use tower_oauth2::OAuth2;

type Body = http_body_util::combinators::BoxBody<bytes::Bytes, std::io::Error>;

fn send(api: OAuth2<Client<HttpConnector, Body>>, request: Request<Body>) {
    drop(api.send(request));
}

fn main() {}
