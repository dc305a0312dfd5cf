use tower_oauth2::replay::{NotReplayed, Replayed};

use super::*;

/// Checks that the head contains the size of the body exactly if it is known. An empty body needs
/// no size.
fn assert_framed(protocol: Protocol, upload: Upload, seen: &Seen) {
    let length = seen.headers.get("content-length").map(|length| length.to_str().unwrap());
    let is_chunked = seen.headers.contains_key("transfer-encoding");
    let size = upload.end.to_string();
    let expected = (upload.is_exact && upload.end > 0).then_some(size.as_str());
    assert_eq!(length.filter(|length| *length != "0"), expected, "{protocol:?} {upload:?}");
    if upload.end > 0 || upload.is_exact {
        assert_eq!(is_chunked, protocol == Http1 && !upload.is_exact, "{protocol:?} {upload:?}");
    }
}

fn cases() -> impl Iterator<Item = (Protocol, Upload)> {
    let protocols = [Http1, Http2].into_iter();
    let exact = protocols.flat_map(|protocol| [(protocol, true), (protocol, false)]);
    exact.flat_map(|(protocol, is_exact)| SIZES.map(|size| (protocol, Upload::new(size, is_exact))))
}

// R3, R6
#[tokio::test]
async fn a_body_arrives_unchanged() {
    for (protocol, body) in cases() {
        let (response, seen) = upload(protocol, First::Accepts, LIMIT, body).await;
        let response = response.unwrap();
        assert_eq!((response.status().as_u16(), replayed(&response)), (200, None));
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].body, Some(body.arrived()), "{protocol:?} {body:?}");
        assert_framed(protocol, body, &seen[0]);
    }
}

// R3, R6
#[tokio::test]
async fn a_body_within_the_limit_arrives_twice_and_any_other_once() {
    for (protocol, body) in cases() {
        let (response, seen) = upload(protocol, First::RejectsWhole, LIMIT, body).await;
        let response = response.unwrap();
        let is_within = body.end <= LIMIT;
        if is_within {
            assert_eq!(
                (response.status().as_u16(), replayed(&response)),
                (200, Some(Replayed::Yes))
            );
        } else {
            assert_eq!(response.status(), 401);
            assert_eq!(replayed(&response), Some(Replayed::No(NotReplayed::Body)));
        }
        let tokens: Vec<_> = seen.iter().map(|seen| &*seen.token).collect();
        assert_eq!(tokens, ["Bearer token-1", "Bearer token-2"][..1 + usize::from(is_within)]);
        for seen in &seen {
            assert_eq!(seen.body, Some(body.arrived()), "{protocol:?} {body:?}");
            assert_framed(protocol, body, seen);
        }
    }
}

// R3
#[tokio::test]
async fn a_large_body_arrives_twice_when_the_limit_allows() {
    for (protocol, is_exact) in [(Http1, true), (Http1, false), (Http2, true), (Http2, false)] {
        let body = Upload::new(LARGE, is_exact);
        let (response, seen) = upload(protocol, First::RejectsWhole, LARGE, body).await;
        let response = response.unwrap();
        assert_eq!((response.status().as_u16(), replayed(&response)), (200, Some(Replayed::Yes)));
        assert_eq!(seen.len(), 2);
        for seen in &seen {
            assert_eq!(seen.body, Some(body.arrived()));
            assert_framed(protocol, body, seen);
        }
    }
}

// R3
#[tokio::test]
async fn after_a_401_over_the_limit_the_next_upload_has_another_token() {
    for protocol in [Http1, Http2] {
        let server = Server::default();
        let log = server.clone();
        let rejects = First::RejectsWhole;
        let address = serve(protocol, move |request| handle(request, rejects, log.clone())).await;
        let source = ScriptedSource::tokens(hour);
        let api = client(protocol, LIMIT, &source).await;
        let body = Upload::new(LIMIT + 1, true);
        assert_eq!(send(&api, request(address, body)).await.unwrap().status(), 401);
        assert_eq!(send(&api, request(address, body)).await.unwrap().status(), 200);
        let seen = server.lock().unwrap();
        let tokens: Vec<_> = seen.iter().map(|seen| &*seen.token).collect();
        assert_eq!(tokens, ["Bearer token-1", "Bearer token-2"]);
        assert_eq!(seen[1].body, Some(body.arrived()));
        assert_eq!(source.count(), 2);
    }
}
