use super::super::progress::ProofPresence;
use super::*;

const FACTS_TOKEN: [TokenVerdict; 2] = [TokenVerdict::Accepted, TokenVerdict::Rejected];

const FACTS_PROOF: [ProofVerdict; 3] =
    [ProofVerdict::Accepted, ProofVerdict::RetryWithNewProof, ProofVerdict::Rejected];

const FACTS_BODY: [BodyState; 2] = [BodyState::Replayable, BodyState::Consumed];

const TOKEN_ATTEMPTS: [TokenAttempt; 5] = [
    TokenAttempt::First,
    TokenAttempt::Second(Freshness::Fresh),
    TokenAttempt::Second(Freshness::MayBeOld),
    TokenAttempt::Third(Freshness::Fresh),
    TokenAttempt::Third(Freshness::MayBeOld),
];

const REPLACED: RejectionReport =
    RejectionReport::Answered(RejectionOutcome::Replaced { since: 5 });

const OPEN: RejectionReport = RejectionReport::Answered(RejectionOutcome::BreakerOpen);

const CLAIMS_REFUSED: RejectionReport = RejectionReport::Answered(RejectionOutcome::ClaimsRefused);

const FIXED: RejectionReport = RejectionReport::Answered(RejectionOutcome::FixedToken);

const REJECTION_REPORTS: [RejectionReport; 5] =
    [RejectionReport::NotSent, REPLACED, OPEN, CLAIMS_REFUSED, FIXED];

fn every_response() -> impl Iterator<Item = ResponseFacts> {
    FACTS_TOKEN.into_iter().flat_map(|token| {
        FACTS_PROOF.into_iter().flat_map(move |proof| {
            FACTS_BODY.into_iter().map(move |body| ResponseFacts { token, proof, body })
        })
    })
}

fn every_progress() -> impl Iterator<Item = Progress> {
    TOKEN_ATTEMPTS.into_iter().flat_map(|token| {
        [Retry::Available, Retry::Used]
            .into_iter()
            .map(move |proof_retry| Progress { token, proof_retry })
    })
}

fn every_input() -> impl Iterator<Item = (ResponseFacts, Progress, RejectionReport)> {
    every_response().flat_map(|facts| {
        every_progress().flat_map(move |progress| {
            REJECTION_REPORTS.into_iter().map(move |rejection| (facts, progress, rejection))
        })
    })
}

fn is_resend(action: Action) -> bool {
    matches!(action, Action::ResendWithNewToken { .. } | Action::ResendWithNewProof)
}

// The rows are checked from top to bottom: the first one that matches an input has its action.
#[test]
fn each_input_leads_to_the_action_of_its_row_in_the_table() {
    use self::Freshness::{Fresh, MayBeOld};
    use self::TokenAttempt::{First, Second, Third};

    let resent_or = |progress: Progress, reason| match progress.token {
        First => Outcome::NotReplayed(reason),
        Second(_) | Third(_) => Outcome::Replayed,
    };
    let mut inputs = 0;
    let mut rows = [0; 13];
    for (facts, progress, rejection) in every_input() {
        let unless_replayed = |reason| resent_or(progress, reason);
        let (row, expected) = match (facts.proof, progress.proof_retry, facts.body) {
            (ProofVerdict::RetryWithNewProof, Retry::Available, BodyState::Replayable) => {
                (0, Action::ResendWithNewProof)
            }
            (ProofVerdict::RetryWithNewProof, Retry::Available, BodyState::Consumed) => {
                (1, Action::Return(unless_replayed(NotReplayed::Body)))
            }
            (ProofVerdict::RetryWithNewProof, Retry::Used, _) | (ProofVerdict::Rejected, ..) => {
                (2, Action::Return(unless_replayed(NotReplayed::Proof)))
            }
            (ProofVerdict::Accepted, ..) => {
                match (facts.token, progress.token, rejection, facts.body) {
                    (TokenVerdict::Accepted, First, ..) => (3, Action::Return(Outcome::Unmarked)),
                    (TokenVerdict::Accepted, ..) => (4, Action::Return(Outcome::Replayed)),
                    (_, Second(Fresh) | Third(Fresh), ..) => (5, Action::ReportRefusal),
                    (.., RejectionReport::NotSent, _) => (6, Action::Reject),
                    (.., OPEN, _) => (7, Action::Return(unless_replayed(NotReplayed::BreakerOpen))),
                    (.., CLAIMS_REFUSED, _) => {
                        (8, Action::Return(unless_replayed(NotReplayed::ClaimsRefused)))
                    }
                    (.., FIXED, _) => (9, Action::Return(unless_replayed(NotReplayed::FixedToken))),
                    (_, Third(MayBeOld), ..) => (10, Action::Prefetch(Outcome::Replayed)),
                    (.., BodyState::Replayable) => (11, Action::ResendWithNewToken { since: 5 }),
                    (.., BodyState::Consumed) => {
                        (12, Action::Prefetch(unless_replayed(NotReplayed::Body)))
                    }
                }
            }
        };
        inputs += 1;
        rows[row] += 1;
        let action = decide(facts, progress, rejection);
        assert_eq!(action, expected, "{facts:?} {progress:?} {rejection:?}");
    }
    assert_eq!(inputs, 2 * 3 * 2 * 5 * 2 * 5);
    assert!(rows.iter().all(|inputs| *inputs > 0), "each row is reached: {rows:?}");
}

#[test]
fn typical_responses_lead_to_these_actions() {
    use self::Freshness::{Fresh, MayBeOld};

    let accepted = ResponseFacts {
        token: TokenVerdict::Accepted,
        proof: ProofVerdict::Accepted,
        body: BodyState::Replayable,
    };
    let rejected = ResponseFacts { token: TokenVerdict::Rejected, ..accepted };
    let consumed = ResponseFacts { body: BodyState::Consumed, ..rejected };
    let new_proof = ResponseFacts { proof: ProofVerdict::RetryWithNewProof, ..rejected };
    let bad_proof = ResponseFacts { proof: ProofVerdict::Rejected, ..rejected };

    let first = Progress::FIRST;
    let second = first.with_new_token().with_freshness(Fresh);
    let second_old = first.with_new_token().with_freshness(MayBeOld);
    let third = second_old.with_new_token().with_freshness(Fresh);
    let third_old = second_old.with_new_token().with_freshness(MayBeOld);
    let proof_used = first.with_new_proof();

    let not_sent = RejectionReport::NotSent;
    let unmarked = Action::Return(Outcome::Unmarked);
    let replayed = Action::Return(Outcome::Replayed);
    let not_replayed = |reason| Action::Return(Outcome::NotReplayed(reason));
    let new_token = Action::ResendWithNewToken { since: 5 };
    let prefetch_body = Action::Prefetch(Outcome::NotReplayed(NotReplayed::Body));
    for (facts, progress, rejection, action) in [
        (accepted, first, not_sent, unmarked),
        (accepted, proof_used, not_sent, unmarked),
        (accepted, second, not_sent, replayed),
        (rejected, first, not_sent, Action::Reject),
        (rejected, first, REPLACED, new_token),
        (rejected, first, OPEN, not_replayed(NotReplayed::BreakerOpen)),
        (rejected, first, CLAIMS_REFUSED, not_replayed(NotReplayed::ClaimsRefused)),
        (rejected, first, FIXED, not_replayed(NotReplayed::FixedToken)),
        (consumed, first, not_sent, Action::Reject),
        (consumed, first, REPLACED, prefetch_body),
        (consumed, first, OPEN, not_replayed(NotReplayed::BreakerOpen)),
        (rejected, second, not_sent, Action::ReportRefusal),
        (rejected, second_old, not_sent, Action::Reject),
        (rejected, second_old, REPLACED, new_token),
        (consumed, second_old, REPLACED, Action::Prefetch(Outcome::Replayed)),
        (rejected, second_old, OPEN, replayed),
        (rejected, second_old, CLAIMS_REFUSED, replayed),
        (rejected, third, not_sent, Action::ReportRefusal),
        (rejected, third_old, not_sent, Action::Reject),
        (rejected, third_old, REPLACED, Action::Prefetch(Outcome::Replayed)),
        (new_proof, first, not_sent, Action::ResendWithNewProof),
        (new_proof, proof_used, not_sent, not_replayed(NotReplayed::Proof)),
        (new_proof, second.with_new_proof(), not_sent, replayed),
        (bad_proof, first, not_sent, not_replayed(NotReplayed::Proof)),
    ] {
        let decided = decide(facts, progress, rejection);
        assert_eq!(decided, action, "{facts:?} {progress:?} {rejection:?}");
    }
}

#[test]
fn a_resend_needs_a_body_and_a_rejection_is_reported_once() {
    for (facts, progress, rejection) in every_input() {
        let action = decide(facts, progress, rejection);
        if is_resend(action) {
            assert_eq!(facts.body, BodyState::Replayable);
        }
        if action == Action::Reject {
            assert_eq!(rejection, RejectionReport::NotSent);
        }
    }
}

#[test]
fn a_body_is_kept_exactly_if_a_response_can_lead_to_a_resend() {
    for progress in every_progress() {
        for proof in [ProofPresence::Absent, ProofPresence::Present] {
            let can_be_resent = every_input().any(|(facts, other, rejection)| {
                let is_possible = other == progress
                    && (proof == ProofPresence::Present || facts.proof == ProofVerdict::Accepted);
                is_possible && is_resend(decide(facts, progress, rejection))
            });
            assert_eq!(progress.allows_resend(proof), can_be_resent, "{progress:?} {proof:?}");
        }
    }
}

#[test]
fn a_request_is_sent_at_most_four_times() {
    /// Returns the largest number of sends that can follow, this one included.
    fn most_sends(progress: Progress) -> usize {
        let next = every_input().filter(|(_, other, _)| *other == progress).map(
            |(facts, _, rejection)| match decide(facts, progress, rejection) {
                Action::ResendWithNewProof => most_sends(progress.with_new_proof()),
                Action::ResendWithNewToken { .. } => {
                    let next = progress.with_new_token();
                    let fresh = most_sends(next.with_freshness(Freshness::Fresh));
                    fresh.max(most_sends(next.with_freshness(Freshness::MayBeOld)))
                }
                _ => 0,
            },
        );
        1 + next.max().unwrap_or(0)
    }
    assert_eq!(most_sends(Progress::FIRST), 4);
}
