use super::*;

/// Long enough to read all data that arrives, on most machines. The outcome is the
/// same if it is not.
const SHORT: Duration = Duration::from_millis(50);

fn body() -> String {
    format!(r#"{{"access_token":"{TOKEN}","more":"{TEXT} {SECRET}"}}"#)
}

/// Returns `body` in chunks, without the last chunk.
fn chunked(status: u16, body: &str) -> Vec<u8> {
    let mut answer = head(status, &["Transfer-Encoding: chunked", &format!("X-Echo: {SECRET}")]);
    answer.extend_from_slice(format!("{:x}\r\n{body}\r\n", body.len()).as_bytes());
    answer
}

fn cut(mut answer: Vec<u8>, less: usize) -> Vec<u8> {
    answer.truncate(answer.len() - less);
    answer
}

// W5, alf 38
#[tokio::test]
async fn a_connection_that_breaks_early_has_an_error_for_its_place() {
    let whole = echoing(200, body());
    let close_delimited = [head(200, &[]), body().into_bytes()].concat();
    for (name, sent, kind) in [
        ("before the response", Vec::new(), Transport),
        ("in the first line", b"HTTP/1.1 20".to_vec(), Transport),
        ("in the head", cut(whole.clone(), body().len() + 10), Transport),
        ("before the body", cut(whole.clone(), body().len()), IncompleteResponse),
        ("in the body", cut(whole.clone(), 1), IncompleteResponse),
        ("in a chunk", cut(chunked(200, &body()), 5), IncompleteResponse),
        ("after a chunked body without its end", chunked(200, &body()), IncompleteResponse),
    ] {
        let endpoint = RawEndpoint::resetting_after(sent.clone()).await;
        let error = refused(&endpoint.url("/token"), LONG, name).await;
        assert_eq!(error.kind(), kind, "reset {name}");
        assert!(error.is_transient());
        assert_eq!(endpoint.count(), 1, "reset {name}");

        let endpoint = RawEndpoint::closing_after(sent).await;
        let error = refused(&endpoint.url("/token"), LONG, name).await;
        assert_eq!(error.kind(), kind, "closed {name}");
        assert_eq!(endpoint.count(), 1, "closed {name}");
    }

    // The end of the connection ends the body.
    let endpoint = RawEndpoint::resetting_after(close_delimited).await;
    let error = refused(&endpoint.url("/token"), LONG, "no length").await;
    assert_eq!(error.kind(), IncompleteResponse);
}

// W5
#[tokio::test]
async fn a_connection_that_breaks_after_a_response_does_no_harm() {
    let whole = [chunked(200, &body()), b"0\r\n\r\n".to_vec()].concat();
    for (name, sent) in [("length", echoing(200, body())), ("chunked", whole)] {
        assert_used(&RawEndpoint::resetting_after(sent).await, name).await;
    }
}

// W5
#[tokio::test]
async fn an_incomplete_error_response_has_what_arrived() {
    let page = format!("{TEXT} {SECRET} {TOKEN}");
    for (status, kind) in [(302, Redirect), (400, ErrorResponse), (503, ErrorResponse)] {
        for sent in [cut(echoing(status, &page), 1), chunked(status, &page)] {
            let endpoint = RawEndpoint::resetting_after(sent).await;
            let error = refused(&endpoint.url("/token"), LONG, "broken error").await;
            assert_eq!(error.kind(), kind);
            assert_eq!(error.status().unwrap(), status);
            assert!(page.as_bytes().starts_with(error.body().unwrap()));
        }
    }
}

// W5
#[tokio::test]
async fn data_that_is_not_http_is_a_transport_error() {
    let many: String = (0..1000).map(|n| format!("X-{n}: {TEXT}\r\n")).collect();
    for (name, answer) in [
        ("another protocol", format!("SSH-2.0-{TEXT} {SECRET}\r\n")),
        ("a body only", body()),
        ("a thousand headers", format!("HTTP/1.1 200 OK\r\n{many}\r\n")),
        ("a control character", format!("HTTP/1.1 200 OK\r\nX-Echo: {SECRET}\x00\r\n\r\n")),
        ("two lengths", format!("HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n{TEXT}")),
        ("another HTTP", format!("HTTP/9.9 200 OK\r\nX-Echo: {TOKEN}\r\n\r\n{TEXT}")),
    ] {
        let endpoint = RawEndpoint::answering(answer.into_bytes()).await;
        let error = refused(&endpoint.url("/token"), LONG, name).await;
        assert_eq!(error.kind(), Transport, "{name}");
        assert_eq!(endpoint.count(), 1, "{name}");
    }
}

// W7, alf 38
#[tokio::test]
async fn a_response_that_stops_takes_at_most_the_timeout() {
    let whole = echoing(200, body());
    for (name, sent) in [
        ("nothing", Vec::new()),
        ("half a head", cut(whole.clone(), body().len() + 10)),
        ("half a body", cut(whole.clone(), 1)),
        ("no last chunk", chunked(200, &body())),
        ("a body that does not begin", cut(whole, body().len())),
    ] {
        // The server waits for another request.
        let endpoint = RawEndpoint::answering(sent).await;
        let error = refused(&endpoint.url("/token"), SHORT, name).await;
        assert_eq!(error.kind(), Timeout, "{name}");
        assert!(error.is_transient());
    }
}

// W4, W5
#[tokio::test]
async fn a_body_that_never_ends_is_read_up_to_the_limit() {
    for (status, kind) in [(200, ResponseTooLarge), (302, Redirect), (500, ErrorResponse)] {
        for framing in ["Transfer-Encoding: chunked", "Content-Length: 99999999999", "X: Y"] {
            let endpoint = RawEndpoint::acting(move |stream| async move {
                let line = format!("{TEXT} {SECRET} {TOKEN}");
                let piece = match framing {
                    "Transfer-Encoding: chunked" => format!("{:x}\r\n{line}\r\n", line.len()),
                    _ => line,
                };
                send(&stream, &head(status, &[framing])).await.unwrap();
                // Sends data until the client closes the connection.
                while send(&stream, piece.repeat(1000).as_bytes()).await.is_ok() {}
            })
            .await;
            let error = refused(&endpoint.url("/token"), LONG, framing).await;
            assert_eq!(error.kind(), kind, "{status} {framing}");
            let kept = error.body().map(|body| body.len());
            assert_eq!(kept, (status != 200).then_some(64 * 1024), "{status} {framing}");
        }
    }
}

// alf 38
#[tokio::test]
async fn a_connection_that_is_refused_is_a_transport_error() {
    let error = refused(&unreachable_url().await, LONG, "refused").await;
    assert_eq!(error.kind(), Transport);
    assert!(error.is_transient());
    assert_eq!(error.status(), None);
}
