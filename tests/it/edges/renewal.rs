use tokio::time::advance;
use tower_oauth2::AccessToken;

use super::{builder, secret, secs};
use crate::support::*;

// C6, C7
#[tokio::test(start_paused = true)]
async fn a_renewal_may_tell_of_an_end_where_nobody_knew_one() {
    let source = Source::of(|n| {
        let token = AccessToken::new(format!("token-{n}")).unwrap();
        if n == 1 { token.with_refresh_in(secs(60)) } else { token.with_expires_in(secs(3600)) }
    });
    let cache = builder(&source).build();
    secret(&cache).await;
    advance(secs(60)).await;
    assert_eq!(secret(&cache).await, "token-1");
    settle().await;
    assert_eq!(secret(&cache).await, "token-2");
    assert_eq!(source.count(), 2);
    advance(secs(3590)).await;
    assert_eq!(secret(&cache).await, "token-3", "and it is held to it");
}
