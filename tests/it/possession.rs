//! Proofs of possession (DPoP), against an API that looks into each. Servers that others wrote look into them in
//! `tests/interop`.

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use ring::signature::{ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey};
use serde_json::Value;
use tower::{BoxError, Layer, Service, ServiceExt};
use tower_oauth2::{
    AccessToken, Algorithm, ClientAuth, ClientCredentials, DpopKey, MemoryStore, NoToken,
    NotReplayed, OAuth2, OAuth2Layer, Origins, ReplayBody, ReplayPolicy, ReplayableLayer, Replayed,
    SigningKey, StoreLayer, TokenCache, TokenEndpoint, TokenError, TokenErrorKind, TokenRequest,
};

use crate::support::*;

/// A proof that was looked into.
#[derive(Clone, Debug)]
struct Proof {
    header: Value,
    claims: Value,
}

impl Proof {
    /// The one proof of a request: signed with the key that it names, of the right type, with nothing private in it.
    fn of<B>(request: &Request<B>) -> Self {
        let fields: Vec<_> = request.headers().get_all("dpop").iter().collect();
        let [field] = fields[..] else { panic!("{} proofs", fields.len()) };
        assert!(field.is_sensitive());
        let proof = Self::parse(field.to_str().unwrap());
        assert_eq!(proof.claims["htm"], request.method().as_str());
        proof
    }

    fn parse(text: &str) -> Self {
        let (input, signature) = text.rsplit_once('.').unwrap();
        let (header, claims) = input.split_once('.').unwrap();
        let decode = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).unwrap();
        let json = |text| serde_json::from_slice::<Value>(&decode(text)).unwrap();
        let (header, claims) = (json(header), json(claims));
        assert_eq!(header["typ"], "dpop+jwt");
        let jwk = header["jwk"].as_object().unwrap();
        assert!(!jwk.contains_key("d"));
        let part = |name| decode(jwk[name].as_str().unwrap());
        let signature = decode(signature);
        match header["alg"].as_str().unwrap() {
            "ES256" => {
                let key = [vec![4], part("x"), part("y")].concat();
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key)
                    .verify(input.as_bytes(), &signature)
                    .unwrap();
            }
            "EdDSA" => UnparsedPublicKey::new(&ED25519, part("x"))
                .verify(input.as_bytes(), &signature)
                .unwrap(),
            other => panic!("{other}"),
        }
        Self { header, claims }
    }

    /// RFC 7638 section 3, for an EC key.
    fn thumbprint(&self) -> String {
        let Value::Object(jwk) = &self.header["jwk"] else { panic!("{}", self.header) };
        let required = ["crv", "kty", "x", "y"].map(|name| format!(r#""{name}":{}"#, jwk[name]));
        let required = format!("{{{}}}", required.join(","));
        let hash = ring::digest::digest(&ring::digest::SHA256, required.as_bytes());
        BASE64_URL_SAFE_NO_PAD.encode(hash)
    }

    /// What it says, in any order.
    fn names(&self) -> [BTreeSet<String>; 3] {
        [&self.header, &self.header["jwk"], &self.claims]
            .map(|object| object.as_object().unwrap().keys().cloned().collect())
    }

    fn nonce(&self) -> Option<&str> {
        self.claims.get("nonce").map(|nonce| nonce.as_str().unwrap())
    }
}

fn token<B>(request: &Request<B>) -> &str {
    let value = request.headers()[AUTHORIZATION].to_str().unwrap();
    value.strip_prefix("DPoP ").expect("a token that is bound to a key")
}

fn proofs(api: &Api) -> Vec<Proof> {
    let proofs: Vec<_> = api.requests().iter().map(Proof::of).collect();
    let ids: HashSet<_> = proofs.iter().map(|proof| proof.claims["jti"].to_string()).collect();
    assert_eq!(ids.len(), proofs.len(), "none is used twice");
    proofs
}

fn bound(n: usize) -> AccessToken {
    AccessToken::dpop(format!("token-{n}")).unwrap().with_expires_in(Duration::from_secs(3600))
}

fn with_key(key: DpopKey) -> ClientCredentials {
    credentials().dpop(key)
}

fn layer(source: &Source) -> OAuth2Layer {
    let credentials = with_key(DpopKey::generate().unwrap());
    let tokens = TokenCache::new(credentials, source.clone());
    OAuth2Layer::new(tokens, Origins::only(["https://api.test"]).unwrap())
}

fn client(source: &Source, api: &Api) -> OAuth2<Api> {
    layer(source).layer(api.clone())
}

fn reply(status: u16, fields: &[(&str, &str)]) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in fields {
        let name: http::HeaderName = name.parse().unwrap();
        response.headers_mut().append(name, value.parse().unwrap());
    }
    response
}

const NONCE_WANTED: &str = r#"DPoP algs="ES256", error="use_dpop_nonce""#;

/// Wants `nonce`, and then a token that it accepts.
fn with_nonce(
    nonce: impl Fn() -> String + Send + Sync + 'static,
    accepts: impl Fn(&str) -> bool + Send + Sync + 'static,
) -> Api {
    Api::new(move |request| {
        let nonce = nonce();
        if Proof::of(request).nonce() != Some(&nonce) {
            return reply(401, &[("www-authenticate", NONCE_WANTED), ("dpop-nonce", &nonce)]);
        }
        let status = if accepts(token(request)) { 200 } else { 401 };
        reply(status, &[("dpop-nonce", &nonce)])
    })
}

async fn call<S>(service: &S, request: Request<Full<Bytes>>) -> Response<Full<Bytes>>
where
    S: Service<Request<Full<Bytes>>, Response = Response<Full<Bytes>>> + Clone,
    S::Error: std::fmt::Debug,
{
    service.clone().oneshot(request).await.unwrap()
}

// W10
#[tokio::test(start_paused = true)]
async fn every_request_has_a_proof_of_its_own() {
    for algorithm in [Algorithm::ES256, Algorithm::EdDSA] {
        let key = SigningKey::generate(algorithm).unwrap();
        let (source, api) = (Source::of(bound), Api::new(|_| reply(200, &[])));
        let tokens = TokenCache::new(with_key(DpopKey::new(key.clone())), source.clone());
        let layer = OAuth2Layer::new(tokens, Origins::only(["https://api.test"]).unwrap());
        let service = layer.layer(api.clone());
        for uri in [
            "https://api.test/a/%7Eb?c=d",
            "https://API.test:443/a/%7Eb",
            "https://api.test",
            "/relative?to=the-only-origin",
        ] {
            let request =
                Request::put(uri).header("dpop", "the caller's own").body(Full::default());
            call(&service, request.unwrap()).await;
        }
        let proofs = proofs(&api);
        let uris: Vec<_> =
            proofs.iter().map(|proof| proof.claims["htu"].as_str().unwrap()).collect();
        assert_eq!(
            uris,
            [
                "https://api.test/a/%7Eb",
                "https://api.test/a/%7Eb",
                "https://api.test/",
                "https://api.test/relative",
            ]
        );
        for (request, proof) in api.requests().iter().zip(&proofs) {
            assert_eq!(proof.header["jwk"], key.public_jwk());
            assert_eq!(proof.nonce(), None);
            let ath = ring::digest::digest(&ring::digest::SHA256, token(request).as_bytes());
            assert_eq!(proof.claims["ath"], BASE64_URL_SAFE_NO_PAD.encode(ath));
        }
        assert_eq!(source.count(), 1);
    }
}

/// RFC 9449 sections 4.1 and 7.1: the header of both proofs, and the rest of each.
const HEADER: &str = concat!(
    "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6Ik",
    "VDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCR",
    "nMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JE",
    "QSIsImNydiI6IlAtMjU2In19",
);
const OF_A_TOKEN_REQUEST: &str = concat!(
    "eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIj",
    "oiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwia",
    "WF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg",
    "4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg",
);
const OF_AN_API_REQUEST: &str = concat!(
    "eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIj",
    "oiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0Z",
    "WRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNF",
    "c05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71E",
    "OptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA",
);
const TOKEN: &str = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";

// The same requests with a proof of ours, which another run would have signed otherwise: whoever takes the one of the
// RFC takes ours.
// W10: RFC 9449 sections 4.1, 6.1 and 7.1
#[tokio::test(start_paused = true)]
async fn proofs_are_those_of_the_rfc() {
    let of_the_rfc = |rest| Proof::parse(&format!("{HEADER}.{rest}"));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let http = tower::service_fn(move |request: Request<Full<Bytes>>| {
        log.lock().unwrap().push(Proof::of(&request));
        let body = format!(r#"{{"access_token":"{TOKEN}","token_type":"DPoP"}}"#);
        std::future::ready(Ok::<_, BoxError>(Response::new(Full::<Bytes>::from(body))))
    });
    let auth = ClientAuth::client_secret_basic("client-id", SECRET);
    let key = DpopKey::generate().unwrap();
    let thumbprint = key.thumbprint();
    let credentials = ClientCredentials::new("https://server.example.com/token", auth).unwrap();
    let tokens = TokenCache::new(credentials.dpop(key), TokenEndpoint::new(http.clone()));
    let origins = Origins::only(["https://resource.example.org"]).unwrap();
    let request = Request::get("https://resource.example.org/protectedresource");
    let request = request.body(Full::default()).unwrap();
    OAuth2Layer::new(tokens, origins).layer(http).oneshot(request).await.unwrap();

    let ours = seen.lock().unwrap();
    let theirs = [OF_A_TOKEN_REQUEST, OF_AN_API_REQUEST].map(of_the_rfc);
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours.names(), theirs.names());
        for claim in ["htm", "htu", "ath"] {
            assert_eq!(ours.claims.get(claim), theirs.claims.get(claim));
        }
        assert_eq!(ours.thumbprint(), thumbprint);
        assert_eq!(theirs.thumbprint(), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
    }
}

// W10
#[tokio::test(start_paused = true)]
async fn a_token_request_has_a_proof_without_a_token_and_answers_a_nonce_once() {
    for (asks_for_ever, requests) in [(false, 2), (true, 2)] {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        let http = tower::service_fn(move |request: Request<Full<Bytes>>| {
            let proof = Proof::of(&request);
            let mut log = log.lock().unwrap();
            log.push(proof.clone());
            let nonce = format!("nonce-{}", if asks_for_ever { log.len() } else { 1 });
            let response = if proof.nonce() == Some(&nonce) && !asks_for_ever {
                let body = r#"{"access_token":"t","token_type":"dpop","expires_in":60}"#;
                Response::new(Full::from(body))
            } else {
                let mut response = reply(400, &[("dpop-nonce", &nonce)]);
                *response.body_mut() = Full::from(r#"{"error":"use_dpop_nonce"}"#);
                response
            };
            std::future::ready(Ok::<_, BoxError>(response))
        });
        let credentials = with_key(DpopKey::generate().unwrap());
        let asked = TokenEndpoint::new(http).oneshot(TokenRequest::new(credentials)).await;
        let seen = seen.lock().unwrap();
        assert_eq!(seen.len(), requests);
        assert!(seen.iter().all(|proof| proof.claims.get("ath").is_none()));
        assert_eq!(seen[0].claims["htu"], "https://auth.test/token");
        assert_ne!(seen[0].claims["jti"], seen[1].claims["jti"]);
        match asked {
            Ok(token) => assert_eq!((token.secret(), token.token_type()), ("t", "DPoP")),
            Err(error) => {
                assert_eq!((asks_for_ever, error.error()), (true, Some("use_dpop_nonce")))
            }
        }
    }
}

// W10
#[tokio::test(start_paused = true)]
async fn a_nonce_is_answered_with_the_same_token_and_kept_for_the_next_request() {
    for policy in
        [ReplayPolicy::unauthorized(), ReplayPolicy::invalid_token(), ReplayPolicy::never()]
    {
        let n = Arc::new(AtomicUsize::new(1));
        let now = n.clone();
        let nonce = move || format!("nonce-{}", now.load(Ordering::SeqCst));
        let (source, api) = (Source::of(bound), with_nonce(nonce, |_| true));
        let service = layer(&source).replay_policy(policy).layer(api.clone());
        let first = call(&service, get("/")).await;
        assert_eq!((first.status(), first.extensions().get::<Replayed>()), (StatusCode::OK, None));
        assert_eq!(call(&service, get("/")).await.status(), StatusCode::OK);
        n.store(2, Ordering::SeqCst);
        assert_eq!(call(&service, get("/")).await.status(), StatusCode::OK);
        let nonces: Vec<_> =
            proofs(&api).iter().map(|proof| proof.nonce().unwrap_or("none").to_owned()).collect();
        assert_eq!(nonces, ["none", "nonce-1", "nonce-1", "nonce-1", "nonce-2"]);
        assert_eq!(source.count(), 1);
    }
}

// W10, R8
#[tokio::test(start_paused = true)]
async fn a_server_that_wants_a_new_nonce_for_ever_gets_two_requests_and_no_token_request() {
    let n = AtomicUsize::new(0);
    let nonce = move || format!("nonce-{}", n.fetch_add(1, Ordering::SeqCst));
    let (source, api) = (Source::of(bound), with_nonce(nonce, |_| true));
    let service = client(&source, &api);
    for sent in [2, 4] {
        let response = call(&service, get("/")).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.extensions().get(), Some(&Replayed::No(NotReplayed::Nonce)));
        assert_eq!((api.count(), source.count()), (sent, 1));
    }
}

// W10, R1
#[tokio::test(start_paused = true)]
async fn a_nonce_and_a_rejection_in_one_request_take_three_sends_in_either_order() {
    // The nonce is looked at first.
    let (source, api) =
        (Source::of(bound), with_nonce(|| "n".to_owned(), |token| token == "token-2"));
    let response = call(&client(&source, &api), get("/")).await;
    assert_eq!((response.status(), api.count(), source.count()), (StatusCode::OK, 3, 2));
    assert_eq!(response.extensions().get(), Some(&Replayed::Yes));
    proofs(&api);

    // The token is.
    let source = Source::of(bound);
    let api = Api::new(|request| {
        if token(request) != "token-2" {
            return reply(401, &[]);
        }
        match Proof::of(request).nonce() {
            Some("n") => reply(200, &[]),
            _ => reply(401, &[("www-authenticate", NONCE_WANTED), ("dpop-nonce", "n")]),
        }
    });
    let response = call(&client(&source, &api), get("/")).await;
    assert_eq!((response.status(), api.count(), source.count()), (StatusCode::OK, 3, 2));
    assert_eq!(response.extensions().get(), Some(&Replayed::Yes));
    proofs(&api);
}

// W10, R3
#[tokio::test(start_paused = true)]
async fn a_stream_is_sent_whole_each_time() {
    let bodies = Arc::new(Mutex::new(Vec::new()));
    let log = bodies.clone();
    let api = tower::service_fn(move |request: Request<ReplayBody<_>>| {
        let log = log.clone();
        async move {
            let (nonce, accepted) =
                (Proof::of(&request).nonce().map(str::to_owned), token(&request) == "token-2");
            let body = BodyExt::collect(request.into_body()).await?.to_bytes();
            log.lock().unwrap().push(body);
            Ok::<_, BoxError>(match (nonce.as_deref(), accepted) {
                (Some("n"), true) => reply(200, &[]),
                (Some("n"), false) => reply(401, &[]),
                _ => reply(401, &[("www-authenticate", NONCE_WANTED), ("dpop-nonce", "n")]),
            })
        }
    });
    for (limit, status, sends) in [(64, 200, 3), (5, 401, 1)] {
        bodies.lock().unwrap().clear();
        let source = Source::of(bound);
        let service = ReplayableLayer::new().limit(limit).layer(layer(&source).layer(api.clone()));
        let chunks = ["one ", "two ", "three"].map(|chunk| {
            Ok::<_, BoxError>(http_body::Frame::data(Bytes::from_static(chunk.as_bytes())))
        });
        let body = StreamBody::new(futures_util::stream::iter(chunks));
        let request = Request::post("https://api.test/").body(body).unwrap();
        let response = service.oneshot(request).await.unwrap();
        assert_eq!(response.status(), status);
        let bodies = bodies.lock().unwrap();
        assert_eq!(bodies.len(), sends);
        assert!(bodies.iter().all(|body| body == "one two three"));
        let replayed = if status == 200 { Replayed::Yes } else { Replayed::No(NotReplayed::Body) };
        assert_eq!(response.extensions().get(), Some(&replayed));
    }
}

// W10
#[tokio::test(start_paused = true)]
async fn many_with_an_old_nonce_are_all_answered() {
    let (source, api) = (Source::of(bound), with_nonce(|| "n".to_owned(), |_| true));
    let service = client(&source, &api);
    let all: Vec<_> = (0..64)
        .map(|_| {
            let service = service.clone();
            tokio::spawn(async move { call(&service, get("/")).await.status() })
        })
        .collect();
    for one in all {
        assert_eq!(one.await.unwrap(), StatusCode::OK);
    }
    assert!(api.count() <= 128);
    assert_eq!(source.count(), 1);
    proofs(&api);
}

// W10: whatever the source is
#[tokio::test(start_paused = true)]
async fn nothing_is_downgraded() {
    let api = Api::always(200);
    let bearer = Source::of(hour);
    let error = client(&bearer, &api).oneshot(get("/")).await.unwrap_err();
    let error = TokenError::find_in(&*error).unwrap();
    assert_eq!(error.kind(), TokenErrorKind::UnsupportedTokenType);

    // Nor is one that is bound to a key sent by those who have none.
    let tokens = TokenCache::new(credentials(), Source::of(bound));
    let error = tokens.get().await.unwrap_err();
    assert_eq!(error.kind(), TokenErrorKind::UnsupportedTokenType);

    for (body, key) in [
        (r#"{"access_token":"t","token_type":"Bearer"}"#, Some(DpopKey::generate().unwrap())),
        (r#"{"access_token":"t"}"#, Some(DpopKey::generate().unwrap())),
        (r#"{"access_token":"t","token_type":"DPoP"}"#, None),
    ] {
        let http = tower::service_fn(move |_: Request<Full<Bytes>>| {
            std::future::ready(Ok::<_, BoxError>(Response::new(Full::<Bytes>::from(body))))
        });
        let credentials = key.map_or_else(credentials, with_key);
        let asked = TokenEndpoint::new(http).oneshot(TokenRequest::new(credentials)).await;
        assert_eq!(asked.unwrap_err().kind(), TokenErrorKind::UnsupportedTokenType, "{body}");
    }
    assert_eq!(api.count(), 0);
}

// W10, S2
#[tokio::test(start_paused = true)]
async fn a_store_shares_tokens_between_those_who_have_the_key() {
    let store = StoreLayer::new(MemoryStore::new());
    let source = Source::of(bound);
    let key = SigningKey::generate(Algorithm::ES256).unwrap();
    let process = |key: DpopKey| TokenCache::new(with_key(key), store.layer(source.clone()));
    for _ in 0..2 {
        let token = process(DpopKey::new(key.clone())).get().await.unwrap();
        assert_eq!((token.secret(), token.token_type()), ("token-1", "DPoP"));
    }
    let other = process(DpopKey::generate().unwrap()).get().await.unwrap();
    assert_eq!((other.secret(), source.count()), ("token-2", 2));
    assert_ne!(with_key(DpopKey::new(key)), credentials());
}

// W10, X2
#[tokio::test(start_paused = true)]
async fn there_is_no_proof_where_there_is_no_token_and_no_token_without_a_proof() {
    let (source, api) = (Source::of(bound), Api::always(200));
    let service = client(&source, &api);
    let mut free = get("/");
    free.extensions_mut().insert(NoToken);
    call(&service, free).await;
    let foreign = Request::get("https://elsewhere.test/").body(Full::default()).unwrap();
    call(&service, foreign).await;
    for request in api.requests() {
        assert!(
            !request.headers().contains_key("dpop")
                && !request.headers().contains_key(AUTHORIZATION)
        );
    }

    // Which origin a relative URI is of can not be known here.
    let tokens = TokenCache::new(with_key(DpopKey::generate().unwrap()), source.clone());
    let origins = Origins::only(["https://api.test", "https://other.test"]).unwrap();
    let mut service = OAuth2Layer::new(tokens, origins).layer(api.clone());
    for _ in 0..2 {
        let request = Request::get("/relative").body(Full::default()).unwrap();
        let error = service.ready().await.unwrap().call(request).await.unwrap_err();
        assert_eq!(TokenError::find_in(&*error).unwrap().kind(), TokenErrorKind::Proof);
    }
    assert_eq!(api.count(), 2);
}

// W8, W10: five minutes fast, and a server that says what time it is
#[tokio::test(start_paused = true)]
async fn a_proof_is_made_by_the_servers_clock_after_a_refusal() {
    for (ahead, honest, status, sends) in
        [(300, true, 200, 2), (-300, true, 200, 2), (300, false, 401, 3)]
    {
        let source = Source::of(bound);
        let api = Api::new(move |request| {
            let now = std::time::SystemTime::now();
            let shift = |by: i64| {
                let by_secs = Duration::from_secs(by.unsigned_abs());
                if by < 0 { now - by_secs } else { now + by_secs }
            };
            let theirs = shift(ahead);
            let iat = Proof::of(request).claims["iat"].as_u64().unwrap();
            let since = theirs.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
            let told = if honest { theirs } else { shift(-ahead) };
            let date = httpdate::fmt_http_date(told);
            if iat.abs_diff(since) > 60 {
                let challenge = r#"DPoP error="invalid_dpop_proof""#;
                return reply(401, &[("www-authenticate", challenge), ("date", &date)]);
            }
            reply(200, &[("date", &date)])
        });
        let service = client(&source, &api);
        let response = call(&service, get("/")).await;
        assert_eq!((response.status().as_u16(), api.count()), (status, sends), "{ahead} {honest}");
        if honest {
            // From now on at the first attempt.
            assert_eq!(call(&service, get("/")).await.status(), status);
            assert_eq!((api.count(), source.count()), (sends + 1, 1));
        } else {
            assert_eq!(source.count(), 2, "then it is held against the token, once");
        }
        proofs(&api);
    }
}

// W10, X3, O
#[tokio::test(start_paused = true)]
async fn no_proof_key_or_nonce_shows() {
    let (trace, _guard) = Trace::start();
    let secret = "nonce-that-nobody-sees";
    let (source, api) = (Source::of(bound), with_nonce(move || secret.to_owned(), |_| true));
    let key = DpopKey::generate().unwrap();
    let shown = [format!("{key:?}"), format!("{:?}", with_key(key))].concat();
    call(&client(&source, &api), get("/")).await;
    let all = [trace.lines().join("\n"), shown].concat();
    let proofs = api.requests();
    for request in &proofs {
        let proof = request.headers()["dpop"].to_str().unwrap();
        assert!(!all.contains(proof) && !all.contains("token-1") && !all.contains(secret), "{all}");
    }
    assert!(all.contains("proof"), "it says that there was another one: {all}");
}
