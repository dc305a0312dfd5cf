//! Streaming uploads with hyper-util's client, over HTTP/1.1 and HTTP/2 with TLS.
//!
//! A body that is still being made can not be cloned. `ReplayableLayer` remembers what has gone out of
//! it, so that a revoked token costs the caller nothing.

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

/// Any body, be it a stream or none.
type Body = UnsyncBoxBody<Bytes, Infallible>;
type Http<B> = legacy::Client<HttpsConnector<HttpConnector>, B>;
type Client = Replayable<OAuth2<Http<ReplayBody<Body>>>>;

const KIB: usize = 1024;

/// How much of a body is remembered.
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

/// The token endpoint gets small bodies, for which no layer is needed.
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
        self.report.expect("the upload is answered with its digest", upload.is_receipt(16 * KIB));
        let get = Request::get(format!("{}/nothing", self.origin));
        let get = send(client, get.body(Empty::new().boxed_unsync())?).await?;
        self.report.expect("the GET is answered too", get.status == StatusCode::NOT_FOUND);
        let is_asked_for = upload.version == version && get.version == version;
        self.report.expect("both in the version that was asked for", is_asked_for);
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
        self.report.expect("the upload is answered with its digest", answer.is_receipt(LIMIT));
        self.report.expect("it was replayed", answer.replayed == Some(Replayed::Yes));
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
        self.report.begin(format!("{version:?}: the same, with more than is remembered"));
        self.issuer.revoke_all();
        let answer = self.upload(client, LIMIT + 1).await?;
        self.report.expect("the caller gets the 401", answer.status == StatusCode::UNAUTHORIZED);
        let why = Some(Replayed::No(NotReplayed::Body));
        self.report.expect("and reads why it was not replayed", answer.replayed == why);
        let answer = self.upload(client, LIMIT + 1).await?;
        self.report.expect("the next upload passes", answer.is_receipt(LIMIT + 1));
        self.report.end(
            Wire { api: 2, rejected: 1, token_endpoint: 1 },
            "R3: never a cut body; the token is replaced for the next request",
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

/// `length` bytes, in chunks of no particular size.
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
    /// Whether the API has seen an upload of this length as it was sent.
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
