//! What is learned from a replay.

use std::sync::Arc;

use http::Response;

use crate::challenge;
use crate::credentials::ClientCredentials;
use crate::meter;
use crate::replay::{BreakerKey, Replayed};
use crate::shared::Shared;

/// What is to be learned from the response to a replay.
pub(super) struct Replay {
    pub(super) shared: Arc<Shared>,
    pub(super) key: BreakerKey,
    pub(super) number: u64,
    /// Whose token is to be dropped when it is rejected too: one out of a store, which is not fresh.
    pub(super) stale: Option<Option<ClientCredentials>>,
    pub(super) counted: meter::Replaying,
}

/// What the API said to the first token, and whom to hold it against.
pub(super) struct Rejected {
    pub(super) head: Response<()>,
    pub(super) key: BreakerKey,
    /// So was another one, out of a store.
    pub(super) is_again: bool,
    pub(super) counted: meter::Replaying,
}

impl Replay {
    /// The second response is returned, whatever it is.
    pub(super) fn conclude<ResBody>(
        &mut self,
        mut response: Response<ResBody>,
    ) -> Response<ResBody> {
        let Shared { tokens, policy, breaker, .. } = &*self.shared;
        let is_rejection = policy.is_rejection(&response);
        tracing::debug!(status = response.status().as_u16(), is_rejection, "replayed");
        self.counted.end(is_rejection);
        if is_rejection {
            breaker.trip(self.key.clone(), self.number);
            if let Some(named) = &self.stale {
                let claims = challenge::claims(response.headers())
                    .map(crate::cache::Claims::single)
                    .unwrap_or_default();
                let _ = tokens.reject_issue(
                    named.as_ref(),
                    &crate::cache::Rejection {
                        issue: self.number,
                        target: None,
                        claims,
                        send: crate::cache::SendNumber::First,
                    },
                );
                tokens.prefetch(named.as_ref(), &Default::default());
            }
        } else {
            breaker.reset(&self.key);
        }
        response.extensions_mut().insert(Replayed::Yes);
        response
    }
}
