//! What is shared between threads, in the orders in which they may meet.
//!
//! The sources of the crate are compiled over stand-ins (`races/std`, `races/tokio`, `races/arc-swap`) that let
//! [shuttle](https://docs.rs/shuttle) decide at each use of a lock, an atomic or a channel who goes on. The scenarios play
//! callers, sources, APIs, stores and ends of runtimes on threads of their own, each under thousands of schedules:
//!
//! ```sh
//! cargo test --package tower-oauth2-races
//! RACES_SCHEDULES=100000 RACES_SEED=7 cargo test --package tower-oauth2-races chaos
//! RACES_REPLAY=91021... cargo test --package tower-oauth2-races --test races -- --exact NAME
//! ```
//!
//! A schedule that fails is printed, and the last line plays it again.
//!
//! # Invariants
//!
//! The first column names the rule in the guarantees. `World` and `Journal` in `support` look at those marked with `*` in every
//! scenario, at each poll and each token request.
//!
//! | rule | invariant | scenarios |
//! |---|---|---|
//! | C2 * | At most one token request is on its way for each slot (and beside it those that were forgotten, one for each removal). | all |
//! | C8 * | A token is not handed out by a poll that begins after its rejection; nor is the same text from a token request that began before the rejection and ended after it. Only who has waited in vain twice takes what the third brings. | all |
//! | C5 * | A token is not handed out after its end, but to those who waited for it. | all |
//! | C3, C4 * | Nobody who waits is left behind: all callers return, and without a timer's help. | all |
//! | C8 | No rejection is lost: until another token arrives, every token request is shown the one that was rejected, across failures. However many report it, it costs one. | `rejections` |
//! | C4 | A flight that fails reaches all who waited, with one cause. Where no failure is remembered, nobody is given one from before they asked. | `flights` |
//! | C3 | A flight that is lost (a panic, a runtime that goes away or that nobody drives) is taken over; no caller begins more than two. What was given up does not disturb the next one. | `flights`, `renewals` |
//! | C3 | Callers that are dropped fail nobody, and the token arrives. | `flights` |
//! | C6 | A token that is due is renewed once; nobody waits; a renewal that fails or is lost displaces nothing and is tried again; a token that came since is not renewed. | `renewals` |
//! | C10 | Slots are bounded and counted right; none that is held is let go of; what was on its way at a removal is not kept. | `removal` |
//! | C11 | What keeps a token warm hears of a rejection, and ends with the last handle or the removal. | `renewals`, `removal` |
//! | R1, R8 | Requests with a revoked token make one token request more. One fresh token that is refused counts once. A service with a token at hand does not send it after its rejection. | `services` |
//! | G3, G5 | A refresh token is used once at a time, once each, and persisted before; one that was set is not displaced. | `grants` |
//! | S4, S5 | A fleet makes one token request, leaves no lease behind, and waits for a member that dies for one lease at most. | `stores` |
//!
//! # What was broken to see it caught
//!
//! | break | caught by |
//! |---|---|
//! | a flight is entered into its slot after the lock was given back | 23 scenarios |
//! | a lost flight clears another one's slot | `what_nobody_drives…does_not_disturb` |
//! | those who wait are told before the slot is free | `when_a_flight_panics`, `when_a_runtime_goes_away`, `chaos` |
//! | those who wait for a lost flight are not told | 7 scenarios |
//! | a failure is given as a loss | `nobody_is_given_a_failure_from_before` |
//! | a caller takes over three times | `a_caller_takes_over_once` |
//! | an overdue flight is waited for | `what_nobody_drives_holds_nobody_up` |
//! | what was rejected on its way is taken in | `what_a_renewal_brings_again`, `a_renewal_that_fails_after` |
//! | a rejection is forgotten on a failure | `a_rejected_token_stays_known` |
//! | the number does not count in `reject` | `a_late_rejection` and 4 more |
//! | those who waited take whatever came | `those_who_waited`, `chaos` |
//! | the number is not cleared | `in_every_order_a_rejection_and_a_hit` |
//! | a token that came since is renewed | `a_renewal_and_a_rejection_that_meet` |
//! | a lost renewal is never tried again | both scenarios of renewals that fail |
//! | a token is handed out after its end | 4 scenarios, `chaos` among them |
//! | what arrives after a removal is kept | `what_was_on_its_way_is_not_kept` |
//! | a slot that is held is let go of | `a_slot_that_comes_to_be_held` |
//! | a slot is overwritten, or counted wrong | `slots_are_bounded` |
//! | `keep_warm` looks before it listens | `what_keeps_warm_hears`, both scenarios of its end |
//! | the breaker counts a token twice | `an_api_that_takes_no_token` |
//! | a refresh token has no turns, is displaced, or goes out before it is persisted | `grants` |
//! | a lease is for all, is not given back, or is taken without another look | `stores` |
//!
//! Not caught: a claim of a renewal without its comparison. What it guards needs a whole flight to fail between two
//! instructions, and another look at flight and number stands behind it.
//!
//! # What this does not show
//!
//! Schedules are drawn, so what passes is likely and not proven; `in_every_order` in a name says that all were played. Orderings of
//! atomics count as `SeqCst`: that weaker ones suffice is not checked here. arc-swap and tokio's channels are taken at their word,
//! an operation at a time. A count of an `Arc` is no point at which another thread goes on. A panic is played as the end of
//! its task; that unwinding does the same is seen in the tests of the crate. Stores beyond a network, `jwt` and streaming bodies are not
//! played.

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
