//! Concurrent callers, fetches and stores, in many orders in which their threads may meet.
//!
//! The sources of the crate are compiled over stand-ins (`races/std`, `races/tokio`,
//! `races/arc-swap`, `races/wall-clock`). At each use of a lock, an atomic or a channel,
//! [shuttle](https://docs.rs/shuttle) decides which thread continues. The scenarios play callers,
//! sources, APIs, stores and ends of runtimes on threads of their own, each under thousands of
//! schedules:
//!
//! ```sh
//! cargo test --package tower-oauth2-races
//! RACES_SCHEDULES=100000 RACES_SEED=7 cargo test --package tower-oauth2-races --test races chaos
//! RACES_REPLAY=91021... cargo test --package tower-oauth2-races --test races -- --exact NAME
//! ```
//!
//! A failing schedule is printed, and the last line replays it.
//!
//! # Invariants
//!
//! The first column names the rule in the guarantees. `World` and `Journal` in `support` check the
//! rules with a `*` in every scenario, at each poll and each token request.
//!
//! | rule | invariant | scenarios |
//! |---|---|---|
//! | C2 * | A slot has at most one live fetch, beside those that were replaced or forgotten. | all |
//! | C3, C4 * | All callers return. | all |
//! | C5 * | A token is not handed out after its end by either clock, except to those who waited for it. | all |
//! | C8 * | A token is not handed out by a poll that begins after its rejection. | all |
//! | C3 | A fetch that is lost or silent is replaced, and changes nothing when it completes late. | `fetches`, `liveness`, `renewals` |
//! | C4 | A failure reaches all who waited. | `fetches` |
//! | C6 | A due token is renewed once, and a failed renewal displaces nothing. | `renewals` |
//! | C8 | No rejection is lost, and many reports of one token cost one token request. | `rejections`, `services` |
//! | C10 | Slots are bounded and counted right, and none in use is evicted. | `removal` |
//! | C11 | The keep-warm task notices a rejection, and ends with the last handle or the removal. | `renewals`, `removal` |
//! | C12 | Other origins use a rejected token only while fetches fail. | `services` |
//! | R1, R7, R8 | Revoked tokens are healed, claims are requested, and the gauge of breakers comes down. | `services`, `breaker` |
//! | G3, G5 | A refresh token is used by one task at a time, and persisted before. | `grants` |
//! | S4, S5 | A fleet makes one token request and leaves no lease behind. | `stores` |
//!
//! # Seeded breaks
//!
//! Each break was put into the sources by hand, and the scenario in the last column failed.
//!
//! | rule | break | caught by |
//! |---|---|---|
//! | C5 | the monotonic end, or the wall-clock end, is ignored | `clocks` |
//! | C3 | a lost fetch clears the slot of another one | `liveness::a_runtime_that_ends_while_its_fetch_is_replaced` |
//! | C3 | a lost fetch stays in its slot | `breaker::a_sweeper_whose_runtime_ends_is_replaced` and 12 more |
//! | C3 | a replaced fetch completes into the slot | `liveness::a_fetch_that_completes_while_it_is_replaced` and 4 more |
//! | C3 | a replaced fetch is not marked as superseded | `liveness::a_fetch_that_completes_while_it_is_replaced` and 5 more |
//! | C3 | the failure after two panics is given as a loss | `fetches::all_waiters_get_the_failure_of_the_second_panic` |
//! | C4 | waiters learn of a failure before the slot does | `fetches::a_failure_reaches_all_waiters_and_is_remembered` and 8 more |
//! | C5 | a hit prolongs a token beyond its end | `clocks::a_hit_just_before_the_end_prolongs_nothing` |
//! | C5 | an ended token becomes current again | `clocks::a_hit_just_before_the_end_prolongs_nothing` and 8 more |
//! | C6 | a failed renewal displaces the token | `rejections::a_rejected_token_stays_known_across_failed_fetches` and 4 more |
//! | C8 | `reject` ignores the token's number | `breaker::evidence_is_collected_again_after_a_sweep` and 3 more |
//! | C8 | each second token counts as fresh | `services::a_renewal_from_before_a_revocation_is_replaced_too` |
//! | C8 | a service does not compare the number of its local token | `services::a_service_does_not_send_its_local_token_after_its_rejection` and 1 more |
//! | C9 | the gauge of failures does not come down | `fetches::the_gauge_of_failures_is_back_at_zero_after_a_success` and 3 more |
//! | C10 | a cleared slot keeps its fetch | `removal::a_cleared_slot_serves_its_waiters_and_keeps_no_earlier_result` |
//! | C10 | a slot in use is evicted | `removal::a_slot_that_is_taken_during_an_eviction_stays` |
//! | C10 | a slot is not given back | `removal::slots_that_are_released_together_are_evicted` and 1 more |
//! | C10 | a slot is inserted without another look | `removal::a_rejection_reaches_the_slot_of_its_token` and 2 more |
//! | C11 | the keep-warm task waits after a rejection | `renewals::a_keep_warm_task_replaces_a_rejected_token` |
//! | C11 | the keep-warm task looks before it listens | `removal::a_keep_warm_task_ends_when_its_slot_is_removed` and 2 more |
//! | C12 | `get` returns a rejected token | `fetches::the_gauge_of_failures_is_back_at_zero_after_a_success` and 4 more |
//! | C12 | a rejected token goes to the origin that rejected it | `services::other_origins_use_a_rejected_token_while_fetches_fail` |
//! | R7 | claims of later rejections are lost | `services::claims_of_concurrent_rejections_are_all_requested` |
//! | R8 | acceptances are not reported | `breaker::a_revocation_while_the_breaker_is_open_is_healed` and 2 more |
//! | R8 | an acceptance counts for another token | `breaker::a_late_acceptance_counts_for_its_own_token` |
//! | R8 | the sweeper does not learn of an open breaker | `breaker::a_sweeper_whose_runtime_ends_is_replaced` and 1 more |
//! | G3 | the turn of a refresh token is given to all | `grants::a_refresh_token_is_taken_over_and_none_is_lost` and 2 more |
//! | G3 | a token is handed out before the refresh token is persisted | `grants::a_refresh_token_is_taken_over_and_none_is_lost` and 2 more |
//! | G3 | a late refresh token displaces a newer one, or is lost | `grants::a_refresh_token_is_taken_over_and_none_is_lost` |
//! | S5 | a lease is given to all | `stores::a_lease_of_a_replaced_fetch_is_adopted` and 4 more |
//! | S5 | a lease is not given back | `stores::a_lease_of_a_replaced_fetch_is_adopted` and 3 more |
//! | S5 | the lease of a dead fetch is not adopted | `stores::a_lease_of_a_replaced_fetch_is_adopted` and 1 more |
//! | S5 | the lease of a live fetch is adopted | `stores::one_of_two_caches_adopts_a_lease` |
//!
//! Breaks of the first version that were dropped:
//!
//! - *A fetch is entered into its slot after the lock was released*, *a renewal is claimed without a
//!   comparison*: the transition that starts a fetch also records it, so neither can be written.
//! - *An overdue fetch is waited for*: fetches are replaced for want of a sign of life, not because
//!   of a deadline.
//! - *The breaker counts a token twice*: the breaker judges the current token only, under the lock.
//! - *A caller takes over three times*: callers take over the lost fetches of others without limit.
//!
//! Not caught: a late task of the sweeper that goes on beside its successor. It only ticks breakers
//! once more.
//!
//! # Limits
//!
//! Schedules are drawn, so a pass is no proof; `in_every_order` in a name says that all schedules
//! were played. All orderings of atomics count as `SeqCst`. arc-swap and tokio's channels are trusted,
//! one operation at a time. Another thread never continues at the count of an `Arc`. Stores over a
//! network, `jwt` and streaming bodies are not played.

mod breaker;
mod chaos;
mod clocks;
mod fetches;
mod grants;
mod liveness;
mod rejections;
mod removal;
mod renewals;
mod services;
mod stores;
mod support;
