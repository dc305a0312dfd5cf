use http::header::{AUTHORIZATION, PROXY_AUTHORIZATION};
use http::{HeaderName, HeaderValue, StatusCode};
use tower_oauth2::replay::Replayed;
use tower_oauth2::{OAuth2Layer, Origins, RequestExt, Tokens};

use super::{layer_for, only, request, send, status};
use crate::support::{Api, ScriptedSource, Trace, credentials, hour};

const OWN: HeaderValue = HeaderValue::from_static("Basic the-callers-own");

// X2
#[tokio::test]
async fn only_listed_origins_are_sent_a_token() {
    let origins = only(&["https://api.test", "https://[2001:db8::1]:8443", "http://localhost:80"]);
    for (uri, expected) in [
        ("https://api.test/", true),
        ("https://api.test", true),
        ("https://api.test:443/a?b=c", true),
        ("HTTPS://Api.Test/", true),
        ("https://user:pw@api.test/", true),
        ("https://[2001:DB8::1]:8443/", true),
        ("http://localhost/", true),
        // A relative URI has the origin of the inner service.
        ("/path", true),
        ("https://api.test:8443/", false),
        ("http://api.test/", false),
        ("https://api.test./", false),
        ("https://sub.api.test/", false),
        ("https://api.test.evil.test/", false),
        ("https://api.test@evil.test/", false),
        ("https://api.test:443@evil.test/", false),
        ("https://evil.test/https://api.test/", false),
        ("https://evil.test/?https://api.test", false),
        ("https://[2001:db8::1]/", false),
        ("https://[2001:db8::2]:8443/", false),
        ("http://localhost:8080/", false),
        ("https://localhost:80/", false),
    ] {
        let (layer, source) = layer_for(origins.clone());
        let api = Api::always(200);
        assert_eq!(status(send(&layer, &api, request(uri)).await), StatusCode::OK);
        let token = if expected { "token-1" } else { "" };
        assert_eq!(api.tokens(), [token], "{uri}");
        assert_eq!(source.count(), usize::from(expected), "{uri}");
        assert_eq!(origins.contains(&uri.parse().unwrap()), expected, "{uri}");
    }
}

// X2
#[tokio::test]
async fn origins_any_sends_a_token_to_every_origin() {
    let (layer, _) = layer_for(Origins::any());
    let api = Api::always(200);
    for uri in ["https://a.test/", "https://b.test:8443/", "http://localhost/", "/relative"] {
        assert_eq!(status(send(&layer, &api, request(uri)).await), StatusCode::OK);
    }
    assert_eq!(api.tokens(), ["token-1"; 4]);
}

// X2
#[tokio::test]
async fn an_empty_list_of_origins_sends_no_token() {
    let (layer, source) = layer_for(only(&[]));
    let api = Api::always(200);
    assert_eq!(status(send(&layer, &api, request("https://a.test/")).await), StatusCode::OK);
    assert_eq!((api.tokens(), source.count()), (vec![String::new()], 0));
}

// X2
#[tokio::test]
async fn an_unlisted_origin_gets_the_request_unchanged() {
    for uri in ["https://foreign.test/", "http://foreign.test/"] {
        let (layer, source) = layer_for(only(&["https://api.test"]));
        let api = Api::always(401);
        let mut own = request(uri);
        own.headers_mut().insert(AUTHORIZATION, OWN);
        let response = send(&layer, &api, own).await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.extensions().get::<Replayed>(), None);
        let requests = api.requests();
        assert_eq!(requests.len(), 1);
        assert_eq!(requests[0].headers()[AUTHORIZATION], OWN);
        assert_eq!(requests[0].headers().len(), 1);
        assert_eq!(source.count(), 0);
    }
}

// X2
#[tokio::test]
async fn a_401_of_an_unlisted_origin_does_not_reject_the_token() {
    let (layer, source) = layer_for(only(&["https://api.test"]));
    let api = Api::new(|request| {
        let mut response = super::HttpResponse::default();
        if request.uri().host() == Some("foreign.test") {
            *response.status_mut() = StatusCode::UNAUTHORIZED;
        }
        response
    });
    send(&layer, &api, request("https://api.test/")).await.unwrap();
    send(&layer, &api, request("https://foreign.test/")).await.unwrap();
    send(&layer, &api, request("https://api.test/")).await.unwrap();
    assert_eq!(api.tokens(), ["token-1", "", "token-1"]);
    assert_eq!(source.count(), 1);
}

// alf 11
#[tokio::test]
async fn the_callers_own_authorization_is_replaced_at_a_listed_origin() {
    let (layer, _) = layer_for(only(&["https://api.test"]));
    let api = Api::always(200);
    let mut own = request("https://api.test/");
    own.headers_mut().append(AUTHORIZATION, OWN);
    own.headers_mut().append(AUTHORIZATION, OWN);
    send(&layer, &api, own).await.unwrap();
    let sent = &api.requests()[0];
    let values: Vec<_> = sent.headers().get_all(AUTHORIZATION).iter().collect();
    assert_eq!(values, ["Bearer token-1"]);
}

// X2
#[tokio::test]
async fn a_handle_narrows_the_layers_origins_and_never_widens_them() {
    let both = ["https://a.test", "https://b.test"];
    for (layers, narrower, expected) in [
        (only(&both), Some(only(&["https://b.test"])), ["", "token-1", ""]),
        (only(&both), Some(Origins::any()), ["token-1", "token-1", ""]),
        (only(&both), Some(only(&["https://c.test"])), ["", "", ""]),
        (only(&both), None, ["token-1", "token-1", ""]),
        (Origins::any(), Some(only(&["https://c.test"])), ["", "", "token-1"]),
    ] {
        let narrow = |tokens: Tokens| match &narrower {
            Some(narrower) => tokens.only_for(narrower.clone()),
            None => tokens,
        };
        let uris = ["https://a.test/", "https://b.test/", "https://c.test/"];

        // The narrowed tokens are the layer's own first, and those of a request after that.
        let tokens = narrow(Tokens::new(credentials(), ScriptedSource::tokens(hour)));
        let layer = OAuth2Layer::new(tokens.clone(), layers.clone());
        let api = Api::always(200);
        for uri in uris {
            send(&layer, &api, request(uri)).await.unwrap();
        }
        assert_eq!(api.tokens(), expected);

        let layer = OAuth2Layer::per_request(layers);
        let api = Api::always(200);
        for uri in uris {
            send(&layer, &api, request(uri).tokens(&tokens)).await.unwrap();
        }
        assert_eq!(api.tokens(), expected);
    }
}

// X2
#[tokio::test]
async fn a_handle_narrowed_twice_allows_the_common_origins() {
    let hosts = |hosts: &[&str]| {
        let origins: Vec<_> = hosts.iter().map(|host| format!("https://{host}.test")).collect();
        Origins::only(origins).unwrap()
    };
    for (first, second, expected) in [
        (hosts(&["a", "b"]), hosts(&["b", "c"]), ["", "token-1", ""]),
        (hosts(&["a", "b"]), Origins::any(), ["token-1", "token-1", ""]),
        (Origins::any(), hosts(&["c"]), ["", "", "token-1"]),
        (Origins::any(), Origins::any(), ["token-1"; 3]),
        (hosts(&["a"]), hosts(&["b"]), [""; 3]),
        (hosts(&[]), Origins::any(), [""; 3]),
        (hosts(&["a"]), hosts(&["a", "c"]), ["token-1", "", ""]),
    ] {
        for (first, second) in [(&first, &second), (&second, &first)] {
            let tokens = Tokens::new(credentials(), ScriptedSource::tokens(hour));
            let narrowed = tokens.clone().only_for(first.clone()).only_for(second.clone());
            let layer = OAuth2Layer::per_request(Origins::any());
            let api = Api::always(200);
            for host in ["a", "b", "c"] {
                let request = request(&format!("https://{host}.test/"));
                send(&layer, &api, request.tokens(&narrowed.clone())).await.unwrap();
            }
            assert_eq!(api.tokens(), expected, "{first:?} {second:?}");

            // The handle that was narrowed stays as it is.
            let request = request("https://d.test/");
            send(&layer, &api, request.tokens(&tokens)).await.unwrap();
            assert_eq!(api.tokens()[3..], ["token-1"]);
        }
    }
}

// X2: handles of equal credentials share tokens, but not their origins.
#[tokio::test]
async fn origins_belong_to_a_handle_and_not_to_its_slot() {
    let layer = OAuth2Layer::per_request(Origins::any());
    let api = Api::always(200);
    let tokens = Tokens::new(credentials(), ScriptedSource::tokens(hour));
    for (narrower, uri) in [("a", "a"), ("a", "b"), ("b", "a"), ("b", "b")] {
        let origins = only(&[&format!("https://{narrower}.test")]);
        let narrowed = tokens.clone().only_for(origins);
        let request = request(&format!("https://{uri}.test/"));
        send(&layer, &api, request.tokens(&narrowed)).await.unwrap();
    }
    assert_eq!(api.tokens(), ["token-1", "", "", "token-1"]);
}

// X2
#[tokio::test]
async fn a_request_with_no_token_is_sent_unchanged() {
    for uri in ["https://api.test/health", "http://api.test/health", "/health"] {
        let (layer, source) = layer_for(only(&["https://api.test", "http://api.test"]));
        let api = Api::always(401);
        let without = || {
            let mut without = request(uri);
            without.headers_mut().insert(AUTHORIZATION, OWN);
            without.no_token()
        };
        // Both in the extensions: no token is sent.
        let mut named = without();
        named.extensions_mut().insert(Tokens::new(credentials(), source.clone()));
        let response = send(&layer, &api, named).await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.extensions().get::<Replayed>(), None);
        assert_eq!((api.count(), source.count()), (1, 0), "{uri}");

        // A cached token makes no difference.
        send(&layer, &Api::always(200), request("https://api.test/")).await.unwrap();
        let response = send(&layer, &api, without()).await.unwrap();
        assert_eq!(response.extensions().get::<Replayed>(), None);
        assert_eq!((api.count(), source.count()), (2, 1), "{uri}");
        assert!(api.requests().iter().all(|request| request.headers()[AUTHORIZATION] == OWN));
    }
}

#[tokio::test]
async fn a_replay_has_the_new_token_in_the_configured_header() {
    for (name, refusal) in [
        (PROXY_AUTHORIZATION, StatusCode::PROXY_AUTHENTICATION_REQUIRED),
        (HeaderName::from_static("x-token"), StatusCode::UNAUTHORIZED),
    ] {
        let (layer, _) = layer_for(only(&["https://api.test"]));
        let layer = layer.header_name(name.clone());
        let header = name.clone();
        let api = Api::new(move |request| {
            let mut response = super::HttpResponse::default();
            if request.headers()[&header] == "Bearer token-1" {
                *response.status_mut() = refusal;
            }
            response
        });
        let mut own = request("https://api.test/");
        own.headers_mut().insert(AUTHORIZATION, OWN);
        own.headers_mut().insert(&name, HeaderValue::from_static("the caller's own"));
        assert_eq!(status(send(&layer, &api, own).await), StatusCode::OK);
        let sent: Vec<_> =
            api.requests().iter().map(|request| request.headers()[&name].clone()).collect();
        assert_eq!(sent, ["Bearer token-1", "Bearer token-2"]);
        assert!(sent.iter().all(HeaderValue::is_sensitive));
        assert!(api.requests().iter().all(|request| request.headers()[AUTHORIZATION] == OWN));
    }
}

// W11
#[tokio::test]
async fn a_request_whose_response_would_show_the_token_gets_none() {
    for method in ["TRACE", "trace", "TRACK"] {
        let (trace, _guard) = Trace::start();
        let (layer, source) = layer_for(only(&["https://api.test"]));
        let api = Api::always(401);
        for with_extension in [false, true] {
            let mut traced = request("https://api.test/");
            *traced.method_mut() = method.parse().unwrap();
            if with_extension {
                traced = traced.tokens(&Tokens::new(credentials(), source.clone()));
            }
            let response = send(&layer, &api, traced).await.unwrap();
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
            assert_eq!(response.extensions().get::<Replayed>(), None);
        }
        assert_eq!((api.tokens(), source.count()), (vec![String::new(); 2], 0), "{method}");
        let lines = trace.lines();
        assert_eq!(lines.len(), 2);
        let said = "origin=https://api.test reason=its response would show the token";
        assert!(lines.iter().all(|line| line.ends_with(said)), "{lines:?}");
    }
}
