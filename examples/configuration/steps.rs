//! Changes of the file, and their effects.

use std::convert::Infallible;
use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tower::{BoxError, service_fn};

use crate::service::Service;
use crate::support::issuer::{CLIENT_ID, CLIENT_SECRET, Issuer};
use crate::support::report::{Report, Wire};
use crate::support::server;

pub(crate) async fn run() -> Result<Report, BoxError> {
    let issuer = Issuer::new();
    let token_endpoint = issuer.serve().await?;
    let [stock, mail] = [serve_api(&issuer).await?, serve_api(&issuer).await?];
    println!("token endpoint {token_endpoint}, APIs {stock} and {mail}");

    let folder = std::env::temp_dir().join(format!("configuration-{}", std::process::id()));
    fs::create_dir(&folder)?;
    fs::write(folder.join("secret"), CLIENT_SECRET)?;
    let report = Report::new(&issuer);
    let mut demo = Demo { token_endpoint, stock, mail, folder, report };
    let result = demo.run(&issuer).await;
    fs::remove_dir_all(&demo.folder)?;
    result.map(|()| demo.report)
}

struct Demo {
    token_endpoint: String,
    stock: String,
    mail: String,
    folder: PathBuf,
    report: Report,
}

impl Demo {
    async fn run(&mut self, issuer: &Issuer) -> Result<(), BoxError> {
        let config = self.config("scope = \"stock.read\"");
        self.write(&config)?;
        let service = Service::new(&config)?;
        let (sender, mut reloads) = unbounded_channel();
        let watching = service.clone().watch(self.folder.join("clients.toml"), config, move |to| {
            let _ = sender.send(to);
        });
        let watching = tokio::spawn(watching);

        self.report.begin("Two APIs, each with its own client table");
        self.call_both(&service).await?;
        self.end(2, 2, "C2: one token request for each client table");

        self.report.begin("The client table of stock gets another scope");
        let changed = self.config("scope = \"stock.read stock.write\"");
        self.write(&changed)?;
        self.expect_reload(&mut reloads, None).await;
        self.call_both(&service).await?;
        self.end(2, 1, "S2: stock gets a new token, and mail keeps its own");

        self.report.begin("The file gets a field that does not exist");
        self.write(&self.config("scop = \"stock.read\""))?;
        let expected = "client stock: client table has an unknown field: scop";
        self.expect_reload(&mut reloads, Some(expected)).await;
        self.call_both(&service).await?;
        self.end(2, 0, "the old configuration stays in use");

        self.report.begin("The file is repaired, and the tokens have been revoked");
        self.write(&changed)?;
        self.expect_reload(&mut reloads, None).await;
        issuer.revoke_all();
        self.call_both(&service).await?;
        self.report.end(
            Wire { api: 4, rejected: 2, token_endpoint: 2 },
            "R1: one replay for each client table, with a fresh token",
        );
        watching.abort();
        Ok(())
    }

    fn config(&self, stock: &str) -> String {
        let Self { token_endpoint, stock: stock_origin, mail, folder, .. } = self;
        let secret = folder.join("secret");
        format!(
            r#"
            [stock]
            token_endpoint = "{token_endpoint}"
            client_id = "{CLIENT_ID}"
            client_secret = {{ file = '{}' }}
            {stock}
            origins = ["{stock_origin}"]

            [mail]
            token_endpoint = "{token_endpoint}"
            client_id = "{CLIENT_ID}"
            client_secret = "{CLIENT_SECRET}"
            origins = ["{mail}"]
            "#,
            secret.display()
        )
    }

    /// Replaces the file by a rename, so that a reader never sees an incomplete file.
    fn write(&self, config: &str) -> std::io::Result<()> {
        let new = self.folder.join("new.toml");
        fs::write(&new, config)?;
        fs::rename(new, self.folder.join("clients.toml"))
    }

    async fn expect_reload(
        &mut self,
        reloads: &mut UnboundedReceiver<Result<(), BoxError>>,
        expected: Option<&str>,
    ) {
        let error = match reloads.recv().await {
            Some(Err(error)) => Some(error.to_string()),
            Some(Ok(())) | None => None,
        };
        match &error {
            Some(error) => println!("  reported  {error}"),
            None => println!("  reported  the new configuration is in use"),
        }
        self.report.expect("the reload is reported", error.as_deref() == expected);
    }

    async fn call_both(&mut self, service: &Service) -> Result<(), BoxError> {
        let stock = service.call_stock(&format!("{}/items", self.stock)).await?;
        let mail = service.call_mail(&format!("{}/inbox", self.mail)).await?;
        self.report.expect("both APIs answer", [stock, mail] == [StatusCode::OK; 2]);
        Ok(())
    }

    fn end(&mut self, api: usize, token_endpoint: usize, rule: &str) {
        self.report.end(Wire { api, rejected: 0, token_endpoint }, rule);
    }
}

/// Serves an API that answers requests with a valid token. Returns its origin.
async fn serve_api(issuer: &Issuer) -> std::io::Result<String> {
    let issuer = issuer.clone();
    server::serve(service_fn(move |request: Request<Incoming>| {
        let is_accepted = issuer.accepts(request.headers());
        let status = if is_accepted { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
        let mut response = Response::new(Full::<Bytes>::default());
        *response.status_mut() = status;
        async { Ok::<_, Infallible>(response) }
    }))
    .await
}
