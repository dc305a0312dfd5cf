use super::*;
use crate::client_auth::ClientAuth;

// C5
#[test]
fn a_hit_before_an_overdue_tick_prolongs_nothing() {
    let auth = ClientAuth::client_secret_basic("client-id", "s3cr3t");
    let credentials = Credentials::new("https://auth.example.com/token", auth).unwrap();
    let token = AccessToken::new("t").unwrap().with_expires_in(Duration::from_secs(100));
    let token = IssuedToken::new(token, &credentials, &Schedule::default(), Now::read());
    let at = |age| token.requested_at() + Duration::from_millis(age);
    token.set_tick(at(80_000));

    // The slot has not run the tick yet, so it has not set the next one either.
    assert!(matches!(token.check(at(89_900)), TokenCheck::TickDue));
    assert!(token.is_fresh(at(89_999)));
    assert!(!token.is_fresh(at(90_000)));
    assert!(matches!(token.check(at(90_000)), TokenCheck::Expired));
}
