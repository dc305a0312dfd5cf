//! Plays the slot around a machine, in virtual time.

mod rules;
mod table;

use std::time::SystemTime;

use http::{HeaderMap, StatusCode};

use super::super::breaker::{SendNumber, Target};
use super::super::claims::Claims;
use super::reject::RejectedToken;
use super::*;
use crate::client_auth::ClientAuth;
use crate::credentials::Credentials;
use crate::error::{ErrorResponse, TokenError, TokenErrorKind};
use crate::token::AccessToken;

const FIRST_API: Target = Target { origin: 1, resource: 11 };
const SECOND_API: Target = Target { origin: 2, resource: 22 };

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn text(token: &IssuedToken) -> &str {
    token.access_token().secret()
}

/// The ways in which the token endpoint fails.
#[derive(Clone, Copy, Debug)]
enum Outage {
    /// The request times out.
    Transient,
    /// The endpoint answers 400.
    Permanent,
    /// The endpoint answers 503 and asks to be left alone for 30 s.
    RetryAfter,
}

impl Outage {
    fn error(self) -> TokenError {
        let respond = |status, retry_after| {
            let response = ErrorResponse {
                status,
                headers: HeaderMap::new(),
                body: Default::default(),
                error: None,
                error_description: None,
                error_uri: None,
                retry_after,
            };
            TokenError::with_response(TokenErrorKind::ErrorResponse, "", response)
        };
        match self {
            Self::Transient => TokenError::new(TokenErrorKind::Timeout, ""),
            Self::Permanent => respond(StatusCode::BAD_REQUEST, None),
            Self::RetryAfter => respond(StatusCode::SERVICE_UNAVAILABLE, Some(secs(30))),
        }
    }
}

/// A machine with its clocks, fetches and tokens.
struct Harness {
    machine: Machine,
    credentials: Credentials,
    schedule: Schedule,
    start: Instant,
    now: Duration,
    /// The lead of the wall clock over the monotonic clock.
    wall_ahead: Duration,
    fetches: Vec<FetchHandle>,
    /// The number of tokens that were issued.
    issues: u64,
    /// The issue before the first token.
    issue_before: IssueId,
    /// The gauge of remembered failures, as the events report it.
    failing: i64,
    /// A failure was reported, and no success after it.
    has_failed: bool,
}

impl Harness {
    fn new() -> Self {
        let auth = ClientAuth::none("client-id");
        Self {
            machine: Machine::default(),
            credentials: Credentials::new("https://auth.test/token", auth).unwrap(),
            schedule: Schedule::default(),
            start: Instant::now(),
            now: secs(1000),
            wall_ahead: secs(0),
            fetches: Vec::new(),
            issues: 0,
            issue_before: 100,
            failing: 0,
            has_failed: false,
        }
    }

    fn now(&self) -> Now {
        let wall = SystemTime::UNIX_EPOCH + secs(1_000_000_000) + self.now + self.wall_ahead;
        Now { mono: self.start + self.now, wall }
    }

    /// Returns the issue of the nth token.
    fn issue(&self, n: u64) -> IssueId {
        self.issue_before + n
    }

    fn newest_issue(&self) -> IssueId {
        self.issue(self.issues)
    }

    /// Issues a token that ends in 100 s and is renewed after 80 s.
    fn token(&mut self, text: &'static str) -> IssuedToken {
        let mut token = self.issue_token(text, secs(200));
        token.ends_after = secs(100).as_nanos() as u64;
        token.renew_after = secs(80).as_nanos() as u64;
        token
    }

    /// Issues a token that has expired when it arrives.
    fn expired_token(&mut self, text: &'static str) -> IssuedToken {
        self.issue_token(text, secs(0))
    }

    fn issue_token(&mut self, text: &'static str, lifetime: Duration) -> IssuedToken {
        self.issues += 1;
        let now = self.now();
        let token = AccessToken::new(text).unwrap().with_expires_in(lifetime);
        let token = token.with_requested_at_both(now);
        let mut token = IssuedToken::new(token, &self.credentials, &self.schedule, now);
        token.issue = self.newest_issue();
        token
    }

    fn last_fetch(&self) -> FetchId {
        self.fetches.last().map_or(0, FetchHandle::id)
    }

    fn step(&mut self, required: &Requirements) -> Step {
        let now = self.now();
        let fetches = &mut self.fetches;
        let (step, events) = self.machine.next_step(required, || Some(new_fetch(fetches)), now);
        self.record(events);
        step
    }

    fn get(&mut self) -> Step {
        self.step(&Requirements::default())
    }

    fn tick(&mut self) -> TickOutcome {
        let now = self.now();
        let fetches = &mut self.fetches;
        let (outcome, events) = self.machine.tick(|| Some(new_fetch(fetches)), now);
        self.record(events);
        outcome
    }

    fn complete(&mut self, result: Result<IssuedToken, TokenError>) -> Completion {
        self.complete_fetch(self.last_fetch(), result, TaskTiming::OnTime)
    }

    fn complete_fetch(
        &mut self,
        id: FetchId,
        result: Result<IssuedToken, TokenError>,
        timing: TaskTiming,
    ) -> Completion {
        let fetched = FetchResult { id, result, version: 7, timing };
        let at = Moment { now: self.now(), schedule: &self.schedule };
        let (completion, events) = self.machine.complete(fetched, at);
        self.record(events);
        completion
    }

    fn fail(&mut self, outage: Outage) -> Completion {
        self.complete(Err(outage.error()))
    }

    fn abandon(&mut self, loss: Loss) -> Abandoned {
        let interrupted = TokenError::new(TokenErrorKind::Interrupted, "");
        let lost = LostFetch { id: self.last_fetch(), loss, interrupted };
        let at = Moment { now: self.now(), schedule: &self.schedule };
        let (outcome, events) = self.machine.abandon(lost, at);
        self.record(events);
        outcome
    }

    fn reject(
        &mut self,
        issue: IssueId,
        target: Option<Target>,
        claims: Claims,
    ) -> RejectionOutcome {
        let rejection = Rejection { issue, target, claims, send: SendNumber::First };
        let (outcome, events) = self.machine.reject(&rejection, self.now());
        self.record(events);
        outcome
    }

    /// Rejects the newest token at the first API.
    fn reject_newest(&mut self) -> RejectionOutcome {
        self.reject(self.newest_issue(), Some(FIRST_API), Claims::default())
    }

    fn describe_reject(
        &mut self,
        issue: IssueId,
        target: Option<Target>,
        claims: Claims,
    ) -> String {
        let last = self.machine.last_sequence;
        match self.reject(issue, target, claims) {
            RejectionOutcome::Replaced { since } if since > last => "replaced, since now".into(),
            RejectionOutcome::Replaced { .. } => "replaced, since earlier".into(),
            RejectionOutcome::BreakerOpen => "breaker open".into(),
            RejectionOutcome::ClaimsRefused => "claims refused".into(),
            RejectionOutcome::FixedToken => "fixed token".into(),
        }
    }

    fn record(&mut self, events: Events) {
        self.failing += i64::from(events.failing_change);
        let is_success =
            matches!(events.event, Some(Event::Arrived { .. } | Event::NoLongerLifetime { .. }));
        assert_eq!(events.is_recovery, is_success && self.has_failed, "the first success");
        self.has_failed = events.has_failure() || self.has_failed && !is_success;
        self.assert_invariants();
    }

    fn assert_invariants(&self) {
        let machine = &self.machine;
        assert_eq!(
            self.failing,
            i64::from(machine.failure.as_deref().is_some_and(Failure::counts)),
            "gauge of failures"
        );
        assert!(machine.current().is_none() || machine.next_tick().is_some());
        if let TokenState::Rejected(rejected) = &machine.token_state {
            assert!(rejected.token.issue() <= machine.rejected_through);
        }
    }

    /// Fetches a token with this text.
    fn acquire(&mut self, text: &'static str) {
        assert!(matches!(self.get(), Step::Fetch(_)));
        let token = self.token(text);
        assert!(matches!(self.complete(Ok(token)), Completion::Done(Ok(_))));
    }

    /// Describes the state in words.
    fn state(&self) -> String {
        let machine = &self.machine;
        let token_state = match &machine.token_state {
            TokenState::Absent => "absent".into(),
            TokenState::Current(current) if current.standing == Standing::Suspect => {
                format!("suspect {}", text(&current.token))
            }
            TokenState::Current(current) => format!("current {}", text(&current.token)),
            TokenState::Expired(token) => format!("expired {}", text(token)),
            TokenState::Rejected(rejected) => {
                let RejectedToken { token, .. } = &**rejected;
                format!("rejected {}", text(token))
            }
        };
        let fetch = match &machine.fetch {
            None => "",
            Some(fetch) if fetch.began < machine.last_rejection => " + older fetch",
            Some(fetch) if fetch.waiters == Waiters::None => " + background fetch",
            Some(_) => " + fetch",
        };
        let failure = if machine.failure.is_some() { " + failure" } else { "" };
        format!("{token_state}{fetch}{failure}")
    }
}

fn new_fetch(fetches: &mut Vec<FetchHandle>) -> FetchHandle {
    let handle = FetchHandle::new();
    fetches.push(handle.clone());
    handle
}

#[test]
fn an_idle_machine_is_small() {
    assert!(size_of::<Machine>() <= 136, "{} bytes", size_of::<Machine>());
}
