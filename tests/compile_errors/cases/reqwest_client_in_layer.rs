use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tower_oauth2::OAuth2Layer;

fn send(layer: OAuth2Layer, http: reqwest::Client, request: Request<Full<Bytes>>) {
    let _ = layer.layer(http).send(request);
}

fn main() {}
