use super::*;
use crate::client_auth::ClientAuth;

fn slot() -> Slot {
    let auth = ClientAuth::none("client-id");
    Slot::new(ClientCredentials::new("https://auth.test/token", auth).unwrap())
}

/// Puts a token into the slot; its number.
fn issue(slot: &Slot) -> u64 {
    let token = AccessToken::new("t").unwrap().with_expires_in(Duration::from_secs(3600));
    let current = Arc::new(Current::issue(token, slot.credentials(), &Schedule::default()));
    let number = current.number;
    slot.replace(Some(current));
    number
}

// C6
#[test]
fn a_token_that_came_since_is_not_renewed_in_the_place_of_the_one_that_was_due() {
    let slot = slot();
    let (first, second) = (issue(&slot), issue(&slot));
    let due = slot.next_look();
    slot.put_off_renewal(first, Duration::ZERO);
    assert_eq!(slot.next_look(), due);
    let state = slot.lock();
    assert!(slot.renewal(&state, first).is_none());
    assert!(slot.renewal(&state, second).is_some());
}

// C11
#[test]
fn a_rejection_that_nobody_heard_of_is_found_at_the_next_look() {
    let slot = slot();
    let number = issue(&slot);
    assert!(slot.reject(number, None));
    assert!(slot.next_look() <= Instant::now());
}
