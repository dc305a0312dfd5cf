//! Concurrent callers, fetches and stores, under many schedules of their threads.
//!
//! The sources of the crate are compiled over stand-ins (`races/std`, `races/tokio`,
//! `races/arc-swap`, `races/wall-clock`). At each use of a lock, an atomic or a channel,
//! [shuttle](https://docs.rs/shuttle) decides which thread continues. The scenarios run callers,
//! sources, APIs, stores and shutdowns of runtimes on separate threads, under thousands of
//! schedules each:
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
//! | C2 * | A slot has at most one live fetch, besides those that were replaced or removed. | all |
//! | C3, C4 * | All callers return. | all |
//! | C5 * | A token is not returned after its end by either clock, except to callers that waited for it. | all |
//! | C8 * | A token is not returned by a poll that begins after its rejection. | all |
//! | C3 | A fetch that is lost or silent is replaced, and changes nothing when it completes late. | `fetches`, `liveness`, `renewals` |
//! | C4 | All waiting callers get a failure. | `fetches` |
//! | C6 | A due token is renewed once, and a failed renewal does not replace the token. | `renewals` |
//! | C8 | No rejection is lost, and many reports of one token cost one token request. | `rejections`, `services` |
//! | C10 | The number of slots is bounded and exact, and a slot in use is not evicted. | `removal` |
//! | C11 | The keep-warm task and `changes` notice a rejection. The task ends with the last handle. | `renewals`, `removal` |
//! | C12 | Other origins use a rejected token only while fetches fail. | `services` |
//! | R1, R7, R8 | Requests with revoked tokens are replayed, claims are requested, and the gauge of open breakers returns to zero. | `services`, `breaker` |
//! | G3, G5 | A refresh token is persisted before it is used, and one task at a time uses it. | `grants` |
//! | S4, S5 | Caches that share a store make one token request, and release all leases. | `stores` |
//!
//! # Seeded defects
//!
//! Each defect was introduced into the sources by hand, and the scenario in the last column failed.
//!
//! | rule | defect | caught by |
//! |---|---|---|
//! | C2 | hits renew a token although its renewal is running | `liveness::a_renewal_that_shows_signs_of_life_is_not_replaced` and 2 more |
//! | C2, C10 | a slot is inserted without another look | `removal::a_removed_slot_is_replaced_by_another_one` and 2 more |
//! | C3 | a fetch shows no beats | `liveness::a_fetch_that_shows_signs_of_life_is_not_replaced` and 3 more |
//! | C3 | waiters count looks with beats too | `liveness::a_fetch_that_shows_signs_of_life_is_not_replaced` and 2 more |
//! | C3 | hits count looks with beats too | `liveness::a_renewal_that_shows_signs_of_life_is_not_replaced` |
//! | C3 | waiters wait for a silent fetch | `liveness::waiters_replace_a_fetch_that_no_runtime_polls` and 3 more |
//! | C3 | callers with short timeouts do not look | `liveness::callers_with_short_timeouts_replace_a_silent_fetch` |
//! | C3 | hits do not look | `liveness::hits_replace_a_silent_renewal_once` |
//! | C3 | a waiter replaces a fetch without a comparison of numbers | `liveness::waiters_replace_a_fetch_that_no_runtime_polls` and 4 more |
//! | C3 | a replaced fetch completes into the slot | `liveness::a_replaced_fetch_that_completes_late_changes_nothing` and 4 more |
//! | C3 | a replaced fetch is not marked as superseded | `liveness::a_replaced_fetch_that_completes_late_changes_nothing` and 5 more |
//! | C3 | a lost fetch clears the slot of another one | `liveness::a_runtime_that_ends_while_its_fetch_is_replaced` |
//! | C3 | a lost fetch stays in its slot | `fetches::a_waiter_replaces_a_fetch_that_panics` and more |
//! | C3 | waiters of a lost fetch are not notified | `fetches::waiters_elsewhere_replace_the_fetch_of_a_runtime_that_ends` and more |
//! | C3 | they are notified before the slot is cleared | `fetches::a_waiter_replaces_a_fetch_that_panics` and more |
//! | C3 | waiters of a silent fetch are notified before the slot is cleared | `liveness::waiters_replace_a_fetch_that_no_runtime_polls` and 1 more |
//! | C3 | a caller replaces its own lost fetches without limit | `fetches::a_caller_replaces_lost_fetches_of_others_without_limit` and 6 more |
//! | C3 | the lost fetches of others count | `fetches::a_caller_replaces_lost_fetches_of_others_without_limit` and 1 more |
//! | C3 | a lost fetch counts as a panic | `fetches::a_caller_replaces_lost_fetches_of_others_without_limit` and 1 more |
//! | C3 | two panics are no failure | `fetches::two_panics_in_a_row_are_a_failure` and 1 more |
//! | C4 | the failure after two panics is given as a loss | `fetches::all_waiters_get_the_failure_of_the_second_panic` |
//! | C4 | waiters learn of a failure before the slot does | `fetches::without_backoff_no_caller_gets_an_earlier_failure` and 8 more |
//! | C5 | the monotonic end is ignored | `clocks::a_wall_clock_that_is_set_back_prolongs_nothing` and `chaos` |
//! | C5 | the wall-clock end is ignored | `clocks::a_suspend_ends_a_token` and 4 more |
//! | C5 | an expired token becomes current again | `clocks::a_token_stays_expired_when_the_wall_clock_is_set_back` and more |
//! | C5 | waiters use a token after its end | `clocks::a_suspend_ends_a_token_before_its_waiters_run` |
//! | C5 | a hit prolongs a token beyond its end | `clocks::a_hit_just_before_the_end_prolongs_nothing` |
//! | C6 | a failed renewal displaces the token | `renewals::a_failed_renewal_displaces_nothing_and_is_repeated` and 4 more |
//! | C6 | a lost renewal is not repeated | `renewals::a_renewal_whose_runtime_ends_is_repeated` and 1 more |
//! | C8 | a transition publishes after the lock is released | `rejections::waiters_do_not_get_a_token_that_was_rejected_before_they_ran` and more |
//! | C8 | the published number is not cleared | `services::in_every_order_a_hit_sends_no_rejected_token` and 1 more |
//! | C8 | a service does not compare the number of its local token | `services::in_every_order_a_hit_sends_no_rejected_token` and 1 more |
//! | C8 | waiters use any token that arrives | `rejections::waiters_do_not_get_a_token_that_was_rejected_before_they_ran` and more |
//! | C8 | `reject` ignores the number of the token | `services::requests_with_a_revoked_token_make_one_token_request` and 3 more |
//! | C8 | the sequence does not advance at a rejection, or at all | `rejections::a_renewal_that_brings_the_rejected_token_again_is_repeated` |
//! | C8 | a renewal brings the rejected token again | `rejections::a_renewal_that_brings_the_rejected_token_again_is_repeated` |
//! | C8 | `rejected_through` is not raised | `services::a_waiting_request_sends_no_token_older_than_a_rejected_one` |
//! | C8 | a request that waited does not check its token again | `services::a_waiting_request_sends_no_token_older_than_a_rejected_one` |
//! | C8 | a failed fetch forgets the rejection | `rejections::a_rejected_token_stays_known_across_failed_fetches` and 1 more |
//! | C8 | each second token counts as fresh | `services::a_renewal_from_before_a_revocation_is_replaced_too` |
//! | C8 | a waiter gives up after another number of rejected tokens, or never | `rejections::a_waiter_gives_up_after_eight_rejected_tokens` |
//! | C9 | no attempt follows a renewal that fails after the end | `renewals::a_renewal_that_fails_after_the_end_fails_no_caller` |
//! | C9 | the gauge of failures does not come down | `fetches::the_gauge_of_failures_is_back_at_zero_after_a_success` and 4 more |
//! | C10 | a cleared slot keeps its fetch | `removal::a_cleared_slot_serves_its_waiters_with_a_new_token` |
//! | C10 | a slot in use is evicted | `removal::a_slot_that_is_taken_during_an_eviction_stays` |
//! | C10 | a removal drops a slot that is held | `removal::a_handle_taken_during_a_removal_is_in_the_cache` and 1 more |
//! | C10 | two evictions run at once | `removal::a_slot_that_is_taken_during_an_eviction_stays` |
//! | C10 | a release evicts nothing, or still holds the slot | `removal::slots_that_are_released_together_are_evicted` and more |
//! | C10 | a guard, a panic or a sweep does not release its slot | `removal::slots_that_are_released_together_are_evicted`, `removal::a_slot_that_is_released_during_a_sweep_is_evicted` |
//! | C10 | slots are miscounted | `removal::the_number_of_slots_is_bounded_and_counted_right` and 4 more |
//! | C11 | the keep-warm task looks before it listens | `renewals::a_keep_warm_task_ends_with_the_last_handle` and 2 more |
//! | C11 | `changes` looks before it listens | `renewals::changes_notice_a_token_that_another_caller_fetched` |
//! | C11 | the keep-warm task ends without another look for handles | `renewals::a_handle_is_kept_warm_although_an_earlier_task_is_ending` |
//! | C11 | a rejection does not wake the keep-warm task, or not at once | `renewals::a_keep_warm_task_replaces_a_rejected_token` |
//! | C12 | the fallback ignores the origin | `services::other_origins_use_a_rejected_token_while_fetches_fail` |
//! | C12 | `get` returns a rejected token | `services::other_origins_use_a_rejected_token_while_fetches_fail` and 5 more |
//! | R7 | claims of later rejections are lost | `services::claims_of_concurrent_rejections_are_all_requested` |
//! | R8 | rejections count while the breaker is open | `breaker::a_late_acceptance_counts_for_its_own_token` |
//! | R8 | the refusals of one token count several times | `breaker::an_api_that_rejects_every_token_costs_one_fetch_per_window` |
//! | R8 | acceptances are not reported | `breaker::an_acceptance_that_meets_a_rejection_is_not_lost` and 2 more |
//! | R8 | an acceptance counts for another token | `breaker::a_late_acceptance_counts_for_its_own_token` |
//! | R8 | an open breaker is not watched | `breaker::the_gauge_of_broken_apis_is_back_at_zero_without_traffic` and 1 more |
//! | R8 | a sweep clears the mark of a slot after the look | `breaker::the_gauge_of_broken_apis_is_back_at_zero_without_traffic` |
//! | R8 | a sweep drops slots that came in the meantime, or ends before they are closed | `breaker::the_gauge_of_broken_apis_is_back_at_zero_without_traffic` |
//! | R8 | a lost sweeper is not replaced | `breaker::a_sweeper_whose_runtime_ends_is_replaced` |
//! | G3 | the lock of a refresh token is given to all | `grants::a_refresh_token_is_used_by_one_task_at_a_time` and 2 more |
//! | G3 | a lock is taken over without a new generation | `grants::a_refresh_token_is_taken_over_and_none_is_lost` |
//! | G3 | a holder that is alive is displaced by those who saw the last one | `grants::a_refresh_token_is_taken_over_and_none_is_lost` |
//! | G3 | an earlier holder releases the lock | `grants::a_refresh_token_is_taken_over_and_none_is_lost` |
//! | G3 | an earlier holder goes on with a save | `grants::a_refresh_token_is_taken_over_and_none_is_lost` |
//! | G3 | a late refresh token displaces a newer one, or is lost | `grants::a_refresh_token_is_taken_over_and_none_is_lost` |
//! | G3 | a refresh token is used before it is persisted | `grants::a_refresh_token_is_taken_over_and_none_is_lost` |
//! | G3 | an access token is handed out before that | `grants::a_refresh_token_is_used_by_one_task_at_a_time` and 2 more |
//! | G5 | a refresh token that was set is displaced | `grants::a_refresh_token_that_is_set_is_not_displaced` and 1 more |
//! | G5 | a request with the earlier refresh token is not repeated | `grants::a_refresh_token_that_is_set_is_not_displaced` |
//! | S5 | a lease is given to all, is not released, or is taken without another look | `stores::concurrent_misses_of_a_fleet_make_one_token_request` and more |
//! | S5 | the lease of a dead fetch is not adopted | `stores::a_lease_of_a_replaced_fetch_is_adopted` and 1 more |
//! | S5 | a lease is adopted by several | `stores::one_of_several_caches_adopts_a_lease` |
//! | S5 | an earlier holder extends or releases a lease | `stores::a_lease_of_a_replaced_fetch_is_adopted` |
//! | S5 | a replaced fetch stores its token | `stores::a_lease_of_a_replaced_fetch_is_adopted` |
//!
//! Not caught, because nothing observable changes:
//!
//! - *The number of a token is published before the token.* A hit that sees the new number with the
//!   old token looks at the slot again the next time.
//! - *A caller that loses the exchange of a token's next look does not read the wall clock.* It
//!   acts like a hit within the 250 ms in which hits do not read it.
//! - *No attempt follows a renewal that fails after a rejection.* The token is gone then, so the
//!   rule for renewals that fail after the token's end applies.
//! - *An eviction does not examine the released slot.* With so few slots it examines all of them.
//! - *A late task of the sweeper goes on beside its successor.* It only ticks breakers once more.
//!
//! Defects that the current sources make impossible:
//!
//! - *A fetch is entered into its slot after the lock was released*, and *a token that came in the
//!   meantime is renewed*: one transition decides and records.
//! - *A renewal is claimed without a comparison*: there is no claim.
//! - *An overdue fetch is waited for*: a fetch is replaced if it shows no sign of life, and not
//!   because of a deadline.
//! - *Callers that waited in vain twice get nothing*: they do not get a rejected token any more.
//!
//! # Limits
//!
//! Schedules are drawn at random, so a pass is no proof. `in_every_order` in a name says that all
//! schedules were tried. All orderings of atomics count as `SeqCst`. Operations of arc-swap and of
//! tokio's channels count as atomic. No other thread runs when the count of an `Arc` changes, or
//! while a panic unwinds. Stores over a network, secrets in files, `jwt` and streaming bodies are
//! left out.

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
