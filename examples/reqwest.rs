//! reqwest, for the API and for the token endpoint: requests are built as ever, and each leaves with
//! a token.

#[path = "support/api.rs"]
mod api;
mod support;

use std::process::ExitCode;

use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;
use http_body::{Body, Frame};
use http_body_util::StreamBody;
use reqwest::ResponseBuilderExt;
use reqwest::redirect::Policy;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_oauth2::replay::{NotReplayed, ReplayableLayer, Replayed};
use tower_oauth2::{ClientAuth, Credentials, OAuth2Layer, Origins, TokenEndpoint, Tokens};

use self::api::{Api, Digest};
use self::support::issuer::{CLIENT_ID, CLIENT_SECRET, Issuer};
use self::support::report::{Report, Wire, conclude};

type ApiClient =
    BoxCloneSyncService<http::Request<reqwest::Body>, http::Response<reqwest::Body>, BoxError>;

/// A client whose requests to `api` leave with a token from `token_endpoint`.
fn authorized(
    client: &reqwest::Client,
    token_endpoint: &str,
    api: &str,
) -> Result<ApiClient, BoxError> {
    let credentials = Credentials::new(
        token_endpoint,
        ClientAuth::client_secret_basic(CLIENT_ID, CLIENT_SECRET),
    )?;
    let tokens = Tokens::new(credentials, TokenEndpoint::new(http_service(client.clone())));
    let service = ServiceBuilder::new()
        // reqwest's bodies are streams: they are remembered as they go out.
        .layer(ReplayableLayer::new())
        .layer(OAuth2Layer::new(tokens, Origins::only([api])?))
        .service(http_service(client.clone()));
    Ok(BoxCloneSyncService::new(service))
}

/// `client` as a service of HTTP requests with bodies of any kind.
fn http_service<B>(
    client: reqwest::Client,
) -> impl Service<
    http::Request<B>,
    Response = http::Response<reqwest::Body>,
    Error = reqwest::Error,
    Future: Send,
> + Clone
+ Send
+ Sync
+ 'static
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Sync + 'static,
{
    service_fn(move |request: http::Request<B>| {
        let client = client.clone();
        async move {
            let request = request.map(reqwest::Body::wrap).try_into()?;
            client.execute(request).await.map(Into::into)
        }
    })
}

/// What `request.send()` was.
async fn send(
    api: &mut ApiClient,
    request: reqwest::RequestBuilder,
) -> Result<reqwest::Response, BoxError> {
    let request = request.build()?;
    let url = request.url().clone();
    let mut response = api.ready().await?.call(request.try_into()?).await?;
    // The URL does not survive the way through `http::Response`, and `error_for_status` names it.
    let (head, ()) = http::Response::builder().url(url).body(())?.into_parts();
    response.extensions_mut().extend(head.extensions);
    Ok(response.into())
}

#[tokio::main]
async fn main() -> ExitCode {
    conclude(run().await)
}

async fn run() -> Result<Report, BoxError> {
    let issuer = Issuer::new();
    let token_endpoint = issuer.serve().await?;
    let api = Api::new(&issuer);
    let origin = support::server::serve(api.clone()).await?;
    println!("token endpoint {token_endpoint}, API {origin}");

    // A redirect that reqwest followed would never pass the layer, which knows where tokens may go.
    let http = reqwest::Client::builder().redirect(Policy::none()).build()?;
    let client = authorized(&http, &token_endpoint, &origin)?;
    let url = format!("{origin}/resource");
    let report = Report::new(&issuer);
    let mut demo = Demo { issuer, api, http, client, url, report };
    demo.put_get_delete().await?;
    demo.revocation().await?;
    demo.stream().await?;
    demo.long_stream().await?;
    Ok(demo.report)
}

struct Demo {
    issuer: Issuer,
    api: Api,
    http: reqwest::Client,
    client: ApiClient,
    url: String,
    report: Report,
}

const ALF: &str = r#"{"name":"Alf"}"#;

impl Demo {
    async fn put_get_delete(&mut self) -> Result<(), BoxError> {
        self.report.begin("PUT, GET, DELETE");
        for request in [
            self.http.put(&self.url).body(ALF),
            self.http.get(&self.url),
            self.http.delete(&self.url),
        ] {
            let response = send(&mut self.client, request).await?.error_for_status()?;
            self.report.expect("the response knows its URL", response.url().as_str() == self.url);
            self.report.expect("the answer is what was put", response.text().await? == ALF);
        }
        self.end(3, 0, 1, "C2: one token request, however many calls");
        Ok(())
    }

    async fn revocation(&mut self) -> Result<(), BoxError> {
        self.report.begin("PUT with a token that was revoked");
        self.issuer.revoke_all();
        let request = self.http.put(&self.url).body(ALF);
        let response = send(&mut self.client, request).await?;
        self.expect_answer(&response, StatusCode::OK, Replayed::Yes);
        self.report.expect("the answer is what was put", response.text().await? == ALF);
        self.end(2, 1, 1, "R1, R3: one replay, byte for byte, with a fresh token");
        Ok(())
    }

    async fn stream(&mut self) -> Result<(), BoxError> {
        self.report.begin("POST of a stream of 48 KiB, and the token was revoked");
        self.issuer.revoke_all();
        let before = self.api.bodies().len();
        let request = self.http.post(&self.url).body(stream_of(3));
        let response = send(&mut self.client, request).await?;
        self.expect_answer(&response, StatusCode::OK, Replayed::Yes);
        let is_intact = self.api.bodies()[before..] == [digest_of(3); 2];
        self.report.expect("the whole stream arrived both times", is_intact);
        self.end(2, 1, 1, "R3: what went out is within the limit, and sent again");
        Ok(())
    }

    async fn long_stream(&mut self) -> Result<(), BoxError> {
        self.report.begin("POST of a stream of 1 MiB, and the token was revoked");
        self.issuer.revoke_all();
        let before = self.api.bodies().len();
        let request = self.http.post(&self.url).body(stream_of(64));
        let response = send(&mut self.client, request).await?;
        let not_replayed = Replayed::No(NotReplayed::Body);
        self.expect_answer(&response, StatusCode::UNAUTHORIZED, not_replayed);

        let request = self.http.post(&self.url).body(stream_of(64));
        let response = send(&mut self.client, request).await?;
        self.report.expect("the caller tries again and gets 200", response.status() == 200);
        let is_intact = self.api.bodies()[before..] == [digest_of(64); 2];
        self.report.expect("the whole stream arrived both times", is_intact);
        self.end(2, 1, 1, "R3: over the limit, the 401 is returned and the token renewed");
        Ok(())
    }

    fn expect_answer(
        &mut self,
        response: &reqwest::Response,
        status: StatusCode,
        replayed: Replayed,
    ) {
        self.report.expect(&format!("the caller gets {status}"), response.status() == status);
        self.report.expect(
            &format!("the response says Replayed::{replayed:?}"),
            response.extensions().get() == Some(&replayed),
        );
    }

    fn end(&mut self, api: usize, rejected: usize, token_endpoint: usize, rule: &str) {
        self.report.end(Wire { api, rejected, token_endpoint }, rule);
    }
}

/// A body that nobody knows the length of, in chunks of 16 KiB.
fn stream_of(chunks: u8) -> reqwest::Body {
    let frames = chunks_of(chunks).map(|chunk| Ok::<_, BoxError>(Frame::data(chunk)));
    reqwest::Body::wrap(StreamBody::new(stream::iter(frames)))
}

fn digest_of(chunks: u8) -> Digest {
    Digest::of(chunks_of(chunks))
}

fn chunks_of(count: u8) -> impl Iterator<Item = Bytes> + Send + Sync + 'static {
    (0..count).map(|number| Bytes::from(vec![number; 16 * 1024]))
}
