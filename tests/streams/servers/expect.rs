use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tower_oauth2::replay::Replayed;

use super::*;

/// Reads a head, checks its token, and then accepts or refuses the body.
///
/// Keeps the connection open if the client has sent the body without waiting.
async fn serve_connection(stream: TcpStream, log: Server) {
    let mut stream = BufReader::new(stream);
    while let Some(headers) = read_head(&mut stream).await {
        let token = headers["authorization"].to_str().unwrap().to_owned();
        let is_good = token == "Bearer token-2";
        if is_good {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
        } else {
            let head = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(head).await.unwrap();
        }
        let at = {
            let mut log = log.lock().unwrap();
            log.push(Seen { token, headers: headers.clone(), body: None });
            log.len() - 1
        };
        let len = headers.get("content-length").map_or("0", |len| len.to_str().unwrap());
        let mut data = vec![0; len.parse().unwrap()];
        if stream.read_exact(&mut data).await.is_err() {
            return;
        }
        let mut arrived = Arrived::default();
        arrived.add(&data);
        log.lock().unwrap()[at].body = Some(arrived);
        if is_good {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        }
    }
}

async fn read_head(stream: &mut BufReader<TcpStream>) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok().filter(|len| *len > 0)?;
        let line = line.trim_end();
        if line.is_empty() {
            return Some(headers);
        }
        if let Some((name, value)) = line.split_once(": ") {
            headers.insert(http::HeaderName::try_from(name).unwrap(), value.parse().unwrap());
        }
    }
}

// R4
#[tokio::test]
async fn a_server_that_uses_expect_continue_gets_the_whole_body() {
    for size in [0, 1, LIMIT, LARGE] {
        let server = Server::default();
        let log = server.clone();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve_connection(stream, log.clone()));
            }
        });
        let body = Upload::new(size, true);
        let api = client(Http1, LARGE, &ScriptedSource::tokens(hour)).await;
        let mut request = request(address, body);
        request.headers_mut().insert("expect", HeaderValue::from_static("100-continue"));
        let response = send(&api, request).await.unwrap();
        assert_eq!((response.status().as_u16(), replayed(&response)), (200, Some(Replayed::Yes)));
        let seen = server.lock().unwrap();
        assert_eq!(seen.len(), 2);
        assert!(seen.iter().all(|seen| seen.headers["expect"] == "100-continue"));
        assert_eq!(seen[1].body, Some(body.arrived()));
    }
}
