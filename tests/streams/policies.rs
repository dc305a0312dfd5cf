//! Tests of the built-in policies, and of claims challenges from an API.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderName, Request, Response};
use http_body_util::Full;
use tower::{Layer, Service, ServiceExt};
use tower_oauth2::replay::{ReplayPolicy, ReplayableLayer, Replayed};
use tower_oauth2::source::Cause;
use tower_oauth2::{OAuth2Layer, Origins, TokenEndpoint, Tokens};

use crate::support::*;

type Fields = &'static [(&'static str, &'static str)];

/// Returns whether a response with this status and these fields leads to a replay.
async fn leads_to_a_replay(policy: ReplayPolicy, code: u16, fields: Fields) -> bool {
    let source = ScriptedSource::tokens(hour);
    let api = Api::serving(move |n, request| {
        assert_eq!(read(&mut request.into_body()), b"one two", "whole, each time");
        let mut response = status(200);
        if n == 1 {
            response = answer(code, fields);
        }
        async { response }
    });
    let oauth2 = warm_layer(&source).await.replay_policy(policy).layer(api.clone());
    let service = ReplayableLayer::new().layer(oauth2);
    let response = service.oneshot(put(Script::of(["one ", "two"]))).await.unwrap();
    let is_replayed = replayed(&response) == Some(Replayed::Yes);
    assert_eq!(api.count(), 1 + usize::from(is_replayed));
    assert_eq!(source.count(), api.count(), "a token that was not rejected is kept");
    if !is_replayed {
        assert_eq!(replayed(&response), None);
        assert_eq!(response.status(), code);
    }
    is_replayed
}

fn answer(code: u16, fields: Fields) -> Response<()> {
    let mut response = status(code);
    for (name, value) in fields {
        let name = HeaderName::from_static(name);
        response.headers_mut().append(name, value.parse().unwrap());
    }
    response
}

// R7
#[tokio::test(start_paused = true)]
async fn policy_invalid_token_needs_a_bearer_challenge_with_that_code() {
    for (code, fields, expected) in [
        (401, &[("www-authenticate", "Bearer error=\"invalid_token\"")][..], true),
        (401, &[("www-authenticate", "bearer realm=\"a, b\", ERROR=invalid_token")], true),
        (
            401,
            &[
                ("www-authenticate", "Negotiate YWJj=="),
                ("www-authenticate", "Basic realm=\"x\", Bearer error=\"invalid_token\""),
            ],
            true,
        ),
        (
            401,
            &[(
                "www-authenticate",
                "Bearer error_description=\"a \\\" b\", error=\"invalid_token\"",
            )],
            true,
        ),
        (401, &[], false),
        (401, &[("www-authenticate", "Bearer")], false),
        (401, &[("www-authenticate", "Bearer error=\"insufficient_scope\"")], false),
        (401, &[("www-authenticate", "Bearer realm=\"error=invalid_token\"")], false),
        (401, &[("www-authenticate", "Bearer, Basic error=\"invalid_token\"")], false),
        (
            401,
            &[("www-authenticate", "Bearer"), ("www-authenticate", "error=\"invalid_token\"")],
            false,
        ),
        (403, &[("www-authenticate", "Bearer error=\"invalid_token\"")], false),
        (200, &[("www-authenticate", "Bearer error=\"invalid_token\"")], false),
    ] {
        let actual = leads_to_a_replay(ReplayPolicy::invalid_token(), code, fields).await;
        assert_eq!(actual, expected, "{code} {fields:?}");
    }
}

// R7
#[tokio::test(start_paused = true)]
async fn policy_grpc_unauthenticated_needs_status_16_in_the_headers() {
    for (code, fields, expected) in [
        (200, &[("grpc-status", "16")][..], true),
        (200, &[("grpc-status", "16"), ("grpc-message", "who%20are%20you")], true),
        (200, &[], false),
        (200, &[("grpc-status", "0")], false),
        (200, &[("grpc-status", "7")], false),
        (200, &[("grpc-status", "160")], false),
        (401, &[], false),
    ] {
        let actual = leads_to_a_replay(ReplayPolicy::grpc_unauthenticated(), code, fields).await;
        assert_eq!(actual, expected, "{code} {fields:?}");
    }
}

// R7
#[tokio::test(start_paused = true)]
async fn other_policies_match_their_names() {
    let unauthorized = ReplayPolicy::unauthorized;
    assert!(leads_to_a_replay(unauthorized(), 401, &[]).await);
    assert!(!leads_to_a_replay(unauthorized(), 419, &[]).await);
    let statuses = || ReplayPolicy::statuses([401, 419]);
    assert!(leads_to_a_replay(statuses(), 401, &[]).await);
    assert!(leads_to_a_replay(statuses(), 419, &[]).await);
    assert!(!leads_to_a_replay(statuses(), 403, &[]).await);
    let never = ReplayPolicy::never;
    let challenge: Fields = &[("www-authenticate", "Bearer error=\"invalid_token\"")];
    assert!(!leads_to_a_replay(never(), 401, challenge).await);
    let when = || ReplayPolicy::when(|code, headers| code == 403 && headers.contains_key("x-old"));
    assert!(leads_to_a_replay(when(), 403, &[("x-old", "1")]).await);
    assert!(!leads_to_a_replay(when(), 403, &[]).await);
}

/// A token endpoint that records the forms of its requests.
#[derive(Clone, Default)]
struct Endpoint(Arc<Mutex<Vec<Form>>>);

type Form = Vec<(String, String)>;

impl Endpoint {
    /// Returns the `claims` of each token request.
    fn claims(&self) -> Vec<Option<String>> {
        let forms = self.0.lock().unwrap();
        let claims = forms.iter().map(|form| {
            let mut all = form.iter().filter(|(name, _)| name == "claims");
            let claims = all.next().map(|(_, value)| value.clone());
            assert!(all.next().is_none(), "sent twice");
            claims
        });
        claims.collect()
    }
}

impl Service<Request<Full<Bytes>>> for Endpoint {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let Poll::Ready(Some(Ok(frame))) = look(&mut request.into_body()) else {
            panic!("a token request has a form")
        };
        let form = frame.into_data().unwrap();
        let mut forms = self.0.lock().unwrap();
        forms.push(form_urlencoded::parse(&form).into_owned().collect());
        let token = format!(r#"{{"access_token":"token-{}","token_type":"Bearer"}}"#, forms.len());
        ready(Ok(Response::new(token.into())))
    }
}

// R7
#[tokio::test(start_paused = true)]
async fn claims_of_a_challenge_are_sent_in_later_token_requests() {
    let json = r#"{"access_token":{"nbf":{"essential":true,"value":"1604106651?>"}}}"#;
    for encoded in [BASE64_STANDARD.encode(json), BASE64_URL_SAFE_NO_PAD.encode(json)] {
        let challenge = format!(
            "Bearer realm=\"\", authorization_uri=\"https://auth.test/authorize\", \
             error=\"insufficient_claims\", claims=\"{encoded}\""
        );
        let endpoint = Endpoint::default();
        let cache = Tokens::new(credentials(), TokenEndpoint::new(endpoint.clone()));
        let api = Api::serving(move |n, request| {
            assert_eq!(read(&mut request.into_body()), b"one two");
            let mut response = status(if n % 2 == 0 { 200 } else { 401 });
            if n == 1 {
                response.headers_mut().insert(WWW_AUTHENTICATE, challenge.parse().unwrap());
            }
            async { response }
        });
        let oauth2 = OAuth2Layer::new(cache, Origins::any()).layer(api.clone());
        let service = ReplayableLayer::new().layer(oauth2);
        // The second one is rejected without a challenge. The next token keeps the claims.
        for _ in 0..2 {
            let response = service.clone().oneshot(put(Script::of(["one ", "two"]))).await.unwrap();
            assert_eq!(response.status(), 200);
            assert_eq!(replayed(&response), Some(Replayed::Yes));
        }
        assert_eq!(api.tokens(), ["token-1", "token-2", "token-2", "token-3"]);
        let with_claims = Some(json.to_owned());
        assert_eq!(endpoint.claims(), [None, with_claims.clone(), with_claims]);
    }
}

// R3, R7
#[tokio::test(start_paused = true)]
async fn claims_are_kept_when_a_body_is_over_the_limit() {
    let source = ScriptedSource::tokens(hour);
    let challenge = format!("Bearer claims=\"{}\"", BASE64_STANDARD.encode(r#"{"a":1}"#));
    let api = Api::serving(move |n, request| {
        read(&mut request.into_body());
        let mut response = status(if n == 1 { 401 } else { 200 });
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge.parse().unwrap());
        async { response }
    });
    let oauth2 = warm_layer(&source).await.layer(api.clone());
    let service = ReplayableLayer::new().limit(3).layer(oauth2);
    let response = service.oneshot(put(Script::of(["four"]))).await.unwrap();
    assert_eq!(response.status(), 401);
    settle().await;
    let requests = source.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!((requests[1].cause(), requests[1].claims()), (Cause::Rejected, Some(r#"{"a":1}"#)));
}

// R7
#[tokio::test(start_paused = true)]
async fn malformed_claims_are_ignored() {
    for claims in ["!!!", "YWJj", "WzFd"] {
        let source = ScriptedSource::tokens(hour);
        let api = Api::serving(move |n, _| {
            let mut response = status(if n == 1 { 401 } else { 200 });
            let challenge = format!("Bearer error=\"insufficient_claims\", claims=\"{claims}\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge.parse().unwrap());
            async { response }
        });
        let service = ReplayableLayer::new().layer(warm_layer(&source).await.layer(api));
        let response = service.oneshot(put(Script::of([""]))).await.unwrap();
        assert_eq!((response.status().as_u16(), replayed(&response)), (200, Some(Replayed::Yes)));
        let requests = source.requests();
        assert_eq!((requests.len(), requests[1].claims()), (2, None), "{claims}");
    }
}
