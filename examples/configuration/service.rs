//! Makes an HTTP client for each API from the client tables in a file.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tower::BoxError;
use tower_oauth2::config::Clients;
use tower_oauth2::{OAuth2, TokenCache, TokenEndpoint};

type Http = Client<HttpConnector, Full<Bytes>>;

/// Clones share the clients of the APIs.
#[derive(Clone)]
pub(crate) struct Service {
    http: Http,
    /// It outlives every configuration, so that unchanged client tables keep their tokens.
    cache: TokenCache,
    apis: Arc<RwLock<Apis>>,
}

/// The clients of the APIs, by one version of the file.
#[derive(Clone)]
struct Apis {
    stock: OAuth2<Http>,
    mail: OAuth2<Http>,
}

impl Apis {
    fn new(config: &str, http: &Http, cache: &TokenCache) -> Result<Self, BoxError> {
        // toml's own text quotes the line, which may contain a secret. Its message does not.
        let clients: Clients =
            toml::from_str(config).map_err(|error| error.message().to_owned())?;
        let client = |name| Ok::<_, BoxError>(clients.get(name)?.layer(cache)?.layer(http.clone()));
        Ok(Self { stock: client("stock")?, mail: client("mail")? })
    }
}

impl Service {
    pub(crate) fn new(config: &str) -> Result<Self, BoxError> {
        let http = Client::builder(TokioExecutor::new()).build_http();
        let cache = TokenCache::new(TokenEndpoint::new(http.clone()));
        let apis = Arc::new(RwLock::new(Apis::new(config, &http, &cache)?));
        Ok(Self { http, cache, apis })
    }

    /// Replaces the configuration. After an error, the old one stays in use.
    fn reload(&self, config: &str) -> Result<(), BoxError> {
        let apis = Apis::new(config, &self.http, &self.cache)?;
        *self.apis.write().unwrap_or_else(PoisonError::into_inner) = apis;
        Ok(())
    }

    /// Reloads the file whenever its content differs from `current`, and reports each reload.
    pub(crate) async fn watch(
        self,
        path: PathBuf,
        current: String,
        report: impl Fn(Result<(), BoxError>),
    ) {
        let mut current = Ok(current);
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let read = tokio::fs::read_to_string(&path).await.map_err(|error| error.kind());
            if read == current {
                continue;
            }
            report(match &read {
                Ok(content) => self.reload(content),
                Err(kind) => Err(format!("{}: {kind}", path.display()).into()),
            });
            current = read;
        }
    }

    pub(crate) async fn call_stock(&self, url: &str) -> Result<StatusCode, BoxError> {
        call(&self.apis().stock, url).await
    }

    pub(crate) async fn call_mail(&self, url: &str) -> Result<StatusCode, BoxError> {
        call(&self.apis().mail, url).await
    }

    fn apis(&self) -> Apis {
        self.apis.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn call(api: &OAuth2<Http>, url: &str) -> Result<StatusCode, BoxError> {
    Ok(api.send(Request::get(url).body(Full::default())?).await?.status())
}
