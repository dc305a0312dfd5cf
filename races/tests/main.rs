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
//! The first column names the rule in the guarantees. `CacheFixture` and `Journal` in
//! `support` check the rules with a `*` in every scenario, at each poll and each token request.
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
//! Each defect was introduced into the sources by hand, and a scenario failed.
//!
//! | rule | defect | scenario |
//! |---|---|---|
//! | C2 | A hit renews a token although its renewal is running. | `liveness::a_renewal_that_shows_signs_of_life_is_not_replaced` |
//! | C2, C10 | A slot is inserted without a second check for an existing one. | `removal::a_removed_slot_is_replaced_by_another_one` |
//! | C3 | A fetch gives no signs of life. | `liveness::a_fetch_that_shows_signs_of_life_is_not_replaced` |
//! | C3 | Waiters replace a fetch although it gives signs of life. | `liveness::a_fetch_that_shows_signs_of_life_is_not_replaced` |
//! | C3 | Hits replace a renewal although it gives signs of life. | `liveness::a_renewal_that_shows_signs_of_life_is_not_replaced` |
//! | C3 | Waiters do not replace a silent fetch. | `liveness::waiters_replace_a_fetch_that_no_runtime_polls` |
//! | C3 | Callers with short timeouts do not detect a silent fetch. | `liveness::callers_with_short_timeouts_replace_a_silent_fetch` |
//! | C3 | Hits do not detect a silent renewal. | `liveness::hits_replace_a_silent_renewal_once` |
//! | C3 | A waiter replaces a fetch that is not the one it observed. | `liveness::waiters_replace_a_fetch_that_no_runtime_polls` |
//! | C3 | A replaced fetch stores its result in the slot. | `liveness::a_replaced_fetch_that_completes_late_changes_nothing` |
//! | C3 | A replaced fetch is not marked as superseded. | `liveness::a_replaced_fetch_that_completes_late_changes_nothing` |
//! | C3 | A lost fetch removes its successor from the slot. | `liveness::a_runtime_that_ends_while_its_fetch_is_replaced` |
//! | C3 | A lost fetch stays in its slot. | `fetches::a_waiter_replaces_a_fetch_that_panics` |
//! | C3 | Waiters are not notified when their fetch is lost. | `fetches::waiters_elsewhere_replace_the_fetch_of_a_runtime_that_ends` |
//! | C3 | Waiters of a lost fetch are notified before it leaves the slot. | `fetches::a_waiter_replaces_a_fetch_that_panics` |
//! | C3 | Waiters of a silent fetch are notified before it leaves the slot. | `liveness::waiters_replace_a_fetch_that_no_runtime_polls` |
//! | C3 | A caller replaces its own lost fetches without limit. | `fetches::a_caller_replaces_lost_fetches_of_others_without_limit` |
//! | C3 | Lost fetches of other callers count towards a caller's limit. | `fetches::a_caller_replaces_lost_fetches_of_others_without_limit` |
//! | C3 | A lost fetch counts as a panic. | `fetches::a_caller_replaces_lost_fetches_of_others_without_limit` |
//! | C3 | Two panics in a row do not count as a failure. | `fetches::two_panics_in_a_row_are_a_failure` |
//! | C4 | Waiters get the failure after two panics as a lost fetch. | `fetches::all_waiters_get_the_failure_of_the_second_panic` |
//! | C4 | Waiters are notified of a failure before it is in the slot. | `fetches::without_backoff_no_caller_gets_an_earlier_failure` |
//! | C5 | The end by the monotonic clock is ignored. | `clocks::a_wall_clock_that_is_set_back_prolongs_nothing` |
//! | C5 | The end by the wall clock is ignored. | `clocks::a_suspend_ends_a_token` |
//! | C5 | An expired token becomes valid again. | `clocks::a_token_stays_expired_when_the_wall_clock_is_set_back` |
//! | C5 | Waiters use a token after its end. | `clocks::a_suspend_ends_a_token_before_its_waiters_run` |
//! | C5 | A hit prolongs a token beyond its end. | `clocks::a_hit_just_before_the_end_prolongs_nothing` |
//! | C6 | A failed renewal removes the token. | `renewals::a_failed_renewal_displaces_nothing_and_is_repeated` |
//! | C6 | A lost renewal is not repeated. | `renewals::a_renewal_whose_runtime_ends_is_repeated` |
//! | C8 | A transition publishes its result after it releases the lock. | `rejections::waiters_do_not_get_a_token_that_was_rejected_before_they_ran` |
//! | C8 | A rejection does not clear the published token number. | `services::in_every_order_a_hit_sends_no_rejected_token` |
//! | C8 | A service does not compare its local token with the published number. | `services::in_every_order_a_hit_sends_no_rejected_token` |
//! | C8 | Waiters use any token that arrives. | `rejections::waiters_do_not_get_a_token_that_was_rejected_before_they_ran` |
//! | C8 | `reject` ignores the number of the token. | `services::requests_with_a_revoked_token_make_one_token_request` |
//! | C8 | A rejection does not advance the sequence number. | `rejections::a_renewal_that_brings_the_rejected_token_again_is_repeated` |
//! | C8 | A renewal returns the rejected token again. | `rejections::a_renewal_that_brings_the_rejected_token_again_is_repeated` |
//! | C8 | A rejection does not raise `rejected_through`. | `services::a_waiting_request_sends_no_token_older_than_a_rejected_one` |
//! | C8 | A request that waited does not check its token again. | `services::a_waiting_request_sends_no_token_older_than_a_rejected_one` |
//! | C8 | A failed fetch forgets the rejection. | `rejections::a_rejected_token_stays_known_across_failed_fetches` |
//! | C8 | The second token of a request always counts as fresh. | `services::a_renewal_from_before_a_revocation_is_replaced_too` |
//! | C8 | A waiter gives up after too few or too many rejected tokens. | `rejections::a_waiter_gives_up_after_eight_rejected_tokens` |
//! | C9 | No fetch follows a renewal that fails after the token's end. | `renewals::a_renewal_that_fails_after_the_end_fails_no_caller` |
//! | C9 | The gauge of failures is never decremented. | `fetches::the_gauge_of_failures_is_back_at_zero_after_a_success` |
//! | C10 | A cleared slot keeps its fetch. | `removal::a_cleared_slot_serves_its_waiters_with_a_new_token` |
//! | C10 | A slot in use is evicted. | `removal::a_slot_that_is_taken_during_an_eviction_stays` |
//! | C10 | A removal drops a slot that has a handle. | `removal::a_handle_taken_during_a_removal_is_in_the_cache` |
//! | C10 | Two evictions run at the same time. | `removal::a_slot_that_is_taken_during_an_eviction_stays` |
//! | C10 | A release evicts nothing, or still holds the slot. | `removal::slots_that_are_released_together_are_evicted` |
//! | C10 | A guard, a panic or a sweep does not release its slot. | `removal::slots_that_are_released_together_are_evicted` |
//! | C10 | The number of slots is wrong. | `removal::the_number_of_slots_is_bounded_and_counted_right` |
//! | C11 | The keep-warm task checks the slot before it listens. | `renewals::a_keep_warm_task_ends_with_the_last_handle` |
//! | C11 | `changes` checks the slot before it listens. | `renewals::changes_notice_a_token_that_another_caller_fetched` |
//! | C11 | The keep-warm task ends without a last check for handles. | `renewals::a_handle_is_kept_warm_although_an_earlier_task_is_ending` |
//! | C11 | A rejection does not wake the keep-warm task at once. | `renewals::a_keep_warm_task_replaces_a_rejected_token` |
//! | C12 | The fallback ignores the origin. | `services::other_origins_use_a_rejected_token_while_fetches_fail` |
//! | C12 | `get` returns a rejected token. | `services::other_origins_use_a_rejected_token_while_fetches_fail` |
//! | R7 | Claims of later rejections are lost. | `services::claims_of_concurrent_rejections_are_all_requested` |
//! | R8 | Rejections count while the breaker is open. | `breaker::a_late_acceptance_counts_for_its_own_token` |
//! | R8 | Several refusals of one token count. | `breaker::an_api_that_rejects_every_token_costs_one_fetch_per_window` |
//! | R8 | Accepted tokens are not reported. | `breaker::an_acceptance_that_meets_a_rejection_is_not_lost` |
//! | R8 | An acceptance counts for another token. | `breaker::a_late_acceptance_counts_for_its_own_token` |
//! | R8 | No task watches an open breaker. | `breaker::the_gauge_of_broken_apis_is_back_at_zero_without_traffic` |
//! | R8 | A sweep clears the mark of a slot after it has examined the slot. | `breaker::the_gauge_of_broken_apis_is_back_at_zero_without_traffic` |
//! | R8 | A sweep ends while slots that were added during it have open breakers. | `breaker::the_gauge_of_broken_apis_is_back_at_zero_without_traffic` |
//! | R8 | A lost sweeper is not replaced. | `breaker::a_sweeper_whose_runtime_ends_is_replaced` |
//! | G3 | All tasks get the lock of a refresh token at once. | `grants::a_refresh_token_is_used_by_one_task_at_a_time` |
//! | G3 | A takeover of the lock does not change its generation. | `grants::a_refresh_token_is_taken_over_and_none_is_lost` |
//! | G3 | Waiters that observed the previous holder take over from its live successor. | `grants::a_refresh_token_is_taken_over_and_none_is_lost` |
//! | G3 | A former holder releases the lock. | `grants::a_refresh_token_is_taken_over_and_none_is_lost` |
//! | G3 | A former holder continues to persist its refresh token. | `grants::a_refresh_token_is_taken_over_and_none_is_lost` |
//! | G3 | A late refresh token is lost, or replaces a newer one. | `grants::a_refresh_token_is_taken_over_and_none_is_lost` |
//! | G3 | A refresh token is used before it is persisted. | `grants::a_refresh_token_is_taken_over_and_none_is_lost` |
//! | G3 | An access token is returned before its refresh token is persisted. | `grants::a_refresh_token_is_used_by_one_task_at_a_time` |
//! | G5 | A response replaces a refresh token that the application has set. | `grants::a_refresh_token_that_is_set_is_not_displaced` |
//! | G5 | A request with the previous refresh token is not repeated. | `grants::a_refresh_token_that_is_set_is_not_displaced` |
//! | S5 | A lease is given to all, is never released, or is taken without a second look. | `stores::concurrent_misses_of_a_fleet_make_one_token_request` |
//! | S5 | The lease of a dead fetch is not adopted. | `stores::a_lease_of_a_replaced_fetch_is_adopted` |
//! | S5 | Several caches adopt one lease. | `stores::one_of_several_caches_adopts_a_lease` |
//! | S5 | A former holder extends or releases a lease. | `stores::a_lease_of_a_replaced_fetch_is_adopted` |
//! | S5 | A replaced fetch stores its token. | `stores::a_lease_of_a_replaced_fetch_is_adopted` |
//!
//! No scenario fails with these defects, because nothing observable changes:
//!
//! - *The number of a token is published before the token.* A hit that sees the new number with the
//!   old token reads the slot again.
//! - *A hit whose exchange of `fresh_until` fails does not read the wall clock.* Another hit has
//!   just read it, and hits read it every 250 ms only.
//! - *No fetch follows a renewal that fails after a rejection.* The slot has no token then, so the
//!   rule for renewals that fail after the token's end applies.
//! - *An eviction does not examine the released slot.* With so few slots, it examines all of them.
//! - *A replaced sweeper continues beside its successor.* It only ticks breakers once more.
//!
//! # Limits
//!
//! Schedules are random, so a pass proves nothing. A scenario with `in_every_order` in its name
//! tries all schedules. All orderings of atomics count as `SeqCst`. Operations of arc-swap and of
//! tokio's channels count as atomic. No other thread runs when the count of an `Arc` changes, or
//! while a panic unwinds. Stores over a network, secrets in files, `jwt` and streaming bodies are
//! not tested here.

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
