//! Rules of the machine that take more than one transition.

use super::*;

// C3
#[test]
fn a_hit_restarts_a_renewal_without_sign_of_life() {
    let mut w = World::new();
    w.acquire("a");
    w.now += secs(85);
    let TickOutcome::Renew(first) = w.tick() else { panic!() };
    let look = |w: &mut World| {
        w.now += millis(250);
        w.tick()
    };
    for _ in 0..3 {
        assert!(matches!(look(&mut w), TickOutcome::Usable));
    }
    first.handle.liveness().beat();
    for _ in 0..4 {
        assert!(matches!(look(&mut w), TickOutcome::Usable), "the fetch has shown a beat");
        assert!(matches!(w.tick(), TickOutcome::Usable), "looks are 250 ms apart");
    }
    let TickOutcome::Renew(second) = look(&mut w) else { panic!() };
    assert_ne!(first.handle.id(), second.handle.id());
    assert!(first.handle.liveness().is_superseded());
    let token = w.token("b");
    let completion = w.complete_fetch(first.handle.id(), Ok(token), TaskTiming::OnTime);
    assert!(matches!(completion, Completion::Superseded(_)));
    assert_eq!(w.state(), "current a + background fetch");
}

// C3
#[test]
fn a_hit_after_a_stall_does_not_replace_the_renewal() {
    let mut w = World::new();
    w.acquire("a");
    w.now += secs(85);
    let TickOutcome::Renew(_) = w.tick() else { panic!() };
    // The thread that runs the hits and the fetch was blocked.
    w.now += secs(10);
    assert!(matches!(w.tick(), TickOutcome::Usable));
    assert_eq!(w.state(), "current a + background fetch");
}

// C3
#[test]
fn two_panics_in_a_row_are_a_failure_but_losses_are_not() {
    let mut w = World::new();
    for _ in 0..10 {
        assert!(matches!(w.get(), Step::Fetch(_)));
        assert!(matches!(w.abandon(Loss::RuntimeEnded), Abandoned::Lost));
    }
    assert!(matches!(w.get(), Step::Fetch(_)));
    assert!(matches!(w.abandon(Loss::Panicked), Abandoned::Lost));
    assert!(matches!(w.get(), Step::Fetch(_)));
    assert!(matches!(w.abandon(Loss::Panicked), Abandoned::Failed(_)));
    assert!(matches!(w.get(), Step::Fail(_)));
}

// R7
#[test]
fn refused_claims_affect_only_requests_that_need_them() {
    let mut w = World::new();
    w.acquire("a");
    let claims = Claims::single("c");
    let rejected = w.reject(w.issue(1), Some(FIRST_API), claims.clone());
    assert!(matches!(rejected, RejectionOutcome::Replaced { .. }));
    let required =
        Requirements { newer_than: Some(w.issue(1)), claims: claims.clone(), origin: Some(1) };
    let Step::Fetch(start) = w.step(&required) else { panic!() };
    assert_eq!(start.spec.claims, claims);
    let Completion::Refetch(spec) = w.fail(Outage::Permanent) else { panic!() };
    assert!(spec.claims.is_empty() && spec.cause == Cause::Rejected);
    let token = w.token("b");
    assert!(matches!(w.complete(Ok(token)), Completion::Done(Ok(_))));
    assert!(matches!(w.get(), Step::Use(_)), "requests without claims use the token");
    assert!(matches!(w.step(&required), Step::ClaimsRefused));
    let rejected = w.reject(w.issue(2), Some(FIRST_API), claims.clone());
    assert_eq!(rejected, RejectionOutcome::ClaimsRefused, "no further token request");
    assert_eq!(w.state(), "current b");
    // After the back-off, the claims are requested again.
    w.now += secs(40);
    let rejected = w.reject(w.issue(2), Some(FIRST_API), claims);
    assert!(matches!(rejected, RejectionOutcome::Replaced { .. }));
}

// R7
#[test]
fn claims_that_arrive_during_a_fetch_get_their_own_fetch() {
    let mut w = World::new();
    w.acquire("a");
    w.reject_newest();
    let plain = Requirements { newer_than: Some(w.issue(1)), ..Requirements::default() };
    assert!(matches!(w.step(&plain), Step::Fetch(_)));
    let rejected = w.reject(w.issue(1), Some(SECOND_API), Claims::single("c"));
    assert!(matches!(rejected, RejectionOutcome::Replaced { .. }));
    let with_claims = Requirements { claims: Claims::single("c"), ..plain.clone() };
    assert!(matches!(w.step(&with_claims), Step::Join(_)));
    let token = w.token("b");
    assert!(matches!(w.complete(Ok(token)), Completion::Done(Ok(_))));
    assert!(matches!(w.step(&plain), Step::Use(_)));
    let Step::Fetch(start) = w.step(&with_claims) else { panic!() };
    assert_eq!((start.spec.cause, start.spec.claims), (Cause::Rejected, Claims::single("c")));
    assert!(matches!(w.get(), Step::Use(_)), "requests without claims do not wait");
    let token = w.token("c");
    drop(w.complete(Ok(token)));
    assert!(matches!(w.step(&with_claims), Step::Use(_)));
    // The next token carries the claims of both APIs.
    let with_more = Requirements { claims: Claims::single("d"), ..plain };
    let Step::Fetch(start) = w.step(&with_more) else { panic!() };
    assert!(start.spec.claims.covers(&Claims::single("c")));
    assert!(start.spec.claims.covers(&Claims::single("d")));
}

// R7
#[test]
fn claims_refused_together_are_requested_one_by_one() {
    let mut w = World::new();
    w.acquire("a");
    w.reject(w.issue(1), Some(FIRST_API), Claims::single("good"));
    w.reject(w.issue(1), Some(SECOND_API), Claims::single("bad"));
    let first = w.issue(1);
    let with = |claims| Requirements {
        newer_than: Some(first),
        claims: Claims::single(claims),
        origin: None,
    };
    assert!(matches!(w.step(&with("good")), Step::Fetch(_)));
    assert!(matches!(w.step(&with("bad")), Step::Join(_)));
    assert!(matches!(w.fail(Outage::Permanent), Completion::Refetch(_)));
    let token = w.token("b");
    drop(w.complete(Ok(token)));
    let Step::Fetch(start) = w.step(&with("good")) else { panic!() };
    assert_eq!(start.spec.claims, Claims::single("good"));
    let token = w.token("c");
    drop(w.complete(Ok(token)));
    assert!(matches!(w.step(&with("good")), Step::Use(_)));
    let Step::Fetch(_) = w.step(&with("bad")) else { panic!() };
    assert!(matches!(w.fail(Outage::Permanent), Completion::Refetch(_)));
    let token = w.token("d");
    drop(w.complete(Ok(token)));
    assert!(matches!(w.step(&with("bad")), Step::ClaimsRefused));
}

// C12
#[test]
fn other_origins_use_a_rejected_token_while_fetches_fail() {
    let mut w = World::new();
    w.acquire("a");
    w.reject_newest();
    let for_second = Requirements { origin: Some(SECOND_API.origin), ..Requirements::default() };
    assert!(matches!(w.step(&for_second), Step::Fetch(_)), "no fetch has failed yet");
    drop(w.fail(Outage::Transient));
    for _ in 0..40 {
        match w.step(&for_second) {
            Step::Use(token) => {
                assert!(w.machine.may_send(&token, Some(SECOND_API.origin), w.now()));
            }
            Step::UseAndFetch(..) => drop(w.fail(Outage::Transient)),
            step => panic!("{step:?}"),
        }
        w.now += secs(2);
    }
    let for_first = Requirements { origin: Some(FIRST_API.origin), ..Requirements::default() };
    let step = w.step(&for_first);
    assert!(
        matches!(step, Step::Join(_) | Step::Fail(_) | Step::Fetch(_)),
        "the first API rejected the token"
    );
    w.now += secs(30);
    assert!(!matches!(w.step(&for_second), Step::Use(_)), "the token has expired");
}

// C8
#[test]
fn tokens_older_than_a_rejected_one_are_not_sent() {
    let mut w = World::new();
    w.acquire("a");
    let first = w.machine.current().unwrap().clone();
    w.reject_newest();
    w.acquire("b");
    assert!(!w.machine.may_send(&first, None, w.now()));
    w.now += secs(40);
    w.reject_newest();
    assert!(!w.machine.may_send(&first, None, w.now()));
}

// C8
#[test]
fn a_token_is_fresh_only_if_its_fetch_began_after_the_rejection() {
    let is_fresh = |outcome, token: &IssuedToken| match outcome {
        RejectionOutcome::Replaced { since } => token.fetch_began() > since,
        outcome => panic!("{outcome:?}"),
    };
    // The renewal began before the rejection.
    let mut w = World::new();
    w.acquire("a");
    w.now += secs(85);
    drop(w.tick());
    let rejected = w.reject_newest();
    let token = w.token("b");
    let Completion::Done(Ok(b)) = w.complete(Ok(token)) else { panic!() };
    assert!(!is_fresh(rejected, &b));
    let late = w.reject(w.issue(1), Some(FIRST_API), Claims::default());
    assert!(!is_fresh(late, &b), "a late rejection gets the same answer");
    // The next fetch begins after the rejection, however late another rejection is reported.
    w.reject_newest();
    drop(w.get());
    let token = w.token("c");
    let Completion::Done(Ok(c)) = w.complete(Ok(token)) else { panic!() };
    let late = w.reject(w.issue(2), Some(FIRST_API), Claims::default());
    assert!(is_fresh(late, &c));
}

// C8
#[test]
fn late_rejections_of_a_suspect_token_find_a_fresh_successor() {
    let mut w = World::new();
    w.acquire("a");
    w.reject_newest();
    w.acquire("b");
    w.now += secs(1);
    let suspected = w.reject_newest();
    assert_eq!(w.state(), "suspect b");
    let required = Requirements { newer_than: Some(w.newest_issue()), ..Requirements::default() };
    assert!(matches!(w.step(&required), Step::Fetch(_)));
    let suspect = w.machine.current().unwrap().clone();
    let token = w.token("c");
    drop(w.complete(Ok(token)));
    assert_eq!(w.reject(w.issue(2), Some(FIRST_API), Claims::default()), suspected);
    assert!(!w.machine.may_send(&suspect, None, w.now()), "a newer token has taken its place");
}

// C6, C9
#[test]
fn a_renewal_without_longer_lifetime_ends_a_failure() {
    let mut w = World::new();
    w.acquire("a");
    w.now += secs(81);
    drop(w.tick());
    drop(w.fail(Outage::Transient));
    assert_eq!((w.failing, w.machine.consecutive_failures), (1, 1));
    w.now += secs(5);
    drop(w.tick());
    let mut token = w.token("b");
    let end = w.machine.current().unwrap().end().mono;
    token.ends_after = (end - token.requested_at()).as_nanos() as u64;
    drop(w.complete(Ok(token)));
    assert_eq!(w.state(), "current a");
    assert_eq!((w.failing, w.machine.consecutive_failures), (0, 0));
    assert_eq!(w.machine.consecutive_short_renewals, 1);
}

// C9
#[test]
fn a_failure_that_callers_wait_for_is_no_failed_renewal() {
    let mut w = World::new();
    w.acquire("a");
    w.reject_newest();
    w.acquire("b");
    w.now += secs(1);
    w.reject_newest();
    assert_eq!(w.state(), "suspect b");
    let required = Requirements { newer_than: Some(w.newest_issue()), ..Requirements::default() };
    drop(w.step(&required));
    drop(w.fail(Outage::Transient));
    assert_eq!(w.machine.failure.as_ref().unwrap().failed_during, FailedDuring::Miss);
    assert!(matches!(w.step(&required), Step::Fail(_)));
    assert!(matches!(w.get(), Step::Use(_)), "the others go on with the token");
}

// R7
#[test]
fn refusals_of_different_claims_are_remembered_side_by_side() {
    let mut w = World::new();
    w.acquire("a");
    let all = ["one", "two", "three"].map(Claims::single);
    for claims in all.clone() {
        let required = Requirements { claims, ..Requirements::default() };
        assert!(matches!(w.step(&required), Step::Fetch(_)));
        assert!(matches!(w.fail(Outage::Permanent), Completion::Refetch(_)));
        let token = w.token("b");
        drop(w.complete(Ok(token)));
    }
    for claims in all {
        let outcome = w.reject(w.newest_issue(), Some(FIRST_API), claims);
        assert_eq!(outcome, RejectionOutcome::ClaimsRefused);
    }
}

// C3, C9
#[test]
fn an_error_response_to_a_stalled_task_is_a_failure() {
    let mut w = World::new();
    drop(w.get());
    let refused = Err(Outage::Permanent.error());
    let completion = w.complete_fetch(w.last_fetch(), refused, TaskTiming::Stalled);
    assert!(matches!(completion, Completion::Done(Err(_))));
    assert_eq!(w.state(), "absent + failure");
}

// R7
#[test]
fn claims_that_were_granted_are_kept_when_others_are_refused() {
    let mut w = World::new();
    w.acquire("a");
    let require = |claims| Requirements { claims: Claims::single(claims), ..Default::default() };
    drop(w.step(&require("granted")));
    let token = w.token("b");
    drop(w.complete(Ok(token)));

    let Step::Fetch(start) = w.step(&require("refused")) else { panic!() };
    assert!(start.spec.claims.covers(&Claims::single("granted")));
    let Completion::Refetch(spec) = w.fail(Outage::Permanent) else { panic!() };
    assert_eq!(spec.claims, Claims::single("granted"));
    let token = w.token("c");
    drop(w.complete(Ok(token)));
    assert!(matches!(w.step(&require("granted")), Step::Use(_)));
    assert!(matches!(w.step(&require("refused")), Step::ClaimsRefused));
}

// R7
#[test]
fn any_failure_of_a_fetch_with_claims_drops_the_claims() {
    let mut w = World::new();
    w.acquire("a");
    let required = Requirements { claims: Claims::single("c"), ..Default::default() };
    assert!(matches!(w.step(&required), Step::Fetch(_)));
    let Completion::Refetch(spec) = w.fail(Outage::Transient) else { panic!() };
    assert!(spec.claims.is_empty());
    // The claims were not the cause, because the request without them fails too.
    assert!(matches!(w.fail(Outage::Transient), Completion::Done(Err(_))));
    w.now += secs(10);
    let Step::Fetch(start) = w.step(&required) else { panic!() };
    assert_eq!(start.spec.claims, Claims::single("c"));
}

// R7
#[test]
fn a_server_that_asks_for_a_pause_gets_no_second_request() {
    let mut w = World::new();
    w.acquire("a");
    let required = Requirements { claims: Claims::single("c"), ..Default::default() };
    assert!(matches!(w.step(&required), Step::Fetch(_)));
    assert!(matches!(w.fail(Outage::RetryAfter), Completion::Done(Err(_))));
    w.now += secs(31);
    let plain = Requirements { newer_than: Some(w.newest_issue()), ..Default::default() };
    let Step::Fetch(start) = w.step(&plain) else { panic!() };
    assert!(start.spec.claims.is_empty(), "only callers that require claims request them");
}

// R7
#[test]
fn refusals_end_when_the_credentials_change() {
    let mut w = World::new();
    w.acquire("a");
    let required = Requirements { claims: Claims::single("c"), ..Default::default() };
    drop(w.step(&required));
    drop(w.fail(Outage::Permanent));
    let token = w.token("b");
    drop(w.complete(Ok(token)));
    assert!(matches!(w.step(&required), Step::ClaimsRefused));
    w.machine.refused_claims.forget_outdated(&Claims::default(), 8);
    assert!(matches!(w.step(&required), Step::Fetch(_)));
}

// C12
#[test]
fn no_origin_gets_a_rejected_token_during_a_fetch() {
    let mut w = World::new();
    w.acquire("a");
    let token = w.machine.current().unwrap().clone();
    w.reject_newest();
    drop(w.get());
    assert!(!w.machine.may_send(&token, Some(SECOND_API.origin), w.now()));
    drop(w.fail(Outage::Transient));
    assert!(w.machine.may_send(&token, Some(SECOND_API.origin), w.now()));
}

// C11
#[test]
fn keep_warm_pauses_after_a_renewal_that_no_hit_could_start() {
    let mut w = World::new();
    w.acquire("a");
    w.now += secs(85);
    let now = w.now();
    let (outcome, events) = w.machine.tick(|| None, now);
    w.record(events);
    assert!(matches!(outcome, TickOutcome::Usable), "without a runtime, no fetch starts");
    assert_eq!(w.state(), "current a");
    assert!(w.machine.next_keep_warm(now) >= now.mono + BEAT_INTERVAL);
}

// R3, R8
#[test]
fn a_request_without_a_resend_withdraws_a_suspect_token() {
    let mut w = World::new();
    w.acquire("a");
    w.reject_newest();
    w.acquire("b");
    w.now += secs(1);
    w.reject_newest();
    assert_eq!(w.state(), "suspect b");
    let required = Requirements {
        newer_than: Some(w.newest_issue()),
        origin: Some(FIRST_API.origin),
        ..Requirements::default()
    };
    w.machine.withdraw_suspect(&required);
    assert_eq!(w.state(), "rejected b");
    assert!(matches!(w.get(), Step::Fetch(_)), "the next request waits for another token");
}

// C9, O: the gauge does not go down and up again while a fetch decides.
#[test]
fn a_failure_counts_for_a_while_after_its_back_off() {
    let mut w = World::new();
    let sweep = |w: &mut World| {
        let (next, events) = w.machine.sweep(w.now());
        w.record(events);
        next.map(|next| next - (w.start + w.now))
    };
    assert_eq!(sweep(&mut w), None);
    drop(w.get());
    drop(w.fail(Outage::Transient));
    let until = w.machine.failure.as_ref().unwrap().until.mono + secs(60);
    assert_eq!(sweep(&mut w), Some(until - (w.start + w.now)));
    w.now = until - w.start - Duration::from_nanos(1);
    assert_eq!(sweep(&mut w), Some(Duration::from_nanos(1)));
    assert_eq!(w.failing, 1);

    assert!(matches!(w.get(), Step::Fetch(_)));
    w.now += secs(1);
    assert_eq!(sweep(&mut w), Some(secs(60)), "a fetch is running");
    assert_eq!(w.failing, 1);
    drop(w.fail(Outage::Transient));
    assert_eq!(w.failing, 1, "the same credentials have failed once more");

    w.now += secs(120);
    assert_eq!(sweep(&mut w), None);
    assert_eq!((w.failing, w.state().as_str()), (0, "absent + failure"));
    assert_eq!(sweep(&mut w), None);
    assert!(matches!(w.get(), Step::Fetch(_)));
    drop(w.fail(Outage::Transient));
    assert_eq!(w.failing, 1, "the new failure counts");
    let events = w.machine.forget();
    w.record(events);
    assert_eq!(w.failing, 0);
}
