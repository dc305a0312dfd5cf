//! Describes the earlier sends of a request, as far as the decision needs them.

/// Describes the earlier sends of a request.
///
/// A request is sent at most four times: with three different tokens (C8), and once with a new
/// proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) token: TokenAttempt,
    pub(super) proof_retry: Retry,
}

/// Counts the tokens that a request was sent with (C8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenAttempt {
    First,
    /// One token was rejected before.
    Second(Freshness),
    /// Two tokens were rejected before.
    Third(Freshness),
}

/// Says whether a token was issued after the rejection of the token before it (C8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freshness {
    /// The fetch of the token began after the rejection.
    Fresh,
    /// The token may be as old as the rejected one.
    ///
    /// It came from a store, or its fetch began before the rejection.
    MayBeOld,
}

/// Says whether a resend that happens at most once per request has been used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    Available,
    Used,
}

/// Says whether a request carried a DPoP proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProofPresence {
    Absent,
    Present,
}

impl Progress {
    /// The progress of a request that is sent for the first time.
    pub(super) const FIRST: Self =
        Self { token: TokenAttempt::First, proof_retry: Retry::Available };

    /// Returns the progress of a resend with another token.
    ///
    /// The token may be old until [`with_freshness`](Self::with_freshness) says otherwise.
    pub(super) fn with_new_token(self) -> Self {
        let token = match self.token {
            TokenAttempt::First => TokenAttempt::Second(Freshness::MayBeOld),
            TokenAttempt::Second(_) | TokenAttempt::Third(_) => {
                TokenAttempt::Third(Freshness::MayBeOld)
            }
        };
        Self { token, ..self }
    }

    /// Returns the progress of a resend with a new proof.
    pub(super) fn with_new_proof(self) -> Self {
        Self { proof_retry: Retry::Used, ..self }
    }

    /// Returns the progress with the freshness of the token that is sent.
    ///
    /// The first token has no freshness, because no token was rejected before it.
    pub(super) fn with_freshness(self, freshness: Freshness) -> Self {
        let token = match self.token {
            TokenAttempt::First => TokenAttempt::First,
            TokenAttempt::Second(_) => TokenAttempt::Second(freshness),
            TokenAttempt::Third(_) => TokenAttempt::Third(freshness),
        };
        Self { token, ..self }
    }

    /// Returns `false` if no response to this send leads to another send.
    ///
    /// The body of such a send is not kept.
    pub(super) fn allows_resend(self, proof: ProofPresence) -> bool {
        let has_proof_retry =
            proof == ProofPresence::Present && self.proof_retry == Retry::Available;
        match self.token {
            TokenAttempt::First | TokenAttempt::Second(Freshness::MayBeOld) => true,
            TokenAttempt::Second(Freshness::Fresh) | TokenAttempt::Third(_) => has_proof_retry,
        }
    }
}
