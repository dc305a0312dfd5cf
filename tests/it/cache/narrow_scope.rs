//! Tokens with a narrower scope than was requested (W3).

use super::*;

const WARNING: &str = "the token has a narrower scope than requested";

/// Creates a source whose tokens have this scope.
fn granting(scope: Option<&'static str>) -> ScriptedSource {
    ScriptedSource::tokens(move |n| match scope {
        Some(scope) => lasting(n, secs(60)).with_scope(scope),
        None => lasting(n, secs(60)),
    })
}

fn warnings(trace: &Trace) -> Vec<String> {
    trace.lines().into_iter().filter(|line| line.contains(WARNING)).collect()
}

// W3, O
#[tokio::test(start_paused = true)]
async fn a_narrower_scope_is_one_warning() {
    let (trace, _guard) = Trace::start();
    let cache = builder(&granting(Some("read"))).build();
    let tokens = cache.tokens(&credentials().scope("write read admin").label("shop"));
    for _ in 0..3 {
        tokens.get().await.unwrap().reject();
    }
    let warnings = warnings(&trace);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with("WARN "), "{warnings:?}");
    for part in ["label=shop", "endpoint=https://auth.test", "missing=write admin"] {
        assert!(warnings[0].contains(part), "{warnings:?}");
    }
}

// W3
#[tokio::test(start_paused = true)]
async fn a_token_names_the_scope_that_is_missing() {
    for (granted, missing) in [
        (Some("read"), Some("write admin")),
        (Some(""), Some("write read admin")),
        (Some("admin write read"), None),
        (None, None),
    ] {
        let cache = builder(&granting(granted)).build();
        let tokens = cache.tokens(&credentials().scope("write read admin"));
        assert_eq!(tokens.get().await.unwrap().missing_scope(), missing, "{granted:?}");
        assert_eq!(tokens.status().token().unwrap().missing_scope(), missing);
    }
    // The parameter is what a token request contains.
    let requested = credentials().scope("read").parameter("scope", "read write");
    let token = get_for(&builder(&granting(Some("read"))).build(), &requested).await.unwrap();
    assert_eq!(token.missing_scope(), Some("write"));
}

// W3, S3: a token of another process says it too.
#[tokio::test(start_paused = true)]
async fn a_stored_token_names_the_scope_that_is_missing() {
    use tower::Layer;
    use tower_oauth2::store::{MemoryStore, TokenStoreLayer};

    let source = granting(Some("read"));
    let store = MemoryStore::new();
    for _ in 0..2 {
        let stored = TokenStoreLayer::new(store.clone()).layer(source.clone());
        let tokens = Tokens::new(credentials().scope("read write"), stored);
        assert_eq!(tokens.get().await.unwrap().missing_scope(), Some("write"));
    }
    assert_eq!(source.count(), 1);
}

// W3
#[tokio::test(start_paused = true)]
async fn a_scope_that_is_not_narrower_is_no_warning() {
    for (requested, granted) in [
        ("read write", None),
        ("read write", Some("write read extra")),
        ("read write", Some("read,write")),
        ("", Some("read")),
        // Placeholders, which no server repeats.
        ("https://graph.test/.default", Some("https://graph.test/Mail.Read")),
        ("read offline_access", Some("read")),
    ] {
        let (trace, _guard) = Trace::start();
        let cache = builder(&granting(granted)).build();
        get_for(&cache, &credentials().scope(requested)).await.unwrap();
        assert!(warnings(&trace).is_empty(), "{requested} {granted:?}");
    }
}
