//! A service that calls an API on behalf of its callers (RFC 8693).

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower_oauth2::grant::{TokenExchange, TokenType};
use tower_oauth2::service::HttpService;
use tower_oauth2::{
    BoxError, Credentials, OAuth2, OAuth2Layer, Origins, RequestExt, TokenCache, TokenEndpoint,
};

use crate::world::{World, expect};

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

pub(crate) async fn run(world: &World) -> Result<(), BoxError> {
    let http = world.http();
    let app = App {
        own: world.credentials("service")?,
        cache: TokenCache::new(TokenEndpoint::new(http.clone())),
        api: OAuth2Layer::per_request(Origins::only(world.origin())?).layer(http),
        things: world.things(),
    };
    for caller in ["alf", "brian", "alf"] {
        expect(app.things(caller).await?.status().as_u16(), 200)?;
    }
    let callers = world.token_requests().into_iter().map(|mut form| form.remove("subject_token"));
    expect(callers.collect::<Vec<_>>(), vec![Some("alf".to_owned()), Some("brian".to_owned())])
}
