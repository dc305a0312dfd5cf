//! The breaker's rules, one by one.

use super::*;

const OTHER_PATH: Target = Target { resource: TARGET.resource + 1, ..TARGET };
const OTHER_ORIGIN: Target = Target { origin: ORIGIN + 1, resource: 0 };

/// Returns the verdict on the first send with a token that has just arrived.
fn judge(breaker: &mut Breaker, issue: IssueId, target: Target, now: Instant) -> Verdict {
    breaker.judge_rejection(RejectedSend { target, ..young(issue, now) }, now).0
}

/// Returns a breaker that opened because issue 1 and the fresh issue 2 were rejected.
fn open(now: Instant) -> Breaker {
    let mut breaker = Breaker::default();
    assert_eq!(judge(&mut breaker, 1, TARGET, now), Verdict::Reject);
    let event = breaker.fresh_token_rejected(2, TARGET, now);
    assert_eq!(event, Some(BreakerEvent::Opened { window: FIRST_WINDOW }));
    assert!(breaker.is_open(now));
    breaker
}

#[test]
fn a_closed_breaker_takes_16_bytes() {
    assert_eq!(size_of::<Breaker>(), 16);
    assert!(size_of::<Contention>() <= 64, "{}", size_of::<Contention>());
    assert!(size_of::<Suspicion>() <= 256, "{}", size_of::<Suspicion>());
}

#[test]
fn windows_double_up_to_5_s_and_every_tenth_is_longer() {
    let windows: Vec<_> = (1..=20).map(window).collect();
    let tenths = [1, 2, 4, 8, 16, 32, 50, 50, 50, 250, 50, 50, 50, 50, 50, 50, 50, 50, 50, 250];
    assert_eq!(windows, tenths.map(|tenth| ms(100 * tenth)));
    assert_eq!(window(u32::MAX), LAST_WINDOW);
}

#[test]
fn only_a_rejection_after_a_window_doubles_it() {
    let mut now = Instant::now();
    let mut breaker = open(now);
    for opening in 2..30 {
        let window = window(opening - 1);
        assert_eq!(judge(&mut breaker, 2, TARGET, now + window - ms(1)), Verdict::Ignore);
        now += window;
        assert_eq!(judge(&mut breaker, 2, TARGET, now), Verdict::Suspect);
    }
}

#[test]
fn the_first_rejection_of_a_young_token_is_not_announced() {
    let now = Instant::now();
    let mut breaker = Breaker::default();
    assert_eq!(breaker.judge_rejection(young(1, now), now), (Verdict::Reject, None));
    assert_eq!(breaker.tick(now + RESET_AFTER), None, "the opening was not announced");
    assert!(!breaker.is_suspicious());
}

#[test]
fn the_second_window_is_announced_once() {
    let now = Instant::now();
    let mut breaker = Breaker::default();
    judge(&mut breaker, 1, TARGET, now);
    for (issue, at) in [(2, ms(100)), (3, ms(300))] {
        let (verdict, event) = breaker.judge_rejection(young(issue, now + at), now + at);
        assert_eq!(verdict, Verdict::Suspect);
        let opened = BreakerEvent::Opened { window: ms(200) };
        assert_eq!(event, (issue == 2).then_some(opened));
    }
    assert_eq!(breaker.reset(), Some(BreakerEvent::Reset));
    assert_eq!(breaker.reset(), None);
}

#[test]
fn many_resends_with_one_token_count_once() {
    let start = Instant::now();
    let mut breaker = open(start);
    for (issue, at) in [(2, ms(50)), (1, ms(60)), (2, ms(70))] {
        assert_eq!(breaker.fresh_token_rejected(issue, TARGET, start + at), None);
    }
    assert!(!breaker.is_open(start + ms(100)));
    assert_eq!(breaker.resets_at(), Some(start + ms(70) + RESET_AFTER));
}

#[test]
fn the_rejection_of_an_older_token_resets_the_breaker() {
    let start = Instant::now();
    let mut breaker = open(start);
    let now = start + secs(29);
    assert_eq!(judge(&mut breaker, 2, TARGET, now), Verdict::Suspect);
    let now = now + secs(29);
    let old = RejectedSend { arrived_at: now - YOUNG, ..young(3, now) };
    let judged = breaker.judge_rejection(old, now);
    assert_eq!(judged, (Verdict::Reject, Some(BreakerEvent::Reset)));
    assert_eq!(breaker.judge_rejection(old, now), (Verdict::Reject, None));
    let almost_old = RejectedSend { arrived_at: now - YOUNG + ms(1), ..young(3, now) };
    breaker.judge_rejection(almost_old, now);
    assert!(breaker.is_suspicious());
}

#[test]
fn a_token_that_this_origin_has_accepted_was_revoked() {
    let now = Instant::now();
    let mut breaker = open(now);
    assert_eq!(judge(&mut breaker, 2, TARGET, now), Verdict::Ignore);
    breaker.token_accepted(2, OTHER_ORIGIN, now);
    assert_eq!(judge(&mut breaker, 2, TARGET, now), Verdict::Ignore, "another origin did");
    breaker.token_accepted(2, OTHER_PATH, now);
    assert_eq!(judge(&mut breaker, 2, TARGET, now), Verdict::Reject);
}

#[test]
fn a_token_may_be_revoked_before_the_origin_has_seen_it() {
    let now = Instant::now();
    let mut breaker = open(now);
    breaker.token_accepted(2, TARGET, now);
    // Another origin accepts the next token before this one does.
    judge(&mut breaker, 2, TARGET, now);
    breaker.token_accepted(3, OTHER_ORIGIN, now);
    assert_ne!(judge(&mut breaker, 3, TARGET, now), Verdict::Ignore);
    assert_eq!(judge(&mut breaker, 4, TARGET, now), Verdict::Ignore, "twice is no coincidence");
}

#[test]
fn a_renewed_token_needs_evidence_of_its_own() {
    let now = Instant::now();
    let mut breaker = open(now);
    breaker.token_accepted(2, TARGET, now);
    assert_eq!(judge(&mut breaker, 3, TARGET, now), Verdict::Ignore);
    assert_ne!(judge(&mut breaker, 2, TARGET, now), Verdict::Ignore);
}

#[test]
fn misleading_evidence_is_ignored_until_an_acceptance() {
    let now = Instant::now();
    let mut breaker = open(now);
    breaker.token_accepted(2, OTHER_PATH, now);
    assert_ne!(judge(&mut breaker, 2, TARGET, now), Verdict::Ignore);
    // The next token arrives, the other path accepts it, and this one does not.
    breaker.token_accepted(3, OTHER_PATH, now);
    breaker.fresh_token_rejected(3, TARGET, now);
    assert_eq!(judge(&mut breaker, 3, TARGET, now), Verdict::Ignore);
    breaker.token_accepted(3, TARGET, now);
    assert_ne!(judge(&mut breaker, 3, TARGET, now), Verdict::Ignore);
    breaker.token_accepted(4, OTHER_PATH, now);
    assert_ne!(judge(&mut breaker, 4, OTHER_PATH, now), Verdict::Ignore);
}

#[test]
fn a_resource_whose_hash_is_0_is_like_any_other() {
    let now = Instant::now();
    let zero = Target { resource: 0, ..TARGET };
    let mut breaker = open(now);
    breaker.token_accepted(2, TARGET, now);
    assert_ne!(judge(&mut breaker, 2, zero, now), Verdict::Ignore);
    breaker.token_accepted(3, TARGET, now);
    breaker.fresh_token_rejected(3, zero, now);
    assert_eq!(judge(&mut breaker, 3, zero, now), Verdict::Ignore);
}

#[test]
fn the_rejection_of_a_second_send_counts_while_open() {
    let now = Instant::now();
    let mut breaker = open(now);
    let second = RejectedSend { send: SendNumber::Second, ..young(2, now) };
    assert_eq!(breaker.judge_rejection(second, now).0, Verdict::Reject);
    let third = RejectedSend { send: SendNumber::Third, ..young(3, now) };
    assert_eq!(breaker.judge_rejection(third, now).0, Verdict::Ignore);
    assert_eq!(judge(&mut breaker, 3, TARGET, now), Verdict::Ignore);
}

/// All events happen at one instant, as in a test with a paused clock.
#[test]
fn rejections_beyond_the_first_few_make_the_token_suspect() {
    let now = Instant::now();
    for first_arrived_at in [now, now - secs(3600)] {
        let mut breaker = Breaker::default();
        let mut rejected = RejectedSend { arrived_at: first_arrived_at, ..young(1, now) };
        let mut verdicts = Vec::new();
        for issue in 2..=ALLOWANCE as IssueId + 2 {
            verdicts.push(breaker.judge_rejection(rejected, now).0);
            // Other requests are accepted with the rejected token, so it was not revoked.
            breaker.token_accepted(issue - 1, TARGET, now);
            breaker.token_accepted(issue, TARGET, now);
            rejected = young(issue, now);
        }
        let is_old = usize::from(first_arrived_at < now);
        let trusted = MAX_TRUSTED as usize + is_old;
        assert_eq!(verdicts[..trusted], vec![Verdict::Reject; trusted]);
        let suspect = ALLOWANCE as usize + is_old;
        let are_suspect = verdicts[trusted..].iter().take(suspect - trusted);
        assert!(are_suspect.clone().all(|verdict| *verdict == Verdict::Suspect));
        assert!(verdicts.iter().skip(suspect).all(|verdict| *verdict == Verdict::Ignore));
    }
}

#[test]
fn the_allowance_fills_up_again() {
    let start = Instant::now();
    let mut breaker = Breaker::default();
    let mut issue = 0;
    let mut count_at = |now| {
        let mut counted = 0;
        loop {
            issue += 1;
            let second = RejectedSend { send: SendNumber::Second, ..young(issue, now) };
            if breaker.judge_rejection(second, now).0 == Verdict::Ignore {
                return counted;
            }
            counted += 1;
        }
    };
    assert_eq!(count_at(start), ALLOWANCE);
    assert_eq!(count_at(start + ms(1999)), 0);
    assert_eq!(count_at(start + secs(2)), 1);
    assert_eq!(count_at(start + secs(9)), 3);
    assert_eq!(count_at(start + secs(10)), 1);
}

#[test]
fn a_fresh_token_rejected_after_30_s_opens_the_breaker() {
    let start = Instant::now();
    let mut breaker = open(start);
    let mut now = start;
    for opening in 1..5 {
        now += window(opening);
        judge(&mut breaker, 2, TARGET, now);
    }
    now += secs(40);
    let event = breaker.fresh_token_rejected(3, TARGET, now);
    assert_eq!(event, Some(BreakerEvent::Reopened { window: FIRST_WINDOW }));
    assert_eq!(event.map(BreakerEvent::gauge_change), Some(0));
    assert!(!breaker.is_open(now + FIRST_WINDOW), "the first window is short again");
    assert_eq!(breaker.tick(now + RESET_AFTER), Some(BreakerEvent::Reset));
}

#[test]
fn hits_report_the_same_acceptance_once() {
    let now = Instant::now();
    let mut breaker = Breaker::default();
    assert_eq!(breaker.acceptance_hint(), 0);
    breaker.token_accepted(1, TARGET, now);
    assert_eq!(breaker.acceptance_hint(), 0, "a reset breaker ignores acceptances");
    judge(&mut breaker, 1, TARGET, now);
    assert_eq!(breaker.acceptance_hint(), 1);
    breaker.token_accepted(2, TARGET, now);
    assert_eq!(breaker.acceptance_hint(), acceptance_hash(2, ORIGIN));
    assert_ne!(acceptance_hash(2, ORIGIN), acceptance_hash(3, ORIGIN));
    breaker.fresh_token_rejected(3, TARGET, now);
    assert_eq!(breaker.acceptance_hint(), acceptance_hash(2, ORIGIN));
    // Every acceptance matters while the evidence of a path is ignored.
    breaker.fresh_token_rejected(2, TARGET, now);
    assert_eq!(breaker.acceptance_hint(), 1);
    breaker.token_accepted(2, TARGET, now);
    assert_eq!(breaker.acceptance_hint(), acceptance_hash(2, ORIGIN));
}
