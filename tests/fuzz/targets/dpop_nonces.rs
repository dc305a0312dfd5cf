//! Fuzzes the nonces of several servers with responses in any order.
//!
//! Each proof must have the newest nonce of its server, and no request may be resent without end.
//!
//! Each line of a case is one action. `A`, `B` or `C` sends a request. There are two servers, and
//! `C` is another spelling of the first one. A number answers the request with this number at the
//! APIs. The words after it are the status, the nonce (`-` for none, `*` for one that is too long),
//! the error of the challenge, and the seconds by which the server's clock is ahead. `x` and a
//! number drop the call of that request. `T` and such words set the next response of the token
//! endpoint.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, DATE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tower::{BoxError, ServiceExt, service_fn};
use tower_oauth2::jwt::{Algorithm, DpopKey, SigningKey};
use tower_oauth2::{OAuth2Layer, Origins, TokenEndpoint, TokenError, Tokens};

use super::support::*;

const AUTH: &str = "https://auth.test/token";

/// The response of a server.
struct Words {
    status: StatusCode,
    nonce: Option<String>,
    error: Option<String>,
    ahead: Option<i64>,
}

impl Words {
    fn read(text: &str) -> Self {
        let mut words = text.split_ascii_whitespace();
        let status = words.next().and_then(|word| word.parse::<u16>().ok());
        let status = status.and_then(|status| StatusCode::from_u16(status).ok());
        let mut word = || words.next().filter(|word| *word != "-").map(str::to_owned);
        Self {
            status: status.unwrap_or(StatusCode::OK),
            nonce: word().map(|nonce| nonce.replace('*', &"x".repeat(1025))),
            error: word(),
            ahead: word().and_then(|ahead| ahead.parse().ok()),
        }
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(nonce) = self.nonce.as_ref().and_then(|nonce| HeaderValue::try_from(nonce).ok())
        {
            headers.insert("dpop-nonce", nonce);
        }
        if let Some(error) = &self.error {
            let challenge = format!("DPoP algs=\"ES256\", error=\"{error}\"");
            headers.extend(HeaderValue::try_from(challenge).ok().map(|c| (WWW_AUTHENTICATE, c)));
        }
        // HTTP dates end with the year 9999.
        let ahead = self.ahead.map(|ahead| ahead.clamp(-1_000_000_000, 100_000_000_000));
        if let Some(date) = ahead.and_then(|ahead| date(format!("@{ahead:+}").as_bytes())) {
            headers.insert(DATE, date.try_into().unwrap());
        }
        headers
    }

    /// Returns the nonce if it is valid (RFC 9449 section 8.1).
    fn news(&self) -> Option<&str> {
        let is_one = |byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        let nonce = self.nonce.as_deref()?;
        (!nonce.is_empty() && nonce.len() <= 1024 && nonce.bytes().all(is_one)).then_some(nonce)
    }
}

type Call = JoinHandle<Result<Response<()>, BoxError>>;

#[derive(Default)]
struct Servers {
    /// The newest nonce of each server.
    known: HashMap<String, String>,
    arrivals: Vec<Arrival>,
    /// The next responses of the token endpoint.
    answers: VecDeque<Words>,
    token_requests: usize,
    tokens: usize,
    ids: HashSet<String>,
}

/// A request at an API.
struct Arrival {
    call: usize,
    origin: String,
    nonce: Option<String>,
    answer: Option<oneshot::Sender<Response<()>>>,
}

pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data).into_owned();
    block_on(play(text));
}

async fn play(text: String) {
    static KEY: LazyLock<SigningKey> =
        LazyLock::new(|| SigningKey::generate(Algorithm::EdDSA).unwrap());

    let servers = Arc::new(Mutex::new(Servers::default()));
    // A new key for each case, because a key keeps the nonces of earlier cases.
    let credentials = credentials().dpop(DpopKey::new(KEY.clone()));
    let endpoint = TokenEndpoint::new(http({
        let servers = servers.clone();
        move |request| issue(&mut servers.lock().unwrap(), &request)
    }));
    let layer = OAuth2Layer::new(Tokens::new(credentials, endpoint), Origins::any());
    let service = layer.layer(service_fn({
        let servers = servers.clone();
        move |request: Request<Full<Bytes>>| {
            let (sender, receiver) = oneshot::channel();
            arrive(&mut servers.lock().unwrap(), &request, sender);
            async move { receiver.await.map_err(|_| BoxError::from("no answer")) }
        }
    }));

    let mut calls: Vec<Option<Call>> = Vec::new();
    for line in text.lines().take(48) {
        let (first, rest) = first(line);
        let uri = match first {
            "A" => "https://a.test/x?y",
            "B" => "http://127.0.0.1:8080/x",
            "C" => "https://A.TEST:443/x",
            "T" => {
                servers.lock().unwrap().answers.push_back(Words::read(rest));
                continue;
            }
            "x" => {
                let call = rest.trim().parse::<usize>().ok();
                let call = call.and_then(|n| calls.get_mut(n)).and_then(Option::take);
                call.inspect(JoinHandle::abort);
                settle().await;
                continue;
            }
            _ => {
                let (number, words) = line.split_once(' ').unwrap_or((line, ""));
                if let Ok(number) = number.parse() {
                    answer(&mut servers.lock().unwrap(), number, &Words::read(words));
                    settle().await;
                }
                continue;
            }
        };
        let request = Request::post(uri).header("x-call", calls.len()).body(Full::default());
        calls.push(Some(tokio::spawn(service.clone().oneshot(request.unwrap()))));
        settle().await;
    }
    // All remaining requests are answered, and all calls end.
    for _ in 0..4 {
        let count = servers.lock().unwrap().arrivals.len();
        for number in 0..count {
            answer(&mut servers.lock().unwrap(), number, &Words::read("200"));
        }
        tokio::time::sleep(Duration::from_secs(120)).await;
    }
    {
        // Each is resent at most once with another clock, and once with another nonce.
        let servers = servers.lock().unwrap();
        assert!(servers.token_requests <= 2 * (calls.len() + servers.arrivals.len()));
    }
    for call in calls.into_iter().flatten() {
        assert!(call.is_finished(), "the call does not end");
        if let Err(error) = call.await.unwrap() {
            assert_texts(TokenError::find_in(&*error).expect("no other error is there"));
        }
    }
}

/// Checks the only proof of a request, and returns its nonce.
fn prove(
    servers: &mut Servers,
    request: &Request<Full<Bytes>>,
    origin: &str,
    path: &str,
) -> Option<String> {
    let mut fields = request.headers().get_all("dpop").iter();
    let (field, None) = (fields.next().expect("a proof"), fields.next()) else {
        panic!("several proofs")
    };
    assert!(field.is_sensitive());
    let claims = field.to_str().unwrap().split('.').nth(1).unwrap();
    let claims: Value =
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    assert_eq!(claims["htm"], "POST");
    assert_eq!(claims["htu"], format!("{origin}{path}"));
    assert!(servers.ids.insert(claims["jti"].as_str().unwrap().to_owned()), "used twice");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    // An offset of more than a day is ignored.
    assert!(claims["iat"].as_u64().unwrap().abs_diff(now) <= 24 * 60 * 60 + 60);
    let nonce = claims.get("nonce").map(|nonce| nonce.as_str().unwrap().to_owned());
    assert_eq!(nonce.as_ref(), servers.known.get(origin), "not the newest nonce of {origin}");
    nonce
}

/// Remembers the nonce of a response, unless its request had the same one.
fn learn(servers: &mut Servers, origin: &str, sent: Option<&str>, words: &Words) {
    if let Some(nonce) = words.news() {
        let is_news = sent != Some(nonce);
        if is_news || !servers.known.contains_key(origin) {
            servers.known.insert(origin.to_owned(), nonce.to_owned());
        }
    }
}

fn arrive(
    servers: &mut Servers,
    request: &Request<Full<Bytes>>,
    answer: oneshot::Sender<Response<()>>,
) {
    let origin = match request.uri().port_u16() {
        Some(8080) => "http://127.0.0.1:8080",
        _ => "https://a.test",
    };
    let nonce = prove(servers, request, origin, "/x");
    let token = request.headers()[AUTHORIZATION].to_str().unwrap();
    assert!(token.starts_with("DPoP token-"), "{token}");
    let call = request.headers()["x-call"].to_str().unwrap().parse().unwrap();
    // One resend with another proof, and one with another token.
    let before = servers.arrivals.iter().filter(|arrival| arrival.call == call).count();
    assert!(before < 3, "sent {} times", before + 1);
    servers.arrivals.push(Arrival { call, origin: origin.to_owned(), nonce, answer: Some(answer) });
}

fn answer(servers: &mut Servers, number: usize, words: &Words) {
    let Some(arrival) = servers.arrivals.get_mut(number) else { return };
    let Some(answer) = arrival.answer.take() else { return };
    let mut response = Response::new(());
    *response.status_mut() = words.status;
    *response.headers_mut() = words.headers();
    let (origin, nonce) = (arrival.origin.clone(), arrival.nonce.clone());
    // A dropped call gets no result.
    if answer.send(response).is_ok() {
        learn(servers, &origin, nonce.as_deref(), words);
    }
}

/// Returns the response of the token endpoint.
fn issue(servers: &mut Servers, request: &Request<Full<Bytes>>) -> Response<Frames> {
    assert_eq!(request.uri(), AUTH);
    let nonce = prove(servers, request, "https://auth.test", "/token");
    servers.token_requests += 1;
    let words = servers.answers.pop_front().unwrap_or(Words::read("200"));
    learn(servers, "https://auth.test", nonce.as_deref(), &words);
    let body = match &words.error {
        Some(error) => serde_json::json!({ "error": error }).to_string(),
        None => {
            servers.tokens += 1;
            let n = servers.tokens;
            format!(
                "{{\"access_token\":\"token-{n}\",\"token_type\":\"DPoP\",\"expires_in\":3600}}"
            )
        }
    };
    let mut reply = Reply::read(format!("200\n\n{body}").as_bytes());
    reply.status = words.status;
    reply.headers = words.headers();
    reply.response()
}
