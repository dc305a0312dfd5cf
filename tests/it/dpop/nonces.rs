use super::*;

// W10
#[tokio::test(start_paused = true)]
async fn a_token_request_has_a_proof_and_is_resent_once_with_a_nonce() {
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
        let result = single_try(http).oneshot(TokenRequest::new(credentials)).await;
        let seen = seen.lock().unwrap();
        assert_eq!(seen.len(), requests);
        assert!(seen.iter().all(|proof| proof.claims.get("ath").is_none()));
        assert_eq!(seen[0].claims["htu"], "https://auth.test/token");
        assert_ne!(seen[0].claims["jti"], seen[1].claims["jti"]);
        match result {
            Ok(token) => assert_eq!((token.secret(), token.token_type()), ("t", "DPoP")),
            Err(error) => {
                assert_eq!((asks_for_ever, error.error_code()), (true, Some("use_dpop_nonce")))
            }
        }
    }
}

// W10
#[tokio::test(start_paused = true)]
async fn a_nonce_is_used_with_the_same_token_and_in_the_next_request() {
    for policy in
        [ReplayPolicy::unauthorized(), ReplayPolicy::invalid_token(), ReplayPolicy::never()]
    {
        let n = Arc::new(AtomicUsize::new(1));
        let now = n.clone();
        let nonce = move || format!("nonce-{}", now.load(Ordering::SeqCst));
        let (source, api) = (ScriptedSource::tokens(bound), with_nonce(nonce, |_| true));
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
async fn a_server_that_always_requires_a_new_nonce_gets_two_requests() {
    let n = AtomicUsize::new(0);
    let nonce = move || format!("nonce-{}", n.fetch_add(1, Ordering::SeqCst));
    let (source, api) = (ScriptedSource::tokens(bound), with_nonce(nonce, |_| true));
    let service = client(&source, &api);
    for sent in [2, 4] {
        let response = call(&service, get("/")).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.extensions().get(), Some(&Replayed::No(NotReplayed::Proof)));
        assert_eq!((api.count(), source.count()), (sent, 1));
    }
}

// W10, R1
#[tokio::test(start_paused = true)]
async fn a_nonce_and_a_rejection_in_one_request_take_three_sends() {
    // The API checks the nonce first.
    let (source, api) =
        (ScriptedSource::tokens(bound), with_nonce(|| "n".to_owned(), |token| token == "token-2"));
    let response = call(&client(&source, &api), get("/")).await;
    assert_eq!((response.status(), api.count(), source.count()), (StatusCode::OK, 3, 2));
    assert_eq!(response.extensions().get(), Some(&Replayed::Yes));
    proofs(&api);

    // The API checks the token first.
    let source = ScriptedSource::tokens(bound);
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
async fn a_streamed_body_is_resent_whole() {
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
        let source = ScriptedSource::tokens(bound);
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
async fn many_requests_with_an_old_nonce_all_succeed() {
    let (source, api) = (ScriptedSource::tokens(bound), with_nonce(|| "n".to_owned(), |_| true));
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

// W10, X3, O
#[tokio::test(start_paused = true)]
async fn debug_shows_no_proof_key_or_nonce() {
    let (trace, _guard) = Trace::start();
    let secret = "secret-nonce";
    let (source, api) =
        (ScriptedSource::tokens(bound), with_nonce(move || secret.to_owned(), |_| true));
    let key = DpopKey::generate().unwrap();
    let shown = [format!("{key:?}"), format!("{:?}", with_key(key))].concat();
    call(&client(&source, &api), get("/")).await;
    let all = [trace.lines().join("\n"), shown].concat();
    let proofs = api.requests();
    for request in &proofs {
        let proof = request.headers()["dpop"].to_str().unwrap();
        assert!(!all.contains(proof) && !all.contains("token-1") && !all.contains(secret), "{all}");
    }
    assert!(all.contains("proof"), "no event says that a second proof was sent: {all}");
}
