//! The cache alone, on a paused clock.

mod capacity;
mod changes;
mod claims;
mod failure;
mod fallback;
mod fallback_beside_fetch;
mod fixed;
mod handles;
mod lifetime;
mod liveness;
mod narrow_scope;
mod older_fetch;
mod rejection;
mod removal;
mod renewal;
mod status;
mod warm;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tower_oauth2::Tokens;

use crate::support::*;

/// Returns tokens that are not renewed before their end, for tests of other behaviour.
fn without_renewal(source: &ScriptedSource) -> Tokens {
    builder(source).renew_ahead(Duration::ZERO).build().tokens(&credentials())
}

/// Creates a source that responds to a request once the gate has a permit.
fn gated(gate: &Arc<Semaphore>) -> ScriptedSource {
    let gate = gate.clone();
    ScriptedSource::new(move |n, _| {
        let gate = gate.clone();
        async move {
            gate.acquire().await?.forget();
            Ok(hour(n))
        }
    })
}
