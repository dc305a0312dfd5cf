//! C6: renewal of a token without an end.

use tokio::time::advance;
use tower_oauth2::AccessToken;

use crate::support::*;

// C6, C7
#[tokio::test(start_paused = true)]
async fn a_renewal_may_give_an_end_to_a_token_without_one() {
    let source = ScriptedSource::tokens(|n| {
        let token = AccessToken::new(format!("token-{n}")).unwrap();
        if n == 1 { token.with_refresh_in(secs(60)) } else { token.with_expires_in(secs(3600)) }
    });
    let tokens = tokens(&source);
    secret(&tokens).await;
    advance(secs(60)).await;
    assert_eq!(secret(&tokens).await, "token-1");
    settle().await;
    assert_eq!(secret(&tokens).await, "token-2");
    assert_eq!(source.count(), 2);
    advance(secs(3590)).await;
    assert_eq!(secret(&tokens).await, "token-3", "expired");
}
