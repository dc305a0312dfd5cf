//! A service that calls an API on behalf of its callers (RFC 8693).

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower_oauth2::grant::{TokenExchange, TokenType};
use tower_oauth2::service::HttpService;
use tower_oauth2::{
    BoxError, Credentials, OAuth2, OAuth2Layer, Origins, RequestExt, TokenCache, TokenEndpoint,
};

use crate::server::{TestServer, expect};

struct App<S> {
    own: Credentials,
    cache: TokenCache,
    api: OAuth2<S>,
    things: String,
}

impl<S: HttpService<Full<Bytes>>> App<S> {
    async fn things(&self, caller_token: &str) -> Result<Response<S::ResponseBody>, BoxError> {
        let exchange = TokenExchange::new(caller_token, TokenType::ACCESS_TOKEN);
        let tokens = self.cache.tokens(&self.own.clone().grant(exchange));
        let request = Request::get(&self.things).tokens(&tokens).body(Full::default())?;
        self.api.send(request).await
    }
}

pub(crate) async fn run(server: &TestServer) -> Result<(), BoxError> {
    let http = server.http();
    let app = App {
        own: server.credentials("service")?,
        cache: TokenCache::new(TokenEndpoint::new(http.clone())),
        api: OAuth2Layer::per_request(Origins::only(server.origin())?).layer(http),
        things: server.things(),
    };
    for caller in ["alf", "brian", "alf"] {
        expect(app.things(caller).await?.status().as_u16(), 200)?;
    }
    let callers = server.token_requests().into_iter().map(|mut form| form.remove("subject_token"));
    expect(callers.collect::<Vec<_>>(), vec![Some("alf".to_owned()), Some("brian".to_owned())])
}
