use bytes::Bytes;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use tower_oauth2::{Credentials, Tokens};

fn tokens(credentials: Credentials, http: Client<HttpConnector, Full<Bytes>>) -> Tokens {
    Tokens::new(credentials, http)
}

fn main() {}
