//! A request and uploads through the proxy, and how much memory they take.

use http::header::{AUTHORIZATION, CONNECTION, HOST, RETRY_AFTER};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;
use tokio::task::JoinSet;
use tower::BoxError;
use tower_oauth2::TokenCache;

use crate::options::{Role, Size};
use crate::process::Process;
use crate::proxy;
use crate::support::issuer::Issuer;
use crate::support::report::{Report, Wire};
use crate::support::server;
use crate::upload::{Client, Upload};
use crate::upstream::{IMPATIENT, Upstream};

/// What is remembered of each upload.
const LIMIT_KIB: u64 = 64;

/// What the memory of two processes may differ by for no reason of theirs.
const NOISE_KIB: u64 = 4 * 1024;

pub(crate) async fn run(size: Size) -> Result<Report, BoxError> {
    let issuer = Issuer::new();
    let upstream = Upstream::new(&issuer);
    let upstream_origin = server::serve(upstream.clone()).await?;
    let token_endpoint = issuer.serve().await?;
    let callers = proxy::tokens(&token_endpoint)?;
    let with_token = Role::WithToken { upstream: upstream_origin.clone(), token_endpoint };
    let proxy = Process::start(&with_token)?;
    println!("upstream {upstream_origin}, proxy {}", proxy.origin);

    let report = Report::new(&issuer);
    let client = legacy::Client::builder(TokioExecutor::new()).build_http();
    let mut demo = Demo { issuer, upstream, upstream_origin, proxy, callers, client, report };
    demo.headers().await?;
    demo.early_rejection().await?;
    demo.late_rejection().await?;
    demo.memory(size, &with_token).await?;
    Ok(demo.report)
}

struct Demo {
    issuer: Issuer,
    upstream: Upstream,
    upstream_origin: String,
    proxy: Process,
    /// Tokens of callers that bring their own.
    callers: TokenCache,
    client: Client,
    report: Report,
}

impl Demo {
    async fn headers(&mut self) -> Result<(), BoxError> {
        self.report.begin("A request with headers that are not for the upstream");
        let request = Request::post(format!("{}/things?page=2", self.proxy.origin))
            .header(AUTHORIZATION, "Basic of-the-caller")
            .header("connection", "close, x-for-the-proxy")
            .header("x-for-the-proxy", "1")
            .header("x-for-all", "1")
            .body(Empty::new().boxed_unsync())?;
        let response = self.client.request(request).await?;
        self.report.expect("the caller gets 200", response.status() == StatusCode::OK);
        let Some(arrived) = self.upstream.last() else {
            return Err("no request arrived".into());
        };
        let has = |name, value: &str| arrived.headers.get(name).is_some_and(|v| v == value);
        let host = self.upstream_origin.trim_start_matches("http://");
        let is_rewritten = arrived.uri == "/things?page=2" && has(HOST, host);
        self.report.expect("it is for the upstream, path and query as they were", is_rewritten);
        let is_replaced = has(AUTHORIZATION, "Bearer token-1");
        self.report.expect("it has the service's token, not the caller's", is_replaced);
        let is_stripped = !arrived.headers.contains_key(CONNECTION)
            && !arrived.headers.contains_key("x-for-the-proxy")
            && arrived.headers.contains_key("x-for-all");
        self.report.expect("headers for the proxy stay there, others arrive", is_stripped);
        self.end(1, 0, 1, "one token request, of the proxy");
        Ok(())
    }

    async fn early_rejection(&mut self) -> Result<(), BoxError> {
        self.report.begin("8 MiB with a token that was revoked, refused when they begin to arrive");
        self.issuer.revoke_all();
        let upload = Upload { number: 1, mib: 8 };
        // The caller is slow: who is past the limit before the refusal is back ends as in the next
        // step.
        let let_in = self.upstream.let_in.clone();
        let body = upload.body_in_two(async move { let_in.notified().await });
        let request = upload.request(&self.proxy.origin, IMPATIENT).body(body)?;
        let response = self.client.request(request).await?;
        self.report.expect("the caller gets 200", response.status() == StatusCode::OK);
        self.arrived(upload, response).await?;
        self.end(2, 1, 1, "R4: the replay takes over the rest of the stream");
        Ok(())
    }

    async fn late_rejection(&mut self) -> Result<(), BoxError> {
        self.report.begin("8 MiB with a token that was revoked, refused when all have arrived");
        self.issuer.revoke_all();
        let upload = Upload { number: 2, mib: 8 };
        let response = self.client.request(upload.to(&self.proxy.origin)?).await?;
        let may_try_again = response.status() == StatusCode::SERVICE_UNAVAILABLE
            && response.headers().contains_key(RETRY_AFTER);
        self.report.expect("the caller gets 503 and may try again", may_try_again);
        let response = self.client.request(upload.to(&self.proxy.origin)?).await?;
        self.report.expect("then the caller gets 200", response.status() == StatusCode::OK);
        self.arrived(upload, response).await?;
        self.end(
            2,
            1,
            1,
            "R3: over the limit there is no replay, but a token for the next request",
        );
        Ok(())
    }

    async fn memory(&mut self, size: Size, with_token: &Role) -> Result<(), BoxError> {
        let Size { uploads, mib } = size;
        // One more to warm up.
        let requests = uploads as usize + 1;
        self.report.begin(format!("{uploads} uploads of {mib} MiB at once, without the layers"));
        let pass_through = Role::PassThrough { upstream: self.upstream_origin.clone() };
        let token = self.callers.get().await?;
        let without = self.grow(&pass_through, size, token.header_value()).await?;
        self.end(requests, 0, 1, "one token request, of the callers");

        self.report.begin(format!("{uploads} uploads of {mib} MiB at once, with the layers"));
        let of_the_caller = HeaderValue::from_static("Basic of-the-caller");
        let with = self.grow(with_token, size, &of_the_caller).await?;
        if let (Some(without), Some(with)) = (without, with) {
            let bound = uploads * LIMIT_KIB + NOISE_KIB;
            let more = with.saturating_sub(without);
            println!("  measured  {more} KiB more, {} KiB for each upload", more / uploads);
            self.report.expect(&format!("it is at most {bound} KiB"), more <= bound);
        }
        self.end(requests, 0, 1, "C2: one token request, of the proxy");
        Ok(())
    }

    /// By how many KiB a proxy of its own grows over what it takes when it is idle.
    async fn grow(
        &mut self,
        role: &Role,
        size: Size,
        authorization: &HeaderValue,
    ) -> Result<Option<u64>, BoxError> {
        let proxy = Process::start(role)?;
        let small = Upload { number: 0, mib: 1 };
        self.upload(&proxy, [small], authorization).await?;
        let idle = proxy.memory();
        let uploads = (1..=size.uploads).map(|number| Upload { number, mib: size.mib });
        self.upload(&proxy, uploads, authorization).await?;
        let (Some(idle), Some(after)) = (idle, proxy.memory()) else {
            println!("  skipped   this system does not tell how much memory a process takes");
            return Ok(None);
        };
        let grown = after.peak.saturating_sub(idle.now);
        println!("  measured  {} KiB idle, at most {} KiB, so {grown} more", idle.now, after.peak);
        Ok(Some(grown))
    }

    /// Sends uploads at the same time.
    async fn upload(
        &mut self,
        proxy: &Process,
        uploads: impl IntoIterator<Item = Upload>,
        authorization: &HeaderValue,
    ) -> Result<(), BoxError> {
        let mut sent = JoinSet::new();
        for upload in uploads {
            let mut request = upload.to(&proxy.origin)?;
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
            let client = self.client.clone();
            sent.spawn(async move {
                let (response, digest) = tokio::join!(client.request(request), upload.digest());
                let answer = response?.into_body().collect().await?.to_bytes();
                Ok::<_, BoxError>(answer == digest?)
            });
        }
        let (mut all, mut whole) = (0, 0);
        while let Some(is_whole) = sent.join_next().await {
            all += 1;
            whole += usize::from(is_whole??);
        }
        self.report.expect(&format!("{all} arrived whole: length and SHA-256"), whole == all);
        Ok(())
    }

    async fn arrived(
        &mut self,
        upload: Upload,
        response: Response<Incoming>,
    ) -> Result<(), BoxError> {
        let answer = response.into_body().collect().await?.to_bytes();
        let digest = upload.digest().await?;
        self.report.expect(&format!("what arrived is {digest}"), answer == digest);
        Ok(())
    }

    fn end(&mut self, api: usize, rejected: usize, token_endpoint: usize, rule: &str) {
        self.report.end(Wire { api, rejected, token_endpoint }, rule);
    }
}
