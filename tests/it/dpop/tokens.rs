use super::*;

// W10: for every source
#[tokio::test(start_paused = true)]
async fn a_bound_token_is_never_sent_as_a_bearer_token() {
    let api = Api::always(200);
    let bearer = ScriptedSource::tokens(hour);
    let error = client(&bearer, &api).oneshot(get("/")).await.unwrap_err();
    let error = TokenError::find_in(&*error).unwrap();
    assert_eq!(error.kind(), TokenErrorKind::UnsupportedTokenType);

    // A bound token is not sent by a client without a key.
    let tokens = Tokens::new(credentials(), ScriptedSource::tokens(bound));
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
        let result = single_try(http).oneshot(TokenRequest::new(credentials)).await;
        assert_eq!(result.unwrap_err().kind(), TokenErrorKind::UnsupportedTokenType, "{body}");
    }
    assert_eq!(api.count(), 0);
}

// W10, S2
#[tokio::test(start_paused = true)]
async fn a_store_shares_tokens_between_clients_with_the_same_key() {
    let store = TokenStoreLayer::new(MemoryStore::new());
    let source = ScriptedSource::tokens(bound);
    let key = SigningKey::generate(Algorithm::ES256).unwrap();
    let process = |key: DpopKey| Tokens::new(with_key(key), store.layer(source.clone()));
    for _ in 0..2 {
        let token = process(DpopKey::new(key.clone())).get().await.unwrap();
        assert_eq!((token.secret(), token.token_type()), ("token-1", "DPoP"));
    }
    let other = process(DpopKey::generate().unwrap()).get().await.unwrap();
    assert_eq!((other.secret(), source.count()), ("token-2", 2));
    assert_ne!(with_key(DpopKey::new(key)), credentials());
}
