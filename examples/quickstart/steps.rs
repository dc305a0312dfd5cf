//! Requests with and without a valid token, and the token requests that they cause.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::task::JoinSet;
use tower::{BoxError, Service, ServiceExt};
use tower_oauth2::replay::Replayed;

use crate::support::api::{Api, Digest};
use crate::support::issuer::Issuer;
use crate::support::report::{Report, Wire};
use crate::support::server;
use crate::{ApiClient, client};

const PERSON: &str = r#"{"name":"Alf"}"#;

pub(crate) async fn run() -> Result<Report, BoxError> {
    let mut demo = Demo::start().await?;
    let mut client = demo.client()?;
    demo.put_get_delete(&mut client).await?;
    demo.reuse(&mut client).await?;
    demo.expiry().await?;
    demo.revocation(&mut client).await?;
    demo.cold_callers().await?;
    Ok(demo.report)
}

struct Demo {
    issuer: Issuer,
    token_endpoint: String,
    api: Api,
    origin: String,
    report: Report,
}

impl Demo {
    async fn start() -> Result<Self, BoxError> {
        let issuer = Issuer::new();
        let token_endpoint = issuer.serve().await?;
        let api = Api::new(&issuer);
        let origin = server::serve(api.clone()).await?;
        println!("token endpoint {token_endpoint}, API {origin}");
        let report = Report::new(&issuer);
        Ok(Self { issuer, token_endpoint, api, origin, report })
    }

    fn client(&self) -> Result<ApiClient, BoxError> {
        client(&self.token_endpoint, &self.origin)
    }

    async fn put_get_delete(&mut self, client: &mut ApiClient) -> Result<(), BoxError> {
        self.report.begin("PUT, GET, DELETE");
        for (method, body) in [(Method::PUT, PERSON), (Method::GET, ""), (Method::DELETE, "")] {
            let effect = format!("{method} returns 200 and {PERSON}");
            let answer = send(client, self.request(method, body)?).await?;
            self.report.expect(&effect, answer.is(StatusCode::OK, PERSON));
        }
        self.report.end(
            Wire { api: 3, rejected: 0, token_endpoint: 1 },
            "C2: one token request, however many calls",
        );
        Ok(())
    }

    async fn reuse(&mut self, client: &mut ApiClient) -> Result<(), BoxError> {
        self.report.begin("Three more calls");
        for (method, body) in [(Method::PUT, PERSON), (Method::GET, ""), (Method::GET, "")] {
            send(client, self.request(method, body)?).await?;
        }
        self.report
            .end(Wire { api: 3, rejected: 0, token_endpoint: 0 }, "C1: a valid token is reused");
        Ok(())
    }

    async fn expiry(&mut self) -> Result<(), BoxError> {
        self.report.begin("Two calls, between which the token expires");
        let lifetime = Duration::from_secs(1);
        self.issuer.terms().lifetime = lifetime;
        let mut client = self.client()?;
        send(&mut client, self.request(Method::GET, "")?).await?;
        tokio::time::sleep(lifetime).await;
        send(&mut client, self.request(Method::GET, "")?).await?;
        self.issuer.terms().lifetime = Duration::from_secs(3600);
        self.report.end(
            Wire { api: 2, rejected: 0, token_endpoint: 2 },
            "C5: an expired token is not sent",
        );
        Ok(())
    }

    async fn revocation(&mut self, client: &mut ApiClient) -> Result<(), BoxError> {
        self.report.begin("PUT with a token that was revoked");
        self.issuer.revoke_all();
        let answer = send(client, self.request(Method::PUT, PERSON)?).await?;
        self.report.expect("the caller gets 200", answer.is(StatusCode::OK, PERSON));
        self.report.expect(
            "the response says that the request was replayed",
            answer.replayed == Some(Replayed::Yes),
        );
        let is_intact = self.api.bodies().ends_with(&[Digest::of([PERSON]); 2]);
        self.report.expect("the whole body arrived both times", is_intact);
        self.report.end(
            Wire { api: 2, rejected: 1, token_endpoint: 1 },
            "R1, R3: one replay, byte for byte, with a fresh token",
        );
        Ok(())
    }

    async fn cold_callers(&mut self) -> Result<(), BoxError> {
        const CALLERS: usize = 1000;
        self.report.begin("1,000 callers at once, and no token yet");
        // Long enough for most callers to arrive while the token request is in flight.
        self.issuer.terms().pause = Duration::from_millis(100);
        let client = self.client()?;
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            let (mut client, request) = (client.clone(), self.request(Method::GET, "")?);
            callers.spawn(async move { send(&mut client, request).await });
        }
        let mut served = 0;
        while let Some(answer) = callers.join_next().await {
            served += usize::from(answer??.is(StatusCode::OK, PERSON));
        }
        self.report.expect("every caller gets 200", served == CALLERS);
        self.report.end(
            Wire { api: CALLERS, rejected: 0, token_endpoint: 1 },
            "C2: one token request, however many callers",
        );
        Ok(())
    }

    fn request(&self, method: Method, body: &'static str) -> http::Result<Request<Full<Bytes>>> {
        Request::builder()
            .method(method)
            .uri(format!("{}/resource", self.origin))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::from(body))
    }
}

struct Answer {
    status: StatusCode,
    body: Bytes,
    replayed: Option<Replayed>,
}

impl Answer {
    fn is(&self, status: StatusCode, body: &str) -> bool {
        self.status == status && self.body == body
    }
}

async fn send(client: &mut ApiClient, request: Request<Full<Bytes>>) -> Result<Answer, BoxError> {
    let response = client.ready().await?.call(request).await?;
    Ok(Answer {
        status: response.status(),
        replayed: response.extensions().get().copied(),
        body: response.into_body().collect().await?.to_bytes(),
    })
}
