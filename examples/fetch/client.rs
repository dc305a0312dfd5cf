//! HTTP clients over TLS, with a layer that authorizes their requests.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use http_body_util::Full;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};
use tower::timeout::{Timeout, TimeoutLayer};
use tower::{BoxError, ServiceBuilder};
use tower_oauth2::replay::{ReplayBody, Replayable, ReplayableLayer};
use tower_oauth2::source::TokenRetry;
use tower_oauth2::{Credentials, OAuth2, OAuth2Layer, TokenEndpoint, Tokens};

use crate::chunks::Chunks;
use crate::count::{Count, CountLayer};
use crate::options::Options;

pub(crate) type Http<B> = legacy::Client<HttpsConnector<HttpConnector>, B>;
pub(crate) type Client = Timeout<OAuth2<Http<Full<Bytes>>>>;
pub(crate) type Streaming = Replayable<OAuth2<Http<ReplayBody<Chunks>>>>;

/// A client for bodies that are there as a whole.
pub(crate) async fn client(options: &Options, token_requests: &Count) -> Result<Client, BoxError> {
    let connector = connector(options)?;
    let credentials = credentials(options, connector.clone()).await?;
    Ok(ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_secs(30)))
        .layer(oauth2(options, credentials, connector.clone(), token_requests)?)
        .service(http(options, connector)))
}

/// A client for bodies that are read as they go out, which takes as long as it takes.
pub(crate) async fn streaming(
    options: &Options,
    replay_limit: Option<usize>,
    token_requests: &Count,
) -> Result<Streaming, BoxError> {
    let connector = connector(options)?;
    let credentials = credentials(options, connector.clone()).await?;
    let replayable = ReplayableLayer::new();
    Ok(ServiceBuilder::new()
        .layer(replay_limit.map_or(replayable, |limit| replayable.limit(limit)))
        .layer(oauth2(options, credentials, connector.clone(), token_requests)?)
        .service(http(options, connector)))
}

async fn credentials(
    options: &Options,
    connector: HttpsConnector<HttpConnector>,
) -> Result<Credentials, BoxError> {
    options.wanted.credentials(http(options, connector)).await
}

fn oauth2(
    options: &Options,
    credentials: Credentials,
    connector: HttpsConnector<HttpConnector>,
    token_requests: &Count,
) -> Result<OAuth2Layer, BoxError> {
    let endpoint = ServiceBuilder::new()
        .layer(CountLayer::new(token_requests.clone()))
        .service(http(options, connector));
    let roots = options.connection.roots.as_ref().map(|roots| &*roots.pem);
    let store = options
        .store
        .as_ref()
        .map(|store| store.layer(roots, options.seal_keys.as_ref()))
        .transpose()?;
    // A person or a script waits for the result, so a failure is reported at once.
    let endpoint = TokenEndpoint::new(endpoint).retry(TokenRetry::none());
    let source = ServiceBuilder::new().option_layer(store).service(endpoint);
    let tokens = Tokens::new(credentials, source);
    Ok(OAuth2Layer::new(tokens, options.origins.clone()))
}

/// It follows no redirects and asks for no compression.
fn http<B>(options: &Options, connector: HttpsConnector<HttpConnector>) -> Http<B>
where
    B: Body<Data: Send> + Send,
{
    legacy::Client::builder(TokioExecutor::new())
        .http2_only(options.connection.http2)
        .build(connector)
}

fn connector(options: &Options) -> Result<HttpsConnector<HttpConnector>, BoxError> {
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls(options)?).https_or_http();
    Ok(if options.connection.http2 {
        connector.enable_http2().build()
    } else {
        connector.enable_http1().build()
    })
}

fn tls(options: &Options) -> Result<ClientConfig, BoxError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = match &options.connection.roots {
        Some(roots) => config.with_root_certificates(roots.certificates.clone()),
        None if options.uses_tls() => config.try_with_platform_verifier().map_err(|error| {
            format!("the platform's certificates can not be used, --cacert gives others: {error}")
        })?,
        // A machine without any roots can still speak to itself.
        None => config.with_root_certificates(RootCertStore::empty()),
    };
    Ok(match &options.connection.identity {
        Some(identity) => config
            .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())
            .map_err(|error| format!("--cert and --key can not be used: {error}"))?,
        None => config.with_no_client_auth(),
    })
}
