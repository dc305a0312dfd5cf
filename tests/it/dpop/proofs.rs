use super::*;

// W10
#[tokio::test(start_paused = true)]
async fn each_request_has_another_proof() {
    for algorithm in [Algorithm::ES256, Algorithm::EdDSA] {
        let key = SigningKey::generate(algorithm).unwrap();
        let (source, api) = (ScriptedSource::tokens(bound), Api::new(|_| reply(200, &[])));
        let tokens = Tokens::new(with_key(DpopKey::new(key.clone())), source.clone());
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

/// The header of both proofs, as in RFC 9449 sections 4.1 and 7.1.
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

// Compares the requests of the RFC with a proof from here, whose signature differs in each run.
// W10: RFC 9449 sections 4.1, 6.1 and 7.1
#[tokio::test(start_paused = true)]
async fn proofs_have_the_members_of_the_rfc() {
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
    let credentials = Credentials::new("https://server.example.com/token", auth).unwrap();
    let tokens = Tokens::new(credentials.dpop(key), TokenEndpoint::new(http.clone()));
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

// W10, X2
#[tokio::test(start_paused = true)]
async fn proofs_and_bound_tokens_are_sent_only_together() {
    let (source, api) = (ScriptedSource::tokens(bound), Api::always(200));
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

    // The layer cannot know the origin of a relative URI.
    let tokens = Tokens::new(with_key(DpopKey::generate().unwrap()), source.clone());
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
async fn after_a_refusal_proofs_use_the_clock_of_the_server() {
    for (ahead, honest, status, sends) in
        [(300, true, 200, 2), (-300, true, 200, 2), (300, false, 401, 3)]
    {
        let source = ScriptedSource::tokens(bound);
        let api = Api::new(move |request| {
            let now = std::time::SystemTime::now();
            let shift = |by: i64| {
                let by_secs = Duration::from_secs(by.unsigned_abs());
                if by < 0 { now - by_secs } else { now + by_secs }
            };
            let theirs = shift(ahead);
            let iat = Proof::of(request).claims["iat"].as_u64().unwrap();
            let since = theirs.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
            let shown = if honest { theirs } else { shift(-ahead) };
            let date = httpdate::fmt_http_date(shown);
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
            // Later requests succeed at the first send.
            assert_eq!(call(&service, get("/")).await.status(), status);
            assert_eq!((api.count(), source.count()), (sends + 1, 1));
        } else {
            assert_eq!(source.count(), 2, "the second 401 rejects the token, once");
        }
        proofs(&api);
    }
}
