//! Streams uploads with hyper-util's client, over HTTP/1.1 and HTTP/2 with TLS.
//!
//! A streaming body cannot be cloned. `ReplayableLayer` buffers the part that has been sent, so
//! that the request can be replayed when its token has been revoked.

mod support;

use std::convert::Infallible;
use std::process::ExitCode;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http::{Request, StatusCode, Version};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};
use tower_oauth2::replay::{NotReplayed, ReplayBody, Replayable, ReplayableLayer, Replayed};
use tower_oauth2::{ClientAuth, Credentials, OAuth2, OAuth2Layer, Origins, TokenEndpoint, Tokens};

use crate::support::api::{Api, Digest};
use crate::support::issuer::{CLIENT_ID, CLIENT_SECRET, Issuer};
use crate::support::report::{self, Report, Wire};
use crate::support::tls::Ca;

/// A type-erased body: a stream, or empty.
type Body = UnsyncBoxBody<Bytes, Infallible>;
type Http<B> = legacy::Client<HttpsConnector<HttpConnector>, B>;
type Client = Replayable<OAuth2<Http<ReplayBody<Body>>>>;

const KIB: usize = 1024;

/// The most bytes of a body that are buffered for a replay.
const LIMIT: usize = 32 * KIB;

fn connector(
    roots: RootCertStore,
    version: Version,
) -> Result<HttpsConnector<HttpConnector>, BoxError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    Ok(match version {
        Version::HTTP_2 => connector.enable_http2().build(),
        _ => connector.enable_http1().build(),
    })
}

fn http<B>(connector: HttpsConnector<HttpConnector>) -> Http<B>
where
    B: http_body::Body<Data: Send> + Send,
{
    legacy::Client::builder(TokioExecutor::new()).build(connector)
}

/// Creates the tokens. Token requests have small bodies that can be cloned, so their client needs
/// no `ReplayableLayer`.
fn tokens(token_endpoint: &str, http: Http<Full<Bytes>>) -> Result<Tokens, BoxError> {
    let auth = ClientAuth::client_secret_basic(CLIENT_ID, CLIENT_SECRET);
    let credentials = Credentials::new(token_endpoint, auth)?;
    Ok(Tokens::new(credentials, TokenEndpoint::new(http)))
}

fn client(tokens: Tokens, api: &str, http: Http<ReplayBody<Body>>) -> Result<Client, BoxError> {
    Ok(ServiceBuilder::new()
        .layer(ReplayableLayer::new().limit(LIMIT))
        .layer(OAuth2Layer::new(tokens, Origins::only([api])?))
        .service(http))
}

#[tokio::main]
async fn main() -> ExitCode {
    report::conclude(run().await)
}

async fn run() -> Result<Report, BoxError> {
    let issuer = Issuer::new();
    let token_endpoint = issuer.serve().await?;
    let api = Api::new(&issuer);
    let ca = Ca::new()?;
    let origin = ca.serve(api.clone()).await?;
    println!("token endpoint {token_endpoint}, API {origin}");

    let mut demo = Demo { report: Report::new(&issuer), issuer, api, origin };
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let tokens = tokens(&token_endpoint, http(connector(ca.roots(), Version::HTTP_11)?))?;
        let http = http(connector(ca.roots(), version)?);
        let mut client = client(tokens, &demo.origin, http)?;
        demo.reuse(&mut client, version).await?;
        demo.revocation(&mut client, version).await?;
        demo.over_the_limit(&mut client, version).await?;
    }
    Ok(demo.report)
}

struct Demo {
    issuer: Issuer,
    api: Api,
    origin: String,
    report: Report,
}

impl Demo {
    async fn reuse(&mut self, client: &mut Client, version: Version) -> Result<(), BoxError> {
        self.report.begin(format!("{version:?}: an upload in chunks, and a GET"));
        let upload = self.upload(client, 16 * KIB).await?;
        self.report.expect("the response is the digest of the upload", upload.is_receipt(16 * KIB));
        let get = Request::get(format!("{}/nothing", self.origin));
        let get = send(client, get.body(Empty::new().boxed_unsync())?).await?;
        self.report.expect("the GET returns 404", get.status == StatusCode::NOT_FOUND);
        let is_expected = upload.version == version && get.version == version;
        self.report.expect("both responses have that HTTP version", is_expected);
        self.report.end(
            Wire { api: 2, rejected: 0, token_endpoint: 1 },
            "C1, C2: both requests share one token request",
        );
        Ok(())
    }

    async fn revocation(&mut self, client: &mut Client, version: Version) -> Result<(), BoxError> {
        self.report.begin(format!("{version:?}: an upload with a token that was revoked"));
        self.issuer.revoke_all();
        let answer = self.upload(client, LIMIT).await?;
        self.report.expect("the response is the digest of the upload", answer.is_receipt(LIMIT));
        self.report.expect("the request was replayed", answer.replayed == Some(Replayed::Yes));
        let is_intact = self.api.bodies().ends_with(&[Digest::of(chunks(LIMIT)); 2]);
        self.report.expect("the whole body arrived both times", is_intact);
        self.report.end(
            Wire { api: 2, rejected: 1, token_endpoint: 1 },
            "R1, R3: one replay, byte for byte, with a fresh token",
        );
        Ok(())
    }

    async fn over_the_limit(
        &mut self,
        client: &mut Client,
        version: Version,
    ) -> Result<(), BoxError> {
        self.report
            .begin(format!("{version:?}: an upload over the limit with a token that was revoked"));
        self.issuer.revoke_all();
        let answer = self.upload(client, LIMIT + 1).await?;
        self.report.expect("the caller gets the 401", answer.status == StatusCode::UNAUTHORIZED);
        let why = Some(Replayed::No(NotReplayed::Body));
        self.report.expect("the response says why it was not replayed", answer.replayed == why);
        let answer = self.upload(client, LIMIT + 1).await?;
        self.report.expect("the next upload succeeds", answer.is_receipt(LIMIT + 1));
        self.report.end(
            Wire { api: 2, rejected: 1, token_endpoint: 1 },
            "R3: a truncated body is never sent; the next request gets a new token",
        );
        Ok(())
    }

    async fn upload(&self, client: &mut Client, length: usize) -> Result<Answer, BoxError> {
        let frames = chunks(length).map(|chunk| Ok(Frame::data(chunk)));
        let body = StreamBody::new(stream::iter(frames)).boxed_unsync();
        let request = Request::post(format!("{}/uploads", self.origin)).body(body)?;
        send(client, request).await
    }
}

/// Returns `length` bytes in chunks of at most 1,000.
fn chunks(length: usize) -> impl Iterator<Item = Bytes> + Send {
    const SIZE: usize = 1000;
    let ends = (0..length).step_by(SIZE).map(move |start| SIZE.min(length - start));
    ends.enumerate().map(|(number, size)| Bytes::from(vec![number as u8; size]))
}

struct Answer {
    status: StatusCode,
    version: Version,
    replayed: Option<Replayed>,
    body: Bytes,
}

impl Answer {
    /// Returns whether the API received an upload of this length unchanged.
    fn is_receipt(&self, length: usize) -> bool {
        self.status == StatusCode::OK && self.body == Digest::of(chunks(length)).to_string()
    }
}

async fn send(client: &mut Client, request: Request<Body>) -> Result<Answer, BoxError> {
    let response = client.ready().await?.call(request).await?;
    Ok(Answer {
        status: response.status(),
        version: response.version(),
        replayed: response.extensions().get().copied(),
        body: response.into_body().collect().await?.to_bytes(),
    })
}
