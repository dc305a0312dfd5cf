//! Tests what a relative URI stands for, if the tokens are narrowed.

use tower_oauth2::{OAuth2Layer, Origins, RequestExt, TokenErrorKind, Tokens};

use super::{kind, only, request, send};
use crate::support::{Api, ScriptedSource, credentials, hour};

/// Sends a relative URI with narrowed tokens, of the layer and of a request.
///
/// Returns the tokens that the API got, or `None` if both are refused because the origin is
/// unknown.
async fn send_relative(listed: &Origins, narrower: &Origins) -> Option<Vec<String>> {
    let tokens =
        Tokens::new(credentials(), ScriptedSource::tokens(hour)).only_for(narrower.clone());
    let api = Api::always(200);
    let own = OAuth2Layer::new(tokens.clone(), listed.clone());
    let named = OAuth2Layer::per_request(listed.clone());
    let results = [
        send(&own, &api, request("/relative")).await,
        send(&named, &api, request("/relative").tokens(&tokens)).await,
    ];
    if results.iter().all(Result::is_ok) {
        return Some(api.tokens());
    }
    for result in results {
        assert_eq!(kind(result), TokenErrorKind::UnknownOrigin);
    }
    assert_eq!(api.count(), 0);
    None
}

// X2
#[tokio::test]
async fn a_relative_uri_stands_for_the_only_listed_origin() {
    let listed = only(&["https://a.test"]);
    for (narrower, expected) in [
        (only(&["https://a.test"]), "token-1"),
        (only(&["https://b.test", "HTTPS://A.test:443"]), "token-1"),
        (Origins::any(), "token-1"),
        (only(&["https://b.test"]), ""),
        (only(&["https://a.test:8443"]), ""),
        (only(&["http://a.test"]), ""),
        (only(&[]), ""),
    ] {
        let tokens = send_relative(&listed, &narrower).await.unwrap();
        assert_eq!(tokens, [expected; 2], "{narrower:?}");
    }
}

// X2: the token must not go to an origin that the handle does not allow, and the layer cannot tell.
#[tokio::test]
async fn a_relative_uri_is_refused_if_only_some_origins_are_allowed() {
    let both = only(&["https://a.test", "https://b.test"]);
    for (listed, narrower) in [
        (&both, only(&["https://b.test"])),
        (&both, only(&["https://b.test", "https://c.test"])),
        (&Origins::any(), only(&["https://a.test"])),
        (&Origins::any(), only(&[])),
        (&only(&[]), only(&["https://a.test"])),
    ] {
        assert_eq!(send_relative(listed, &narrower).await, None, "{listed:?} {narrower:?}");
    }
}

// X2
#[tokio::test]
async fn a_relative_uri_needs_all_origins_allowed_or_none() {
    let both = only(&["https://a.test", "https://b.test"]);
    let all = only(&["https://a.test", "https://c.test", "https://b.test"]);
    for (listed, narrower, expected) in [
        (&both, all, "token-1"),
        (&both, Origins::any(), "token-1"),
        (&Origins::any(), Origins::any(), "token-1"),
        (&both, only(&["https://c.test"]), ""),
    ] {
        let tokens = send_relative(listed, &narrower).await.unwrap();
        assert_eq!(tokens, [expected; 2], "{listed:?} {narrower:?}");
    }
}

// X2: a narrowed handle gets no more than a wide one from a 401 of an origin that it does not
// allow.
#[tokio::test]
async fn a_relative_uri_without_a_token_rejects_none() {
    let source = ScriptedSource::tokens(hour);
    let tokens = Tokens::new(credentials(), source.clone());
    let narrowed = tokens.clone().only_for(only(&["https://b.test"]));
    let layer = OAuth2Layer::per_request(only(&["https://a.test"]));
    let api = Api::accepting(|token| !token.is_empty());
    send(&layer, &api, request("/relative").tokens(&tokens)).await.unwrap();
    send(&layer, &api, request("/relative").tokens(&narrowed)).await.unwrap();
    assert_eq!(api.tokens(), ["token-1", ""]);
    assert_eq!(source.count(), 1);
}
