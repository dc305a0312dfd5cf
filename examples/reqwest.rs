//! Sends requests to the API and to the token endpoint with reqwest. You build requests as usual,
//! and each is sent with a token.

mod support;

use std::process::ExitCode;

use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;
use http_body::Frame;
use http_body_util::StreamBody;
use reqwest::multipart::{Form, Part};
use reqwest::redirect::Policy;
use serde_json::{Value, json};
use tower_oauth2::http_client::AuthorizedClient;
use tower_oauth2::replay::{NotReplayed, Replayed};
use tower_oauth2::{
    BoxError, ClientAuth, Credentials, OAuth2Layer, Origins, TokenEndpoint, Tokens,
};

use self::support::api::{Api, Digest};
use self::support::issuer::{CLIENT_ID, CLIENT_SECRET, Issuer};
use self::support::report::{Report, Wire, conclude};

/// Returns a client whose requests to `api` are sent with a token from `token_endpoint`.
fn authorized(
    http: &reqwest::Client,
    token_endpoint: &str,
    api: &str,
) -> Result<AuthorizedClient, BoxError> {
    let auth = ClientAuth::client_secret_basic(CLIENT_ID, CLIENT_SECRET);
    let credentials = Credentials::new(token_endpoint, auth)?;
    let tokens = Tokens::new(credentials, TokenEndpoint::new(http.clone()));
    let layer = OAuth2Layer::new(tokens, Origins::only(api)?);
    Ok(AuthorizedClient::new(http.clone(), layer))
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

    // reqwest follows redirects beneath the layer, which knows where tokens may go.
    let http = reqwest::Client::builder().redirect(Policy::none()).build()?;
    let client = authorized(&http, &token_endpoint, &origin)?;
    let url = format!("{origin}/resource");
    let report = Report::new(&issuer);
    let mut demo = Demo { issuer, api, http, client, url, report };
    demo.put_get_delete().await?;
    demo.revocation().await?;
    demo.form().await?;
    demo.stream().await?;
    demo.long_stream().await?;
    Ok(demo.report)
}

struct Demo {
    issuer: Issuer,
    api: Api,
    http: reqwest::Client,
    client: AuthorizedClient,
    url: String,
    report: Report,
}

fn alf() -> Value {
    json!({ "name": "Alf" })
}

impl Demo {
    async fn put_get_delete(&mut self) -> Result<(), BoxError> {
        self.report.begin("PUT, GET, DELETE");
        for request in [
            self.http.put(&self.url).json(&alf()),
            self.http.get(&self.url),
            self.http.delete(&self.url),
        ] {
            let response = self.client.send(request).await?.error_for_status()?;
            self.report.expect("the response has its URL", response.url().as_str() == self.url);
            self.report
                .expect("the response has the JSON", response.json::<Value>().await? == alf());
        }
        self.end(3, 0, 1, "C2: one token request, however many calls");
        Ok(())
    }

    async fn revocation(&mut self) -> Result<(), BoxError> {
        self.report.begin("PUT with a token that was revoked");
        self.issuer.revoke_all();
        let response = self.client.send(self.http.put(&self.url).json(&alf())).await?;
        self.expect_answer(&response, StatusCode::OK, Replayed::Yes);
        self.report.expect("the response has the JSON", response.json::<Value>().await? == alf());
        self.end(2, 1, 1, "R1, R3: one replay, byte for byte, with a fresh token");
        Ok(())
    }

    async fn form(&mut self) -> Result<(), BoxError> {
        self.report.begin("POST of a form with a file, and the token was revoked");
        self.issuer.revoke_all();
        let before = self.api.bodies().len();
        let file = Part::bytes(vec![7; 10 * 1024]).file_name("seven.bin");
        let form = Form::new().text("name", "Alf").part("file", file);
        let response = self.client.send(self.http.post(&self.url).multipart(form)).await?;
        self.expect_answer(&response, StatusCode::OK, Replayed::Yes);
        let bodies = &self.api.bodies()[before..];
        self.report.expect("the same form arrived both times", bodies[0] == bodies[1]);
        self.end(2, 1, 1, "R3: a form is a stream, and within the limit");
        Ok(())
    }

    async fn stream(&mut self) -> Result<(), BoxError> {
        self.report.begin("POST of a stream of 48 KiB, and the token was revoked");
        self.issuer.revoke_all();
        let before = self.api.bodies().len();
        let request = self.http.post(&self.url).body(stream_of(3));
        let response = self.client.send(request).await?;
        self.expect_answer(&response, StatusCode::OK, Replayed::Yes);
        let is_intact = self.api.bodies()[before..] == [digest_of(3); 2];
        self.report.expect("the whole stream arrived both times", is_intact);
        self.end(2, 1, 1, "R3: a stream within the limit is sent again");
        Ok(())
    }

    async fn long_stream(&mut self) -> Result<(), BoxError> {
        self.report.begin("POST of a stream of 1 MiB, and the token was revoked");
        self.issuer.revoke_all();
        let before = self.api.bodies().len();
        let request = self.http.post(&self.url).body(stream_of(64));
        let response = self.client.send(request).await?;
        let not_replayed = Replayed::No(NotReplayed::Body);
        self.expect_answer(&response, StatusCode::UNAUTHORIZED, not_replayed);

        let request = self.http.post(&self.url).body(stream_of(64));
        let response = self.client.send(request).await?;
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

/// Returns a body of unknown length, in chunks of 16 KiB.
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
