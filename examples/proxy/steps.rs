//! Requests and uploads through the proxy, and the memory that they use.

use std::time::Duration;

use http::header::{AUTHORIZATION, CONNECTION, HOST, RETRY_AFTER};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower::BoxError;
use tower_oauth2::Tokens;

use crate::options::{Role, Size};
use crate::process::Process;
use crate::proxy;
use crate::support::issuer::Issuer;
use crate::support::report::{Report, Wire};
use crate::support::server;
use crate::upload::{Body, Client, Upload};
use crate::upstream::Upstream;

/// The part of each upload that the proxy buffers for a replay.
const LIMIT_KIB: u64 = 64;

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
    demo.trace().await?;
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
    /// Tokens of callers that authenticate to the upstream themselves.
    callers: Tokens,
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
        self.report.expect(
            "the request has the upstream's host, and its path and query are unchanged",
            is_rewritten,
        );
        let is_replaced = has(AUTHORIZATION, "Bearer token-1");
        self.report
            .expect("the request has the service's token instead of the caller's", is_replaced);
        let is_stripped = !arrived.headers.contains_key(CONNECTION)
            && !arrived.headers.contains_key("x-for-the-proxy")
            && arrived.headers.contains_key("x-for-all");
        self.report
            .expect("headers for the proxy are removed, and others are forwarded", is_stripped);
        self.end(1, 0, 1, "one token request, by the proxy");
        Ok(())
    }

    async fn trace(&mut self) -> Result<(), BoxError> {
        self.report.begin("A TRACE request, whose response would show the token");
        let request = Request::builder().method(Method::TRACE).uri(&self.proxy.origin);
        let response = self.client.request(request.body(Empty::new().boxed_unsync())?).await?;
        let is_refused = response.status() == StatusCode::METHOD_NOT_ALLOWED;
        self.report.expect("the caller gets 405", is_refused);
        self.end(0, 0, 0, "W11: TRACE is never sent with a token");
        Ok(())
    }

    async fn early_rejection(&mut self) -> Result<(), BoxError> {
        self.report.begin(
            "An 8 MiB upload with a token that was revoked; the 401 comes after the first 64 KiB",
        );
        self.issuer.revoke_all();
        let upload = Upload { number: 1, mib: 8 };
        // The caller waits after 64 KiB. If it sent more before the 401 arrived, there would be no
        // replay, as in the next step.
        let upstream = self.upstream.clone();
        let ready = async move { upstream.accepted(1).await };
        let response = self.client.request(upload.in_two(&self.proxy.origin, ready)?).await?;
        self.report.expect("the caller gets 200", response.status() == StatusCode::OK);
        let answer = response.into_body().collect().await?.to_bytes();
        let digest = upload.digest().await?.to_string();
        self.report.expect(&format!("the upload arrived whole: {digest}"), answer == digest);
        self.end(2, 1, 1, "R4: the replay sends the buffered part and then the rest of the stream");
        Ok(())
    }

    async fn late_rejection(&mut self) -> Result<(), BoxError> {
        self.report.begin(
            "An 8 MiB upload with a token that was revoked; the 401 comes after the whole body",
        );
        self.issuer.revoke_all();
        let upload = Upload { number: 2, mib: 8 };
        let response = self.client.request(upload.to(&self.proxy.origin)?).await?;
        let may_retry = response.status() == StatusCode::SERVICE_UNAVAILABLE
            && response.headers().contains_key(RETRY_AFTER);
        self.report.expect("the caller gets 503 with Retry-After", may_retry);
        let response = self.client.request(upload.to(&self.proxy.origin)?).await?;
        self.report.expect("the second attempt returns 200", response.status() == StatusCode::OK);
        let answer = response.into_body().collect().await?.to_bytes();
        let digest = upload.digest().await?.to_string();
        self.report.expect(&format!("the upload arrived whole: {digest}"), answer == digest);
        let is_whole = self.upstream.bodies().ends_with(&[upload.digest().await?; 2]);
        self.report.expect("the whole body arrived both times", is_whole);
        self.end(2, 1, 1, "R3: no replay over the limit; the next request gets a new token");
        Ok(())
    }

    async fn memory(&mut self, size: Size, with_token: &Role) -> Result<(), BoxError> {
        let Size { uploads, mib } = size;
        let uploads_sent = 1 + 2 * uploads as usize;
        self.report.begin(format!("{uploads} uploads of {mib} MiB at once, without the layers"));
        let pass_through = Role::PassThrough { upstream: self.upstream_origin.clone() };
        let token = self.callers.get().await?;
        let without = self.grow(&pass_through, size, token.header_value()).await?;
        self.end(uploads_sent, 0, 1, "one token request, by the callers");

        self.report.begin(format!("{uploads} uploads of {mib} MiB at once, with the layers"));
        let of_the_caller = HeaderValue::from_static("Basic of-the-caller");
        let with = self.grow(with_token, size, &of_the_caller).await?;
        self.end(uploads_sent, 0, 1, "C2: one token request, by the proxy");

        self.report.begin("Memory used by the layers");
        let (Some(without), Some(with)) = (without, with) else {
            println!("  skipped   the memory of a process is only measured on Linux");
            return Ok(());
        };
        let buffered = u64::from(uploads) * LIMIT_KIB;
        let more = with.held.saturating_sub(without.held);
        self.report.expect(
            &format!(
                "{more} KiB while all uploads wait, at most the {buffered} KiB that are buffered"
            ),
            more <= buffered,
        );
        let half = u64::from(uploads) * mib * 1024 / 2;
        self.report
            .expect("the proxy never uses half the size of the uploads", with.at_most <= half);
        Ok(())
    }

    /// Starts another proxy, sends uploads through it, and returns the growth of its memory.
    /// Returns `None` on systems other than Linux.
    async fn grow(
        &mut self,
        role: &Role,
        size: Size,
        authorization: &HeaderValue,
    ) -> Result<Option<Growth>, BoxError> {
        let Size { uploads, mib } = size;
        let proxy = Process::start(role)?;
        let requests = Requests { origin: &proxy.origin, authorization };
        let warm_up = self.start(1, 1, |upload| requests.whole(upload))?;
        self.expect_arrivals(warm_up).await?;
        let idle = proxy.memory();

        let (go, wait) = watch::channel(false);
        let held = self.start(uploads, 1, |upload| requests.held(upload, wait.clone()))?;
        timeout(Duration::from_secs(60), self.upstream.accepted(uploads)).await?;
        let while_held = proxy.memory();
        go.send(true)?;
        self.expect_arrivals(held).await?;

        let whole = self.start(uploads, mib, |upload| requests.whole(upload))?;
        self.expect_arrivals(whole).await?;
        let (Some(idle), Some(held), Some(after)) = (idle, while_held, proxy.memory()) else {
            return Ok(None);
        };
        let growth = Growth {
            held: held.now.saturating_sub(idle.now),
            at_most: after.peak.saturating_sub(idle.now),
        };
        println!("  measured  {} KiB when idle", idle.now);
        println!("  measured  {} KiB more while all uploads wait after 64 KiB", growth.held);
        println!("  measured  {} KiB more at most", growth.at_most);
        Ok(Some(growth))
    }

    /// Starts uploads at the same time. Each task returns whether its upload arrived whole.
    fn start(
        &self,
        uploads: u32,
        mib: u64,
        request: impl Fn(Upload) -> http::Result<Request<Body>>,
    ) -> http::Result<JoinSet<Result<bool, BoxError>>> {
        let mut started = JoinSet::new();
        for number in 1..=uploads {
            let upload = Upload { number, mib };
            let response = self.client.request(request(upload)?);
            started.spawn(async move {
                let (response, digest) = tokio::join!(response, upload.digest());
                let answer = response?.into_body().collect().await?.to_bytes();
                Ok(answer == digest?.to_string())
            });
        }
        Ok(started)
    }

    async fn expect_arrivals(
        &mut self,
        mut started: JoinSet<Result<bool, BoxError>>,
    ) -> Result<(), BoxError> {
        let (mut all, mut whole) = (0, 0);
        while let Some(is_whole) = started.join_next().await {
            all += 1;
            whole += usize::from(is_whole??);
        }
        self.report
            .expect(&format!("{all} uploads arrived whole: length and SHA-256"), whole == all);
        Ok(())
    }

    fn end(&mut self, api: usize, rejected: usize, token_endpoint: usize, rule: &str) {
        self.report.end(Wire { api, rejected, token_endpoint }, rule);
    }
}

struct Requests<'a> {
    origin: &'a str,
    authorization: &'a HeaderValue,
}

impl Requests<'_> {
    fn whole(&self, upload: Upload) -> http::Result<Request<Body>> {
        upload.to(self.origin).map(|request| self.authorized(request))
    }

    /// Creates a request whose body waits after the first chunk until `wait` is true.
    fn held(&self, upload: Upload, mut wait: watch::Receiver<bool>) -> http::Result<Request<Body>> {
        let ready = async move {
            // Fails if the demo has dropped the sender after an error.
            let _ = wait.wait_for(|go| *go).await;
        };
        upload.in_two(self.origin, ready).map(|request| self.authorized(request))
    }

    fn authorized(&self, mut request: Request<Body>) -> Request<Body> {
        request.headers_mut().insert(AUTHORIZATION, self.authorization.clone());
        request
    }
}

/// Growth of a proxy's memory over its idle memory, in KiB.
struct Growth {
    /// Growth while all uploads wait after the part that is buffered.
    held: u64,
    /// Growth of the peak.
    at_most: u64,
}
