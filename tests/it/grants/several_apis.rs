use tower::ServiceExt;
use tower_oauth2::{
    AccessToken, OAuth2Layer, Origins, RequestExt, TokenCache, TokenRequest, Tokens,
};

use crate::support::{Api, ScriptedSource, credentials};

/// Returns a source whose tokens name their audience.
fn by_audience() -> ScriptedSource {
    ScriptedSource::new(|_, request: TokenRequest| async move {
        let parameters = request.credentials().parameters();
        let audience = parameters.iter().find(|(name, _)| name == "audience");
        Ok(AccessToken::new(audience.map_or("none", |(_, audience)| audience))?)
    })
}

fn for_api(cache: &TokenCache, api: &str) -> Tokens {
    let origin = Origins::only(format!("https://{api}.test")).unwrap();
    cache.tokens(&credentials().audience(api)).only_for(origin)
}

// C2, X2
#[tokio::test]
async fn one_client_serves_several_apis_with_a_token_for_each() {
    let (source, http) = (by_audience(), Api::always(200));
    let cache = TokenCache::new(source.clone());
    let origins = Origins::only(["https://orders.test", "https://stock.test"]).unwrap();
    let client = OAuth2Layer::per_request(origins).layer(http.clone());
    for _ in 0..3 {
        for (host, audience) in
            [("orders", "orders"), ("stock", "stock"), ("stock", "orders"), ("elsewhere", "stock")]
        {
            let uri = format!("https://{host}.test/things");
            let request = http::Request::get(uri).body(Default::default()).unwrap();
            let request = request.tokens(&for_api(&cache, audience));
            client.clone().oneshot(request).await.unwrap();
        }
    }
    // A token for one API is not sent to another one.
    assert_eq!(http.tokens(), ["orders", "stock", "", ""].repeat(3));
    assert_eq!(source.count(), 2);
}
