//! Fuzzes the schedule of a streamed request. The second send has the original body, or the caller
//! gets the 401.
//!
//! The first line is the limit, the second the script (`support/script.rs`). The rest is a list of
//! actions as letters. `1` and `2` poll the body of the first and the second request at the API,
//! and `x` and `z` drop it. `a` and `b` answer the first and the second request with 401, `o` and
//! `q` with 200, and `f` and `h` fail them. `s` polls the response future, and `d` drops it. `t`
//! lets the next token arrive, and `n` an error instead.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use http::{Request, Response, StatusCode};
use http_body::Body;
use tokio::sync::oneshot;
use tower::{BoxError, Layer, Service, service_fn};
use tower_oauth2::replay::{NotReplayed, ReplayBody, ReplayableLayer, Replayed};
use tower_oauth2::{AccessToken, OAuth2Layer, Origins, TokenError, TokenRequest, Tokens};

use super::support::*;

type Answer = Result<Response<()>, BoxError>;

/// A request at the API.
struct Arrival {
    token: String,
    body: Option<ReplayBody<Script>>,
    emitted: Emitted,
    answer: Option<oneshot::Sender<Answer>>,
    status: Option<u16>,
}

#[derive(Default)]
struct Servers {
    arrivals: Vec<Arrival>,
    /// The token requests that are waiting, after the first one.
    fetches: Vec<oneshot::Sender<bool>>,
    has_failed: bool,
}

pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.splitn(3, '\n');
    let limit = lines.next().and_then(|limit| limit.trim().parse().ok()).unwrap_or(usize::MAX);
    let script = Script::read(lines.next().unwrap_or_default());
    let deeds = lines.next().unwrap_or_default().to_owned();
    block_on(play(limit, script, deeds));
}

async fn play(limit: usize, script: Script, deeds: String) {
    let servers = Arc::new(Mutex::new(Servers::default()));
    let tokens = Tokens::new(credentials(), source(servers.clone()));
    tokens.warm().await.unwrap();
    let layer = OAuth2Layer::new(tokens, Origins::any());
    let mut service = ReplayableLayer::new().limit(limit).layer(layer.layer(api(servers.clone())));
    let request = Request::put("https://api.test/").body(script.clone()).unwrap();
    let mut response = Some(Box::pin(service.call(request)));
    let mut result = None;
    for deed in deeds.bytes().take(256) {
        let at = usize::from(matches!(deed, b'2' | b'z' | b'b' | b'q' | b'h'));
        match deed {
            b'1' | b'2' => look(&servers, at, &script),
            b'x' | b'z' => {
                servers.lock().unwrap().arrivals.get_mut(at).map(|arrival| arrival.body.take());
            }
            b'a' | b'b' => answer(&servers, at, Some(401)),
            b'o' | b'q' => answer(&servers, at, Some(200)),
            b'f' | b'h' => answer(&servers, at, None),
            b't' | b'n' => {
                let fetch = servers.lock().unwrap().fetches.pop();
                let _ = fetch.map(|fetch| fetch.send(deed == b't'));
            }
            b'd' => response = None,
            b's' => poll(&mut response, &mut result),
            _ => continue,
        }
        settle().await;
        assert_sent(&servers, &script, limit);
    }
    // All open requests are completed.
    for _ in 0..4 {
        let fetches = std::mem::take(&mut servers.lock().unwrap().fetches);
        for fetch in fetches {
            let _ = fetch.send(true);
        }
        settle().await;
        poll(&mut response, &mut result);
        for at in 0..2 {
            for _ in 0..70 {
                look(&servers, at, &script);
            }
            answer(&servers, at, Some(200));
        }
        poll(&mut response, &mut result);
        assert_sent(&servers, &script, limit);
    }
    assert!(response.is_none(), "the call does not end");
    if let Some(result) = result {
        assert_result(&result, &servers.lock().unwrap(), &script, limit);
    }
}

/// Returns the first token at once, and each further one when the schedule says so.
fn source(
    servers: Arc<Mutex<Servers>>,
) -> impl Service<TokenRequest, Response = AccessToken, Error = BoxError, Future: Send + 'static>
+ Clone
+ Send
+ 'static {
    let count = Arc::new(Mutex::new(0));
    service_fn(move |_| {
        let (servers, count) = (servers.clone(), count.clone());
        async move {
            let n = {
                let mut count = count.lock().unwrap();
                *count += 1;
                *count
            };
            if n > 1 {
                let (sender, receiver) = oneshot::channel();
                servers.lock().unwrap().fetches.push(sender);
                if receiver.await != Ok(true) {
                    servers.lock().unwrap().has_failed = true;
                    return Err("no token".into());
                }
            }
            Ok(hour(format!("token-{n}")))
        }
    })
}

fn api(
    servers: Arc<Mutex<Servers>>,
) -> impl Service<
    Request<ReplayBody<Script>>,
    Response = Response<()>,
    Error = BoxError,
    Future: Send + 'static,
> + Clone {
    service_fn(move |request: Request<ReplayBody<Script>>| {
        let (sender, receiver) = oneshot::channel();
        let token = request.headers()["authorization"].to_str().unwrap().to_owned();
        servers.lock().unwrap().arrivals.push(Arrival {
            token,
            body: Some(request.into_body()),
            emitted: Emitted::default(),
            answer: Some(sender),
            status: None,
        });
        async move { receiver.await.unwrap_or_else(|_| Err("no answer".into())) }
    })
}

fn look(servers: &Mutex<Servers>, at: usize, script: &Script) {
    let mut servers = servers.lock().unwrap();
    let was_followed = servers.arrivals.len() > at + 1;
    let Some(arrival) = servers.arrivals.get_mut(at) else { return };
    let Some(body) = &mut arrival.body else { return };
    let frame = Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()));
    // R4: a body that was taken over ends with an error, so that it does not look complete.
    let is_taken_over =
        matches!(&frame, Poll::Ready(Some(Err(error))) if error.to_string() != BROKEN);
    assert!(is_taken_over || !was_followed, "{frame:?}");
    if is_taken_over {
        assert_eq!(arrival.status, Some(401), "{frame:?}");
        return;
    }
    arrival.emitted.take(frame, script);
}

fn answer(servers: &Mutex<Servers>, at: usize, status: Option<u16>) {
    let mut servers = servers.lock().unwrap();
    let Some(arrival) = servers.arrivals.get_mut(at) else { return };
    let Some(answer) = arrival.answer.take() else { return };
    arrival.status = status;
    let _ = answer.send(match status {
        Some(status) => Ok(Response::builder().status(status).body(()).unwrap()),
        None => Err("the connection was reset".into()),
    });
}

fn poll<F: Future<Output = Answer>>(
    response: &mut Option<Pin<Box<F>>>,
    result: &mut Option<Answer>,
) {
    let Some(future) = response else { return };
    if let Poll::Ready(ready) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        *result = Some(ready);
        *response = None;
    }
}

/// Asserts that only a rejected request with a complete body is sent twice.
fn assert_sent(servers: &Mutex<Servers>, script: &Script, limit: usize) {
    let servers = servers.lock().unwrap();
    assert!(servers.arrivals.len() <= 2, "R1: a request is sent twice at most");
    if let [first, second] = &servers.arrivals[..] {
        assert_eq!(first.status, Some(401), "a request that was not rejected was sent again");
        assert_ne!(first.token, second.token, "both sends have the same token");
        assert!(first.emitted.len <= limit && !first.emitted.has_failed);
        // R3: the end and the size hint are those of the original (`Emitted::take`).
        if let Some(body) = &second.body {
            let left = (script.left() - second.emitted.len) as u64;
            let hint = body.size_hint();
            assert!(hint.lower() <= left && hint.upper().is_none_or(|upper| upper >= left));
            assert!(!body.is_end_stream() || left == 0);
        }
    }
}

fn assert_result(result: &Answer, servers: &Servers, script: &Script, limit: usize) {
    let first = &servers.arrivals[0];
    let last = servers.arrivals.last().unwrap();
    let could_be_sent_again = first.emitted.len <= limit && !first.emitted.has_failed;
    match result {
        Ok(response) => {
            assert_eq!(Some(response.status().as_u16()), last.status);
            match response.extensions().get::<Replayed>() {
                Some(Replayed::Yes) => assert_eq!(servers.arrivals.len(), 2),
                Some(Replayed::No(reason)) => {
                    assert_eq!(*reason, NotReplayed::Body);
                    assert!(!could_be_sent_again, "the body could have been sent again");
                    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
                    assert_eq!(servers.arrivals.len(), 1);
                }
                _ => {
                    assert_eq!(servers.arrivals.len(), 1);
                    assert_ne!(response.status(), StatusCode::UNAUTHORIZED);
                }
            }
        }
        Err(error) => match TokenError::find_in(&**error) {
            Some(error) => {
                // R2
                assert!(servers.has_failed && servers.arrivals.len() == 1);
                assert_eq!(error.rejected_response().unwrap().status(), StatusCode::UNAUTHORIZED);
                assert_texts(error);
            }
            None => assert_eq!(last.status, None),
        },
    }
    if last.status == Some(200) && last.emitted.has_ended && !last.emitted.has_failed {
        assert!(last.emitted.is_whole(script));
    }
}
