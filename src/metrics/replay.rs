use super::{REPLAYS, recorder};

/// Counts a request that is resent with another token, once its outcome is known.
pub(crate) struct ReplayOutcome {
    is_counted: bool,
}

impl ReplayOutcome {
    /// Starts to watch a request that is about to be resent.
    pub(crate) fn watch() -> Self {
        Self { is_counted: false }
    }

    /// Counts a response that accepts the other token.
    pub(crate) fn accepted(&mut self) {
        self.count("accepted");
    }

    /// Counts a response that rejects the other token too.
    pub(crate) fn rejected(&mut self) {
        self.count("rejected");
    }

    /// Counts a request for which no other token was available.
    pub(crate) fn no_token(&mut self) {
        self.count("no_token");
    }

    fn count(&mut self, outcome: &'static str) {
        self.is_counted = true;
        recorder::count(REPLAYS, &[("outcome", outcome.into())]);
    }
}

impl Drop for ReplayOutcome {
    /// Counts a request that got no response, or whose caller did not wait for it.
    fn drop(&mut self) {
        if !self.is_counted {
            self.count("unanswered");
        }
    }
}

/// Counts a request whose token was rejected, and that is not resent.
pub(crate) fn not_replayed(reason: &'static str) {
    recorder::count(REPLAYS, &[("outcome", reason.into())]);
}
