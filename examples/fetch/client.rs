//! An HTTP client over TLS, with a layer that authorizes its requests.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};
use tower::timeout::{Timeout, TimeoutLayer};
use tower::{BoxError, ServiceBuilder};
use tower_oauth2::{OAuth2, OAuth2Layer, Origins, TokenCache, TokenEndpoint};

use crate::count::{Count, CountLayer};
use crate::options::Options;

type Http = legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;
pub(crate) type Client = Timeout<OAuth2<Http>>;

/// A client for the API's origin, and for no other.
pub(crate) fn client(options: &Options, token_requests: &Count) -> Result<Client, BoxError> {
    let http = http(options)?;
    let endpoint =
        ServiceBuilder::new().layer(CountLayer::new(token_requests.clone())).service(http.clone());
    let tokens = TokenCache::new(options.credentials.clone(), TokenEndpoint::new(endpoint));
    let origins = Origins::only([options.request.origin()])?;
    Ok(ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_secs(30)))
        .layer(OAuth2Layer::new(tokens, origins))
        .service(http))
}

/// It follows no redirects and asks for no compression.
fn http(options: &Options) -> Result<Http, BoxError> {
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls(options)?)
        .https_or_http()
        .enable_http1()
        .build();
    Ok(legacy::Client::builder(TokioExecutor::new()).build(connector))
}

fn tls(options: &Options) -> Result<ClientConfig, BoxError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = match &options.roots {
        Some(roots) => config.with_root_certificates(roots.clone()),
        None if options.uses_tls() => config.try_with_platform_verifier().map_err(|error| {
            format!("the platform's certificates can not be used, --cacert gives others: {error}")
        })?,
        // A machine without any roots can still speak to itself.
        None => config.with_root_certificates(RootCertStore::empty()),
    };
    Ok(config.with_no_client_auth())
}
