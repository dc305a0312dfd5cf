use super::*;

// R3
#[tokio::test]
async fn trailers_arrive_with_the_replay() {
    let sent = HeaderMap::from_iter([("x-sum".parse().unwrap(), "17".parse().unwrap())]);
    let body = || {
        let data = [vec![b'x'; 1000], vec![b'y'; 10]].map(|data| Step::Data(data.into()));
        let trailers = [Step::Pending, Step::Trailers(sent.clone())];
        // With a size in the head, HTTP/1.1 has no room for trailers.
        Script::new(data.into_iter().chain(trailers)).saying(Hint::Unknown, true)
    };
    let mut expected = Arrived::default();
    expected.add(&[[b'x'; 1000].as_slice(), &[b'y'; 10]].concat());
    expected.trailers = Some(sent.clone());
    for protocol in [Http1, Http2] {
        for first in [First::Accepts, First::RejectsWhole] {
            let server = Server::default();
            let log = server.clone();
            let address = serve(protocol, move |request| handle(request, first, log.clone())).await;
            let api = client(protocol, LIMIT, &ScriptedSource::tokens(hour)).await;
            let mut request = request(address, body());
            request.headers_mut().insert("trailer", HeaderValue::from_static("x-sum"));
            assert_eq!(send(&api, request).await.unwrap().status(), 200);
            let seen = server.lock().unwrap();
            assert_eq!(seen.len(), 1 + usize::from(matches!(first, First::RejectsWhole)));
            for seen in &*seen {
                assert_eq!(seen.body.as_ref(), Some(&expected), "{protocol:?} {first:?}");
            }
        }
    }
}
