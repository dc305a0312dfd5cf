//! Fuzzes `WWW-Authenticate`: compares the layer's behaviour with another parser.
//!
//! Each line is one field of a 401.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tower::{BoxError, ServiceExt, service_fn};
use tower_oauth2::replay::{ReplayPolicy, Replayed};
use tower_oauth2::{OAuth2Layer, Origins, TokenEndpoint, Tokens};

use super::support::*;

/// The claims that the client requests without a challenge.
const CLAIMS: &str = r#"{"access_token":{"xms_cc":{"values":["cp1"]}},"own":1}"#;

pub fn run(data: &[u8]) {
    let fields: Vec<_> = data
        .split(|byte| *byte == b'\n')
        .take(16)
        .filter_map(|line| HeaderValue::from_bytes(&planted(line)).ok())
        .collect();
    let strict = strict(&fields);
    block_on(async {
        let (replayed, _) = call(&fields, ReplayPolicy::invalid_token(), None).await;
        if let Some(challenges) = &strict {
            // R7
            assert_eq!(replayed, challenges.says_invalid_token, "{fields:?}");
        }
        // R1: any 401 leads to a replay, and its claims are requested.
        for own in [None, Some(CLAIMS)] {
            let (replayed, claims) = call(&fields, ReplayPolicy::unauthorized(), own).await;
            assert!(replayed);
            let Some(claims) = claims else { continue };
            let claims: Value = serde_json::from_str(&claims).expect("claims are JSON");
            assert!(claims.is_object());
            if own.is_none() {
                if let Some(expected) = strict.as_ref().and_then(|all| all.claims.as_ref()) {
                    assert_eq!(claims, *expected, "{fields:?}");
                }
            } else {
                assert!(claims.get("own").is_some() && claims.get("access_token").is_some());
            }
        }
    });
}

/// Sends one request to an API that rejects its first token with these fields.
///
/// Returns whether it was resent, and the claims that were requested with the second token.
async fn call(
    fields: &[HeaderValue],
    policy: ReplayPolicy,
    own: Option<&str>,
) -> (bool, Option<String>) {
    let claims = Arc::new(Mutex::new(None));
    let endpoint = TokenEndpoint::new(http({
        let (claims, count) = (claims.clone(), Arc::new(AtomicUsize::new(0)));
        move |request| {
            let n = count.fetch_add(1, Ordering::Relaxed);
            *claims.lock().unwrap() = form_claims(request);
            let body = format!("200\n\n{{\"access_token\":\"token-{n}\",\"expires_in\":3600}}");
            Reply::read(body.as_bytes()).response()
        }
    }));
    let credentials = match own {
        Some(own) => credentials().parameter("claims", own),
        None => credentials(),
    };
    let layer = OAuth2Layer::new(Tokens::new(credentials, endpoint), Origins::any());
    let sent = Arc::new(AtomicUsize::new(0));
    let api = service_fn({
        let (fields, sent) = (fields.to_vec(), sent.clone());
        move |_: Request<Full<Bytes>>| {
            let mut response = Response::new(());
            if sent.fetch_add(1, Ordering::Relaxed) == 0 {
                *response.status_mut() = http::StatusCode::UNAUTHORIZED;
                let fields = fields.iter().cloned().map(|field| (WWW_AUTHENTICATE, field));
                *response.headers_mut() = HeaderMap::from_iter(fields);
            }
            async { Ok::<_, BoxError>(response) }
        }
    });
    let service = layer.replay_policy(policy).layer(api);
    let request = Request::get("https://api.test/").body(Full::default()).unwrap();
    let response = service.oneshot(request).await.unwrap();
    let sent = sent.load(Ordering::Relaxed);
    let replayed = response.extensions().get() == Some(&Replayed::Yes);
    assert_eq!(sent, 1 + usize::from(replayed));
    assert_eq!(response.status().as_u16(), if replayed { 200 } else { 401 });
    let claims = claims.lock().unwrap().take().filter(|_| replayed);
    (replayed, claims)
}

/// Returns the `claims` in the form of a token request. Fails if there are several.
fn form_claims(request: Request<Full<Bytes>>) -> Option<String> {
    let body = request.into_body().collect();
    let body = futures_util::FutureExt::now_or_never(body).unwrap().unwrap().to_bytes();
    let mut claims = form_urlencoded::parse(&body).filter(|(name, _)| name == "claims");
    let found = claims.next().map(|(_, value)| value.into_owned());
    assert!(claims.next().is_none(), "claims are sent twice");
    found
}

/// The result of a strict parser.
struct Strict {
    says_invalid_token: bool,
    /// The claims of the first challenge that has any, if they are valid.
    claims: Option<Value>,
}

/// Parses fields strictly, or returns `None` because a lenient parser may accept them.
fn strict(fields: &[HeaderValue]) -> Option<Strict> {
    let mut all = Strict { says_invalid_token: false, claims: None };
    let mut has_claims = false;
    for field in fields {
        for challenge in http_auth::parse_challenges(field.to_str().ok()?).ok()? {
            let is = |name: &str| challenge.scheme.eq_ignore_ascii_case(name);
            if !is("Bearer") && !is("DPoP") {
                continue;
            }
            // The first parameter of a name counts.
            let parameter = |name: &str| {
                let found =
                    challenge.params.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.to_unescaped())
            };
            all.says_invalid_token |= parameter("error").as_deref() == Some("invalid_token");
            if let Some(claims) = parameter("claims").filter(|_| !has_claims) {
                has_claims = true;
                all.claims = decode(&claims);
            }
        }
    }
    Some(all)
}

fn decode(claims: &str) -> Option<Value> {
    use base64::prelude::*;

    if claims.len() > 8 * 1024 {
        return None;
    }
    let engines =
        [BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD];
    let decoded = engines.iter().find_map(|engine| engine.decode(claims).ok())?;
    let text = String::from_utf8(decoded).ok()?;
    serde_json::from_str(&text).ok().filter(Value::is_object)
}
