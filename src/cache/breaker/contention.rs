//! Recognises processes that revoke each other's tokens.

use std::time::Duration;

use tokio::time::Instant;

use crate::cache::issued::IssueId;
use crate::util::jitter;

/// The revocations in a row from which on processes contend for the token.
///
/// Fewer are healed at once: an operator may revoke tokens a few times in a row.
const CONTENDED_AFTER: u8 = 5;
/// Limits the score, so that a few signs against contention end it.
const MAX_SCORE: u8 = 8;
/// The time without a revocation after which a row ends.
const ROW_ENDS_AFTER: Duration = Duration::from_secs(10 * 60);
/// The shortest time between two rejections that count while processes contend.
pub(super) const CONTENDED_INTERVAL: Duration = Duration::from_secs(5);
/// The longest time that is added to the interval. It is drawn, because processes in step would
/// leave one of them almost always without a good token.
const CONTENDED_SPREAD: Duration = Duration::from_secs(2);

/// Recognises processes that revoke each other's tokens.
///
/// The server keeps one live token per client, and several processes request tokens without a
/// store. Each new token revokes the token of another process.
///
/// Contention shows as consecutive tokens that an API accepted and then rejected, while each replay
/// succeeds. A bad node behind a load balancer rejects accepted tokens too. Such a node is
/// recognised when other requests are accepted with the rejected token, or when a replay is
/// rejected.
#[derive(Debug)]
pub(super) struct Contention {
    /// The number of revocations in a row, less the signs against contention.
    score: u8,
    is_announced: bool,
    /// The newest token that an API is known to have accepted. 0 if there is none.
    accepted_issue: IssueId,
    /// The last token whose rejection counted.
    rejected_issue: IssueId,
    rejected_at: Instant,
    /// The time from which on the next rejection counts while processes contend.
    next_counts_at: Instant,
    /// The last response to the rejected token, until the next token is accepted.
    last_response: Option<LastResponse>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LastResponse {
    Accepted,
    Rejected,
}

impl Contention {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            score: 0,
            is_announced: false,
            accepted_issue: 0,
            rejected_issue: 0,
            rejected_at: now,
            next_counts_at: now,
            last_response: None,
        }
    }

    /// Returns whether a rejection is ignored now because processes contend for the token.
    pub(super) fn delays_rejection(&self, now: Instant) -> bool {
        self.is_contended() && now < self.next_counts_at
    }

    /// Returns whether every acceptance must be reported now, even for a known origin.
    pub(super) fn needs_acceptances(&self) -> bool {
        self.last_response.is_some()
    }

    /// Records a rejection that counts: the token will be replaced.
    pub(super) fn rejection_counted(&mut self, issue: IssueId, now: Instant) {
        self.conclude();
        if now >= self.rejected_at + ROW_ENDS_AFTER {
            self.score = 0;
        }
        // Without an acceptance, the token may never have been good.
        if issue == self.accepted_issue {
            self.score = (self.score + 1).min(MAX_SCORE);
        } else {
            self.score = self.score.max(1);
        }
        (self.rejected_issue, self.rejected_at) = (issue, now);
        let spread = jitter::up_to(CONTENDED_SPREAD);
        self.next_counts_at = now + CONTENDED_INTERVAL + spread;
        self.last_response = Some(LastResponse::Rejected);
    }

    /// Records a further rejection of a token.
    pub(super) fn rejected_again(&mut self, issue: IssueId) {
        if issue == self.rejected_issue && self.last_response.is_some() {
            self.last_response = Some(LastResponse::Rejected);
        }
    }

    pub(super) fn token_accepted(&mut self, issue: IssueId) {
        if issue == self.rejected_issue && self.last_response.is_some() {
            // The response may be late. Only the last one before the next token decides.
            self.last_response = Some(LastResponse::Accepted);
        } else if issue > self.rejected_issue {
            self.conclude();
            self.accepted_issue = self.accepted_issue.max(issue);
        }
    }

    /// Records that a fresh token was rejected after a resend.
    ///
    /// The earlier rejection was then not the fault of the token.
    pub(super) fn fresh_token_rejected(&mut self) {
        self.score = 0;
        self.last_response = None;
    }

    /// Returns `true` once, when processes contend for the token.
    pub(super) fn announce(&mut self) -> bool {
        let is_news = self.is_contended() && !self.is_announced;
        self.is_announced |= is_news;
        is_news
    }

    fn is_contended(&self) -> bool {
        self.score >= CONTENDED_AFTER
    }

    /// Judges the last rejected token once the next one is in use.
    fn conclude(&mut self) {
        if self.last_response.take() == Some(LastResponse::Accepted) {
            // The token was not revoked. This takes back its revocation, and one more to be
            // certain.
            self.score = self.score.saturating_sub(2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Returns the contention after `revocations` in a row.
    fn revoked(revocations: u64, now: Instant) -> Contention {
        let mut contention = Contention::new(now);
        for issue in 1..=revocations {
            contention.token_accepted(issue);
            contention.rejection_counted(issue, now);
        }
        contention
    }

    // R8
    #[test]
    fn five_revocations_in_a_row_are_contention_and_announced_once() {
        let now = Instant::now();
        let mut contention = revoked(4, now);
        assert!(!contention.announce() && !contention.delays_rejection(now));
        contention.token_accepted(5);
        contention.rejection_counted(5, now);
        assert!(contention.announce() && !contention.announce());
        assert!(contention.delays_rejection(now + secs(5) - Duration::from_millis(1)));
        assert!(!contention.delays_rejection(now + secs(7)));
    }

    // R8
    #[test]
    fn tokens_that_no_api_has_accepted_are_no_contention() {
        let now = Instant::now();
        let mut contention = Contention::new(now);
        for issue in 1..100 {
            contention.rejection_counted(issue, now);
        }
        assert!(!contention.announce());
    }

    // R8
    #[test]
    fn a_rejected_token_that_is_accepted_shows_no_contention() {
        let now = Instant::now();
        let mut contention = Contention::new(now);
        for issue in 1..100 {
            contention.token_accepted(issue);
            contention.rejection_counted(issue, now);
            contention.token_accepted(issue);
            contention.rejected_again(issue);
            contention.token_accepted(issue);
        }
        assert!(!contention.announce());
    }

    // R8
    #[test]
    fn late_responses_do_not_hide_contention() {
        let now = Instant::now();
        let mut contention = Contention::new(now);
        for issue in 1..=5 {
            contention.token_accepted(issue);
            contention.rejection_counted(issue, now);
            contention.token_accepted(issue);
            contention.rejected_again(issue);
        }
        assert!(contention.announce());
        // This holds even if one of these responses is the last one.
        contention.token_accepted(6);
        contention.rejection_counted(6, now);
        contention.token_accepted(6);
        contention.token_accepted(7);
        contention.rejection_counted(7, now);
        contention.token_accepted(8);
        contention.rejection_counted(8, now);
        assert!(contention.delays_rejection(now));
    }

    // R8
    #[test]
    fn a_rejected_replay_and_ten_quiet_minutes_end_a_row() {
        let now = Instant::now();
        let mut contention = revoked(5, now);
        contention.fresh_token_rejected();
        assert!(!contention.delays_rejection(now));
        let mut contention = revoked(5, now);
        let later = now + ROW_ENDS_AFTER;
        contention.token_accepted(6);
        contention.rejection_counted(6, later);
        assert!(!contention.delays_rejection(later));
    }
}
