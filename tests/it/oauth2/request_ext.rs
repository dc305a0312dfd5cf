use http::{Request, request};
use tower_oauth2::{AccessToken, NoToken, OAuth2Layer, RequestExt, Tokens};

use super::origins;
use crate::support::{Api, get};

fn fixed(text: &str) -> Tokens {
    Tokens::fixed(AccessToken::new(text).unwrap())
}

fn builder() -> request::Builder {
    Request::get("https://api.test/")
}

#[tokio::test]
async fn the_last_call_wins() {
    let (own, one, other) = (fixed("own"), fixed("one"), fixed("other"));
    let api = Api::always(200);
    let service = OAuth2Layer::new(own, origins()).layer(api.clone());
    let body = http_body_util::Full::default;
    for (request, expected) in [
        (get("/"), "own"),
        (get("/").tokens(&one), "one"),
        (get("/").tokens(&one).tokens(&other), "other"),
        (get("/").tokens(&one).no_token(), ""),
        (get("/").no_token().tokens(&one), "one"),
        (builder().body(body()).unwrap(), "own"),
        (builder().tokens(&one).body(body()).unwrap(), "one"),
        (builder().tokens(&one).tokens(&other).body(body()).unwrap(), "other"),
        (builder().tokens(&one).no_token().body(body()).unwrap(), ""),
        (builder().no_token().tokens(&one).body(body()).unwrap(), "one"),
        // A builder and then a request.
        (builder().tokens(&one).body(body()).unwrap().no_token(), ""),
    ] {
        let before = api.count();
        service.send(request).await.unwrap();
        assert_eq!(api.tokens()[before..], [expected]);
    }
}

#[test]
fn other_extensions_and_the_rest_of_a_request_stay() {
    let request = builder().extension(7_u8).header("x-a", "b").tokens(&fixed("t")).no_token();
    let request = request.body("body").unwrap().tokens(&fixed("t"));
    assert_eq!(request.extensions().get(), Some(&7_u8));
    assert_eq!(request.extensions().get::<NoToken>(), None);
    assert!(request.extensions().get::<Tokens>().is_some());
    assert_eq!((request.headers()["x-a"].as_bytes(), *request.body()), (&b"b"[..], "body"));
}

#[test]
fn a_builder_with_an_error_returns_it_when_it_is_built() {
    for builder in [
        Request::get("not a uri").tokens(&fixed("t")),
        Request::get("not a uri").no_token(),
        builder().header("not a name", "").tokens(&fixed("t")),
    ] {
        assert!(builder.body(()).is_err());
    }
}
