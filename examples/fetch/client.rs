//! Creates HTTP clients over TLS, and the layer that authorizes their requests.

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
use tower::{BoxError, ServiceBuilder, ServiceExt};
use tower_oauth2::replay::{ReplayBody, Replayable, ReplayableLayer};
use tower_oauth2::source::TokenRetry;
use tower_oauth2::{OAuth2, OAuth2Layer, TokenEndpoint, TokenRequest, Tokens};

use crate::chunks::Chunks;
use crate::explain::{Explained, Transcript};
use crate::options::{Connection, Options, TokenOptions};
use crate::token_requests::TokenRequests;

pub(crate) type Http<B> = legacy::Client<HttpsConnector<HttpConnector>, B>;
pub(crate) type Client = Timeout<OAuth2<Http<Full<Bytes>>>>;
pub(crate) type Streaming = Replayable<OAuth2<Http<ReplayBody<Chunks>>>>;

/// Creates a client for bodies that are in memory.
pub(crate) async fn client(
    options: &Options,
    token_requests: &TokenRequests,
) -> Result<Client, BoxError> {
    let connector = Connector::new(&options.token, options.api_uses_tls())?;
    Ok(ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_secs(30)))
        .layer(oauth2(options, &connector, token_requests).await?)
        .service(connector.http()))
}

/// Creates a client for bodies that are sent while they are read. It has no time limit.
pub(crate) async fn streaming(
    options: &Options,
    replay_limit: Option<usize>,
    token_requests: &TokenRequests,
) -> Result<Streaming, BoxError> {
    let connector = Connector::new(&options.token, options.api_uses_tls())?;
    let replayable = ReplayableLayer::new();
    Ok(ServiceBuilder::new()
        .layer(replay_limit.map_or(replayable, |limit| replayable.limit(limit)))
        .layer(oauth2(options, &connector, token_requests).await?)
        .service(connector.http()))
}

/// Requests a token, and writes the token requests and responses into the transcript.
pub(crate) async fn explain(
    options: &TokenOptions,
    transcript: Transcript,
    token_requests: &TokenRequests,
) -> Result<(), BoxError> {
    let connector = Connector::new(options, false)?;
    let credentials = options.wanted.credentials(connector.http()).await?;
    let http = Explained::new(token_requests.watch(connector.http()), transcript);
    let endpoint = options.dialect.apply(TokenEndpoint::with_body(http))?;
    endpoint.retry(TokenRetry::none()).oneshot(TokenRequest::new(credentials)).await?;
    Ok(())
}

async fn oauth2(
    options: &Options,
    connector: &Connector,
    token_requests: &TokenRequests,
) -> Result<OAuth2Layer, BoxError> {
    let TokenOptions { wanted, dialect, connection } = &options.token;
    let credentials = wanted.credentials(connector.http()).await?;
    let endpoint = TokenEndpoint::with_body(token_requests.watch(connector.http()));
    // A person or a script waits for the result, so a failure is reported at once.
    let endpoint = dialect.apply(endpoint)?.retry(TokenRetry::none());
    let roots = connection.roots.as_ref().map(|roots| &*roots.pem);
    let store = options.store.as_ref();
    let store =
        store.map(|store| store.store.layer(roots, store.seal_keys.as_ref())).transpose()?;
    let source = ServiceBuilder::new().option_layer(store).service(endpoint);
    let layer = OAuth2Layer::new(Tokens::new(credentials, source), options.origins.clone());
    let layer = options.token_header.apply(layer)?;
    Ok(if dialect.allow_http { layer.dangerously_allow_http() } else { layer })
}

/// Opens the connections of all clients.
struct Connector {
    connector: HttpsConnector<HttpConnector>,
    http2: bool,
}

impl Connector {
    fn new(options: &TokenOptions, api_uses_tls: bool) -> Result<Self, BoxError> {
        let connection = &options.connection;
        let tls = tls(connection, api_uses_tls || options.wanted.uses_tls())?;
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        let http2 = connection.http2;
        let connector = match http2 {
            true => connector.enable_http2().build(),
            false => connector.enable_http1().build(),
        };
        Ok(Self { connector, http2 })
    }

    /// Creates a client that follows no redirects and asks for no compression.
    fn http<B>(&self) -> Http<B>
    where
        B: Body<Data: Send> + Send,
    {
        legacy::Client::builder(TokioExecutor::new())
            .http2_only(self.http2)
            .build(self.connector.clone())
    }
}

fn tls(connection: &Connection, uses_tls: bool) -> Result<ClientConfig, BoxError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = match &connection.roots {
        Some(roots) => config.with_root_certificates(roots.certificates.clone()),
        None if uses_tls => config.try_with_platform_verifier().map_err(|error| {
            format!("the platform's certificates cannot be used, set --cacert: {error}")
        })?,
        // A machine without root certificates can still use plain http on loopback.
        None => config.with_root_certificates(RootCertStore::empty()),
    };
    Ok(match &connection.identity {
        Some(identity) => config
            .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())
            .map_err(|error| format!("--cert and --key cannot be used: {error}"))?,
        None => config.with_no_client_auth(),
    })
}
