use tower::{Layer, ServiceExt};
use tower_oauth2::{AccessToken, Credentials, OAuth2Layer, Origins, TokenCache, TokenRequest};

use crate::support::{Api, Source, credentials};

/// Tokens that say what they are for.
fn by_audience() -> Source {
    Source::new(|_, request: TokenRequest| async move {
        let parameters = request.credentials().parameters();
        let audience = parameters.iter().find(|(name, _)| name == "audience");
        Ok(AccessToken::new(audience.map_or("none", |(_, audience)| audience))?)
    })
}

fn for_api(own: &Credentials, api: &str) -> Credentials {
    let origin = Origins::only([format!("https://{api}.test")]).unwrap();
    own.clone().audience(api).origins(origin)
}

// C2, X2
#[tokio::test]
async fn one_client_serves_several_apis_with_a_token_for_each() {
    let (source, http) = (by_audience(), Api::always(200));
    let own = credentials();
    let tokens = TokenCache::new(own.clone(), source.clone());
    let origins = Origins::only(["https://orders.test", "https://stock.test"]).unwrap();
    let client = OAuth2Layer::new(tokens, origins).layer(http.clone());
    for _ in 0..3 {
        for (host, audience) in
            [("orders", "orders"), ("stock", "stock"), ("stock", "orders"), ("elsewhere", "stock")]
        {
            let uri = format!("https://{host}.test/things");
            let mut request = http::Request::get(uri).body(Default::default()).unwrap();
            request.extensions_mut().insert(for_api(&own, audience));
            client.clone().oneshot(request).await.unwrap();
        }
    }
    // A token for one is not sent to the other, and to a stranger none at all.
    assert_eq!(http.tokens(), ["orders", "stock", "", ""].repeat(3));
    assert_eq!(source.count(), 2);
}
