//! Rules of the machine that take more than one transition.

use super::*;

// C3
#[test]
fn a_hit_restarts_a_renewal_without_sign_of_life() {
    let mut h = Harness::new();
    h.acquire("a");
    h.now += secs(85);
    let TickOutcome::Renew(first) = h.tick() else { panic!() };
    let look = |h: &mut Harness| {
        h.now += millis(250);
        h.tick()
    };
    for _ in 0..3 {
        assert!(matches!(look(&mut h), TickOutcome::Usable));
    }
    first.handle.liveness().beat();
    for _ in 0..4 {
        assert!(matches!(look(&mut h), TickOutcome::Usable), "the fetch has shown a beat");
        assert!(matches!(h.tick(), TickOutcome::Usable), "looks are 250 ms apart");
    }
    let TickOutcome::Renew(second) = look(&mut h) else { panic!() };
    assert_ne!(first.handle.id(), second.handle.id());
    assert!(first.handle.liveness().is_superseded());
    let token = h.token("b");
    let completion = h.complete_fetch(first.handle.id(), Ok(token), TaskTiming::OnTime);
    assert!(matches!(completion, Completion::Superseded(_)));
    assert_eq!(h.state(), "current a + background fetch");
}

// C3
#[test]
fn a_hit_after_a_stall_does_not_replace_the_renewal() {
    let mut h = Harness::new();
    h.acquire("a");
    h.now += secs(85);
    let TickOutcome::Renew(_) = h.tick() else { panic!() };
    // The thread that runs the hits and the fetch was blocked.
    h.now += secs(10);
    assert!(matches!(h.tick(), TickOutcome::Usable));
    assert_eq!(h.state(), "current a + background fetch");
}

// C3
#[test]
fn two_panics_in_a_row_are_a_failure_but_losses_are_not() {
    let mut h = Harness::new();
    for _ in 0..10 {
        assert!(matches!(h.get(), Step::Fetch(_)));
        assert!(matches!(h.abandon(Loss::RuntimeEnded), Abandoned::Lost));
    }
    assert!(matches!(h.get(), Step::Fetch(_)));
    assert!(matches!(h.abandon(Loss::Panicked), Abandoned::Lost));
    assert!(matches!(h.get(), Step::Fetch(_)));
    assert!(matches!(h.abandon(Loss::Panicked), Abandoned::Failed(_)));
    assert!(matches!(h.get(), Step::Fail(_)));
}

// R7
#[test]
fn refused_claims_affect_only_requests_that_need_them() {
    let mut h = Harness::new();
    h.acquire("a");
    let claims = Claims::single("c");
    let rejected = h.reject(h.issue(1), Some(FIRST_API), claims.clone());
    assert!(matches!(rejected, RejectionOutcome::Replaced { .. }));
    let required =
        Requirements { newer_than: Some(h.issue(1)), claims: claims.clone(), origin: Some(1) };
    let Step::Fetch(start) = h.step(&required) else { panic!() };
    assert_eq!(start.spec.claims, claims);
    let Completion::Refetch(spec) = h.fail(Outage::Permanent) else { panic!() };
    assert!(spec.claims.is_empty() && spec.cause == Cause::Rejected);
    let token = h.token("b");
    assert!(matches!(h.complete(Ok(token)), Completion::Done(Ok(_))));
    assert!(matches!(h.get(), Step::Use(_)), "requests without claims use the token");
    assert!(matches!(h.step(&required), Step::ClaimsRefused));
    let rejected = h.reject(h.issue(2), Some(FIRST_API), claims.clone());
    assert_eq!(rejected, RejectionOutcome::ClaimsRefused, "no further token request");
    assert_eq!(h.state(), "current b");
    // After the back-off, the claims are requested again.
    h.now += secs(40);
    let rejected = h.reject(h.issue(2), Some(FIRST_API), claims);
    assert!(matches!(rejected, RejectionOutcome::Replaced { .. }));
}

// R7
#[test]
fn claims_that_arrive_during_a_fetch_get_their_own_fetch() {
    let mut h = Harness::new();
    h.acquire("a");
    h.reject_newest();
    let plain = Requirements { newer_than: Some(h.issue(1)), ..Requirements::default() };
    assert!(matches!(h.step(&plain), Step::Fetch(_)));
    let rejected = h.reject(h.issue(1), Some(SECOND_API), Claims::single("c"));
    assert!(matches!(rejected, RejectionOutcome::Replaced { .. }));
    let with_claims = Requirements { claims: Claims::single("c"), ..plain.clone() };
    assert!(matches!(h.step(&with_claims), Step::Join(_)));
    let token = h.token("b");
    assert!(matches!(h.complete(Ok(token)), Completion::Done(Ok(_))));
    assert!(matches!(h.step(&plain), Step::Use(_)));
    let Step::Fetch(start) = h.step(&with_claims) else { panic!() };
    assert_eq!((start.spec.cause, start.spec.claims), (Cause::Rejected, Claims::single("c")));
    assert!(matches!(h.get(), Step::Use(_)), "requests without claims do not wait");
    let token = h.token("c");
    drop(h.complete(Ok(token)));
    assert!(matches!(h.step(&with_claims), Step::Use(_)));
    // The next token carries the claims of both APIs.
    let with_more = Requirements { claims: Claims::single("d"), ..plain };
    let Step::Fetch(start) = h.step(&with_more) else { panic!() };
    assert!(start.spec.claims.covers(&Claims::single("c")));
    assert!(start.spec.claims.covers(&Claims::single("d")));
}

// R7
#[test]
fn claims_refused_together_are_requested_one_by_one() {
    let mut h = Harness::new();
    h.acquire("a");
    h.reject(h.issue(1), Some(FIRST_API), Claims::single("good"));
    h.reject(h.issue(1), Some(SECOND_API), Claims::single("bad"));
    let first = h.issue(1);
    let with = |claims| Requirements {
        newer_than: Some(first),
        claims: Claims::single(claims),
        origin: None,
    };
    assert!(matches!(h.step(&with("good")), Step::Fetch(_)));
    assert!(matches!(h.step(&with("bad")), Step::Join(_)));
    assert!(matches!(h.fail(Outage::Permanent), Completion::Refetch(_)));
    let token = h.token("b");
    drop(h.complete(Ok(token)));
    let Step::Fetch(start) = h.step(&with("good")) else { panic!() };
    assert_eq!(start.spec.claims, Claims::single("good"));
    let token = h.token("c");
    drop(h.complete(Ok(token)));
    assert!(matches!(h.step(&with("good")), Step::Use(_)));
    let Step::Fetch(_) = h.step(&with("bad")) else { panic!() };
    assert!(matches!(h.fail(Outage::Permanent), Completion::Refetch(_)));
    let token = h.token("d");
    drop(h.complete(Ok(token)));
    assert!(matches!(h.step(&with("bad")), Step::ClaimsRefused));
}

// C12
#[test]
fn other_origins_use_a_rejected_token_while_fetches_fail() {
    let mut h = Harness::new();
    h.acquire("a");
    h.reject_newest();
    let for_second = Requirements { origin: Some(SECOND_API.origin), ..Requirements::default() };
    assert!(matches!(h.step(&for_second), Step::Fetch(_)), "no fetch has failed yet");
    drop(h.fail(Outage::Transient));
    for _ in 0..40 {
        match h.step(&for_second) {
            Step::Use(token) => {
                assert!(h.machine.may_send(&token, Some(SECOND_API.origin), h.now()));
            }
            Step::UseAndFetch(..) => drop(h.fail(Outage::Transient)),
            step => panic!("{step:?}"),
        }
        h.now += secs(2);
    }
    let for_first = Requirements { origin: Some(FIRST_API.origin), ..Requirements::default() };
    let step = h.step(&for_first);
    assert!(
        matches!(step, Step::Join(_) | Step::Fail(_) | Step::Fetch(_)),
        "the first API rejected the token"
    );
    h.now += secs(30);
    assert!(!matches!(h.step(&for_second), Step::Use(_)), "the token has expired");
}

// C8
#[test]
fn tokens_older_than_a_rejected_one_are_not_sent() {
    let mut h = Harness::new();
    h.acquire("a");
    let first = h.machine.current().unwrap().clone();
    h.reject_newest();
    h.acquire("b");
    assert!(!h.machine.may_send(&first, None, h.now()));
    h.now += secs(40);
    h.reject_newest();
    assert!(!h.machine.may_send(&first, None, h.now()));
}

// C8
#[test]
fn a_token_is_fresh_only_if_its_fetch_began_after_the_rejection() {
    let is_fresh = |outcome, token: &IssuedToken| match outcome {
        RejectionOutcome::Replaced { since } => token.fetch_began() > since,
        outcome => panic!("{outcome:?}"),
    };
    // The renewal began before the rejection.
    let mut h = Harness::new();
    h.acquire("a");
    h.now += secs(85);
    drop(h.tick());
    let rejected = h.reject_newest();
    let token = h.token("b");
    let Completion::Done(Ok(b)) = h.complete(Ok(token)) else { panic!() };
    assert!(!is_fresh(rejected, &b));
    let late = h.reject(h.issue(1), Some(FIRST_API), Claims::default());
    assert!(!is_fresh(late, &b), "a late rejection gets the same answer");
    // The next fetch begins after the rejection, however late another rejection is reported.
    h.reject_newest();
    drop(h.get());
    let token = h.token("c");
    let Completion::Done(Ok(c)) = h.complete(Ok(token)) else { panic!() };
    let late = h.reject(h.issue(2), Some(FIRST_API), Claims::default());
    assert!(is_fresh(late, &c));
}

// C8
#[test]
fn late_rejections_of_a_suspect_token_find_a_fresh_successor() {
    let mut h = Harness::new();
    h.acquire("a");
    h.reject_newest();
    h.acquire("b");
    h.now += secs(1);
    let suspected = h.reject_newest();
    assert_eq!(h.state(), "suspect b");
    let required = Requirements { newer_than: Some(h.newest_issue()), ..Requirements::default() };
    assert!(matches!(h.step(&required), Step::Fetch(_)));
    let suspect = h.machine.current().unwrap().clone();
    let token = h.token("c");
    drop(h.complete(Ok(token)));
    assert_eq!(h.reject(h.issue(2), Some(FIRST_API), Claims::default()), suspected);
    assert!(!h.machine.may_send(&suspect, None, h.now()), "a newer token has taken its place");
}

// C6, C9
#[test]
fn a_renewal_without_longer_lifetime_ends_a_failure() {
    let mut h = Harness::new();
    h.acquire("a");
    h.now += secs(81);
    drop(h.tick());
    drop(h.fail(Outage::Transient));
    assert_eq!((h.failing, h.machine.consecutive_failures), (1, 1));
    h.now += secs(5);
    drop(h.tick());
    let mut token = h.token("b");
    let end = h.machine.current().unwrap().end().mono;
    token.ends_after = (end - token.requested_at()).as_nanos() as u64;
    drop(h.complete(Ok(token)));
    assert_eq!(h.state(), "current a");
    assert_eq!((h.failing, h.machine.consecutive_failures), (0, 0));
    assert_eq!(h.machine.consecutive_short_renewals, 1);
}

// C9
#[test]
fn a_failure_that_callers_wait_for_is_no_failed_renewal() {
    let mut h = Harness::new();
    h.acquire("a");
    h.reject_newest();
    h.acquire("b");
    h.now += secs(1);
    h.reject_newest();
    assert_eq!(h.state(), "suspect b");
    let required = Requirements { newer_than: Some(h.newest_issue()), ..Requirements::default() };
    drop(h.step(&required));
    drop(h.fail(Outage::Transient));
    assert_eq!(h.machine.failure.as_ref().unwrap().failed_during, FailedDuring::Miss);
    assert!(matches!(h.step(&required), Step::Fail(_)));
    assert!(matches!(h.get(), Step::Use(_)), "the others go on with the token");
}

// R7
#[test]
fn refusals_of_different_claims_are_remembered_side_by_side() {
    let mut h = Harness::new();
    h.acquire("a");
    let all = ["one", "two", "three"].map(Claims::single);
    for claims in all.clone() {
        let required = Requirements { claims, ..Requirements::default() };
        assert!(matches!(h.step(&required), Step::Fetch(_)));
        assert!(matches!(h.fail(Outage::Permanent), Completion::Refetch(_)));
        let token = h.token("b");
        drop(h.complete(Ok(token)));
    }
    for claims in all {
        let outcome = h.reject(h.newest_issue(), Some(FIRST_API), claims);
        assert_eq!(outcome, RejectionOutcome::ClaimsRefused);
    }
}

// C3, C9
#[test]
fn an_error_response_to_a_stalled_task_is_a_failure() {
    let mut h = Harness::new();
    drop(h.get());
    let refused = Err(Outage::Permanent.error());
    let completion = h.complete_fetch(h.last_fetch(), refused, TaskTiming::Stalled);
    assert!(matches!(completion, Completion::Done(Err(_))));
    assert_eq!(h.state(), "absent + failure");
}

// R7
#[test]
fn claims_that_were_granted_are_kept_when_others_are_refused() {
    let mut h = Harness::new();
    h.acquire("a");
    let require = |claims| Requirements { claims: Claims::single(claims), ..Default::default() };
    drop(h.step(&require("granted")));
    let token = h.token("b");
    drop(h.complete(Ok(token)));

    let Step::Fetch(start) = h.step(&require("refused")) else { panic!() };
    assert!(start.spec.claims.covers(&Claims::single("granted")));
    let Completion::Refetch(spec) = h.fail(Outage::Permanent) else { panic!() };
    assert_eq!(spec.claims, Claims::single("granted"));
    let token = h.token("c");
    drop(h.complete(Ok(token)));
    assert!(matches!(h.step(&require("granted")), Step::Use(_)));
    assert!(matches!(h.step(&require("refused")), Step::ClaimsRefused));
}

// R7
#[test]
fn any_failure_of_a_fetch_with_claims_drops_the_claims() {
    let mut h = Harness::new();
    h.acquire("a");
    let required = Requirements { claims: Claims::single("c"), ..Default::default() };
    assert!(matches!(h.step(&required), Step::Fetch(_)));
    let Completion::Refetch(spec) = h.fail(Outage::Transient) else { panic!() };
    assert!(spec.claims.is_empty());
    // The claims were not the cause, because the request without them fails too.
    assert!(matches!(h.fail(Outage::Transient), Completion::Done(Err(_))));
    h.now += secs(10);
    let Step::Fetch(start) = h.step(&required) else { panic!() };
    assert_eq!(start.spec.claims, Claims::single("c"));
}

// R7
#[test]
fn a_server_that_asks_for_a_pause_gets_no_second_request() {
    let mut h = Harness::new();
    h.acquire("a");
    let required = Requirements { claims: Claims::single("c"), ..Default::default() };
    assert!(matches!(h.step(&required), Step::Fetch(_)));
    assert!(matches!(h.fail(Outage::RetryAfter), Completion::Done(Err(_))));
    h.now += secs(31);
    let plain = Requirements { newer_than: Some(h.newest_issue()), ..Default::default() };
    let Step::Fetch(start) = h.step(&plain) else { panic!() };
    assert!(start.spec.claims.is_empty(), "only callers that require claims request them");
}

// R7
#[test]
fn refusals_end_when_the_credentials_change() {
    let mut h = Harness::new();
    h.acquire("a");
    let required = Requirements { claims: Claims::single("c"), ..Default::default() };
    drop(h.step(&required));
    drop(h.fail(Outage::Permanent));
    let token = h.token("b");
    drop(h.complete(Ok(token)));
    assert!(matches!(h.step(&required), Step::ClaimsRefused));
    h.machine.refused_claims.forget_outdated(&Claims::default(), 8);
    assert!(matches!(h.step(&required), Step::Fetch(_)));
}

// C12
#[test]
fn no_origin_gets_a_rejected_token_during_a_fetch() {
    let mut h = Harness::new();
    h.acquire("a");
    let token = h.machine.current().unwrap().clone();
    h.reject_newest();
    drop(h.get());
    assert!(!h.machine.may_send(&token, Some(SECOND_API.origin), h.now()));
    drop(h.fail(Outage::Transient));
    assert!(h.machine.may_send(&token, Some(SECOND_API.origin), h.now()));
}

// C11
#[test]
fn keep_warm_pauses_after_a_renewal_that_no_hit_could_start() {
    let mut h = Harness::new();
    h.acquire("a");
    h.now += secs(85);
    let now = h.now();
    let (outcome, events) = h.machine.tick(|| None, now);
    h.record(events);
    assert!(matches!(outcome, TickOutcome::Usable), "without a runtime, no fetch starts");
    assert_eq!(h.state(), "current a");
    assert!(h.machine.next_keep_warm(now) >= now.mono + BEAT_INTERVAL);
}

// R3, R8
#[test]
fn a_request_without_a_resend_withdraws_a_suspect_token() {
    let mut h = Harness::new();
    h.acquire("a");
    h.reject_newest();
    h.acquire("b");
    h.now += secs(1);
    h.reject_newest();
    assert_eq!(h.state(), "suspect b");
    let required = Requirements {
        newer_than: Some(h.newest_issue()),
        origin: Some(FIRST_API.origin),
        ..Requirements::default()
    };
    h.machine.withdraw_suspect(&required);
    assert_eq!(h.state(), "rejected b");
    assert!(matches!(h.get(), Step::Fetch(_)), "the next request waits for another token");
}

// C9, O: the gauge does not go down and up again while a fetch decides.
#[test]
fn a_failure_counts_for_a_while_after_its_back_off() {
    let mut h = Harness::new();
    let sweep = |h: &mut Harness| {
        let (next, events) = h.machine.sweep(h.now());
        h.record(events);
        next.map(|next| next - (h.start + h.now))
    };
    assert_eq!(sweep(&mut h), None);
    drop(h.get());
    drop(h.fail(Outage::Transient));
    let until = h.machine.failure.as_ref().unwrap().until.mono + secs(60);
    assert_eq!(sweep(&mut h), Some(until - (h.start + h.now)));
    h.now = until - h.start - Duration::from_nanos(1);
    assert_eq!(sweep(&mut h), Some(Duration::from_nanos(1)));
    assert_eq!(h.failing, 1);

    assert!(matches!(h.get(), Step::Fetch(_)));
    h.now += secs(1);
    assert_eq!(sweep(&mut h), Some(secs(60)), "a fetch is running");
    assert_eq!(h.failing, 1);
    drop(h.fail(Outage::Transient));
    assert_eq!(h.failing, 1, "the same credentials have failed once more");

    h.now += secs(120);
    assert_eq!(sweep(&mut h), None);
    assert_eq!((h.failing, h.state().as_str()), (0, "absent + failure"));
    assert_eq!(sweep(&mut h), None);
    assert!(matches!(h.get(), Step::Fetch(_)));
    drop(h.fail(Outage::Transient));
    assert_eq!(h.failing, 1, "the new failure counts");
    let events = h.machine.forget();
    h.record(events);
    assert_eq!(h.failing, 0);
}
