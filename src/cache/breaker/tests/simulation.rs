//! One client in virtual time: its slot, its requests, and a double of the API.

use std::collections::BTreeMap;

use fastrand::Rng;

use super::*;

/// The API's response to a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ApiResponse {
    Ok,
    Unauthorized,
    /// The API is overloaded and does not look at the token.
    Unavailable,
}

impl ApiResponse {
    pub(super) fn accept_if(is_accepted: bool) -> Self {
        if is_accepted { Self::Ok } else { Self::Unauthorized }
    }
}

/// Describes one send as the API sees it.
#[derive(Clone, Copy)]
pub(super) struct ApiRequest {
    pub(super) at: Duration,
    pub(super) issue: IssueId,
    /// The time at which the token endpoint issued the token: the end of the fetch.
    pub(super) issued_at: Duration,
    pub(super) target: Target,
}

impl ApiRequest {
    /// Returns the path's number within its origin.
    pub(super) fn path(&self) -> u64 {
        self.target.resource % 1000
    }
}

/// The final response to a request.
pub(super) struct Finished {
    pub(super) at: Duration,
    pub(super) target: Target,
    pub(super) answer: ApiResponse,
}

/// Simulates one set of credentials with at most one fetch at a time.
///
/// The slot and the decision for a response follow `machine` and `decide`, so far as rejections are
/// concerned: suspect tokens, late rejections, fresh tokens, and a third send that is the last.
pub(super) struct Simulation<A> {
    pub(super) breaker: Breaker,
    start: Instant,
    now: Duration,
    slot: Slot,
    waiting: Vec<Request>,
    queue: BTreeMap<(Duration, u64), Event>,
    next_event: u64,
    /// The times at which fetches began.
    pub(super) fetches: Vec<Duration>,
    pub(super) finished: Vec<Finished>,
    /// The arrival times of the requests that waited for a token.
    pub(super) waits: Vec<Duration>,
    /// The gauge of open breakers after each change.
    pub(super) gauge: Vec<(Duration, i32)>,
    pub(super) latency: Duration,
    pub(super) fetch_time: Duration,
    /// Says whether each token may be as old as the rejected one (C8).
    ///
    /// That is the case for tokens from a store.
    pub(super) tokens_may_be_old: bool,
    api: A,
}

#[derive(Default)]
struct Slot {
    current: Option<CurrentToken>,
    is_fetching: bool,
    rejected_through: IssueId,
    last_sequence: u64,
    last_rejection: u64,
    /// The sequence numbers of the fetches, by issue.
    fetch_began: Vec<u64>,
}

#[derive(Clone, Copy)]
struct CurrentToken {
    issue: IssueId,
    arrived_at: Duration,
    is_suspect: bool,
}

#[derive(Clone, Copy)]
struct Request {
    target: Target,
    arrived_at: Duration,
    attempt: Attempt,
    /// Only a newer issue satisfies the request.
    newer_than: IssueId,
    /// A token is fresh if its fetch began after this sequence number.
    since: u64,
    has_waited: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Attempt {
    First,
    Second,
    Third,
}

enum Event {
    RequestArrives(Request),
    Response { request: Request, issue: IssueId, answer: ApiResponse },
    FetchCompletes,
}

/// The machine's answer to a rejection.
enum Outcome {
    Replaced { since: u64 },
    BreakerOpen,
}

impl<A: FnMut(ApiRequest) -> ApiResponse> Simulation<A> {
    /// Creates a client with a latency of 10 ms whose fetches take 50 ms.
    pub(super) fn new(api: A) -> Self {
        Self {
            breaker: Breaker::default(),
            start: Instant::now(),
            now: Duration::ZERO,
            slot: Slot::default(),
            waiting: Vec::new(),
            queue: BTreeMap::new(),
            next_event: 0,
            fetches: Vec::new(),
            finished: Vec::new(),
            waits: Vec::new(),
            gauge: Vec::new(),
            latency: ms(10),
            fetch_time: ms(50),
            tokens_may_be_old: false,
            api,
        }
    }

    pub(super) fn with_times(mut self, latency: Duration, fetch_time: Duration) -> Self {
        (self.latency, self.fetch_time) = (latency, fetch_time);
        self
    }

    /// Schedules requests at a rate per second. `target` returns origin and path of the nth one.
    pub(super) fn load(
        &mut self,
        times: std::ops::Range<f64>,
        per_second: f64,
        mut target: impl FnMut(u64) -> (u64, u64),
    ) {
        let requests = ((times.end - times.start) * per_second) as u64;
        for n in 0..requests {
            let (origin, path) = target(n);
            let arrived_at = Duration::from_secs_f64(times.start + n as f64 / per_second);
            let request = Request {
                target: Target { origin, resource: 1000 * origin + path },
                arrived_at,
                attempt: Attempt::First,
                newer_than: 0,
                since: 0,
                has_waited: false,
            };
            self.schedule(arrived_at, Event::RequestArrives(request));
        }
    }

    /// Handles all requests, and lets time pass until the breaker is reset.
    pub(super) fn run(&mut self) {
        while let Some(((at, _), event)) = self.queue.pop_first() {
            self.sweep_until(at);
            self.now = at;
            match event {
                Event::RequestArrives(request) => self.send(request),
                Event::Response { request, issue, answer: ApiResponse::Unauthorized } => {
                    self.rejected(request, issue);
                }
                Event::Response { request, issue, answer } => {
                    self.accepted(request, issue, answer);
                }
                Event::FetchCompletes => self.fetch_completes(),
            }
        }
        self.sweep_until(Duration::MAX);
    }

    /// Resets the breaker in time, as the cache's sweeper does.
    fn sweep_until(&mut self, end: Duration) {
        let resets_at = self.breaker.resets_at().map(|at| at - self.start);
        if let Some(resets_at) = resets_at.filter(|at| *at <= end) {
            self.now = resets_at;
            let event = self.breaker.tick(self.start + resets_at);
            self.record(event);
        }
    }

    fn schedule(&mut self, at: Duration, event: Event) {
        self.next_event += 1;
        self.queue.insert((at, self.next_event), event);
    }

    fn send(&mut self, request: Request) {
        match self.slot.current.filter(|current| current.issue > request.newer_than) {
            Some(CurrentToken { issue, arrived_at, .. }) => {
                let target = request.target;
                let answer =
                    (self.api)(ApiRequest { at: self.now, issue, issued_at: arrived_at, target });
                self.schedule(self.now + self.latency, Event::Response { request, issue, answer });
            }
            None => {
                if !request.has_waited {
                    self.waits.push(request.arrived_at);
                }
                self.waiting.push(Request { has_waited: true, ..request });
                self.fetch();
            }
        }
    }

    fn fetch(&mut self) {
        if !std::mem::replace(&mut self.slot.is_fetching, true) {
            self.fetches.push(self.now);
            let began = self.slot.next_sequence();
            self.slot.fetch_began.push(began);
            self.schedule(self.now + self.fetch_time, Event::FetchCompletes);
        }
    }

    fn fetch_completes(&mut self) {
        self.slot.is_fetching = false;
        let issue = self.slot.fetch_began.len() as IssueId;
        self.slot.current = Some(CurrentToken { issue, arrived_at: self.now, is_suspect: false });
        for request in std::mem::take(&mut self.waiting) {
            self.send(request);
        }
    }

    fn accepted(&mut self, request: Request, issue: IssueId, answer: ApiResponse) {
        let hint = self.breaker.acceptance_hint();
        let is_reported = hint == 0 || hint == acceptance_hash(issue, request.target.origin);
        if answer == ApiResponse::Ok && !is_reported {
            let now = self.start + self.now;
            let event = self.breaker.token_accepted(issue, request.target, now);
            self.record(event);
        }
        self.finish(request, answer);
    }

    fn rejected(&mut self, request: Request, issue: IssueId) {
        let is_newer = self.slot.fetch_began[issue as usize - 1] > request.since;
        let is_fresh = is_newer && !self.tokens_may_be_old;
        if request.attempt != Attempt::First && is_fresh {
            let now = self.start + self.now;
            let event = self.breaker.fresh_token_rejected(issue, request.target, now);
            self.record(event);
            return self.finish(request, ApiResponse::Unauthorized);
        }
        let (attempt, since) = match (self.reject(request, issue), request.attempt) {
            (Outcome::BreakerOpen, _) => return self.finish(request, ApiResponse::Unauthorized),
            (Outcome::Replaced { .. }, Attempt::Third) => {
                // The response is returned, and the next request finds another token.
                if self.slot.current.is_none_or(|current| current.issue <= issue) {
                    self.fetch();
                }
                return self.finish(request, ApiResponse::Unauthorized);
            }
            (Outcome::Replaced { since }, Attempt::First) => (Attempt::Second, since),
            (Outcome::Replaced { since }, Attempt::Second) => (Attempt::Third, since),
        };
        self.send(Request { attempt, newer_than: issue, since, ..request });
    }

    /// Rejects a token as `Machine::reject` does.
    fn reject(&mut self, request: Request, issue: IssueId) -> Outcome {
        let is_judged = |current: &CurrentToken| current.issue == issue && !current.is_suspect;
        let Some(current) = self.slot.current.filter(is_judged) else {
            return self.slot.replaced(issue);
        };
        let rejected = RejectedSend {
            issue,
            arrived_at: self.start + current.arrived_at,
            target: request.target,
            send: match request.attempt {
                Attempt::First => SendNumber::First,
                Attempt::Second => SendNumber::Second,
                Attempt::Third => SendNumber::Third,
            },
        };
        let (verdict, event) = self.breaker.judge_rejection(rejected, self.start + self.now);
        self.record(event);
        self.slot.current = match verdict {
            Verdict::Ignore => return Outcome::BreakerOpen,
            Verdict::Suspect => Some(CurrentToken { is_suspect: true, ..current }),
            Verdict::Reject => None,
        };
        self.slot.rejected_through = issue;
        self.slot.last_rejection = self.slot.next_sequence();
        Outcome::Replaced { since: self.slot.last_rejection }
    }

    fn finish(&mut self, request: Request, answer: ApiResponse) {
        self.finished.push(Finished { at: self.now, target: request.target, answer });
    }

    fn record(&mut self, event: Option<BreakerEvent>) {
        if let Some(event) = event {
            let level = self.gauge.last().map_or(0, |(_, level)| *level);
            let level = level + i32::from(event.gauge_change());
            assert!(level == 0 || level == 1, "gauge at {level} after {event:?}");
            self.gauge.push((self.now, level));
        }
    }

    pub(super) fn fetches_between(&self, from: Duration, to: Duration) -> usize {
        self.fetches.iter().filter(|at| (from..to).contains(*at)).count()
    }

    /// Returns the highest number of fetches in any minute.
    pub(super) fn most_fetches_in_a_minute(&self) -> usize {
        let from = |first: usize| {
            let end = self.fetches[first] + secs(60);
            self.fetches[first..].iter().take_while(|at| **at < end).count()
        };
        (0..self.fetches.len()).map(from).max().unwrap_or(0)
    }

    /// Counts the responses that were not 200, of those that `is_counted` selects.
    pub(super) fn failed(&self, is_counted: impl Fn(&Finished) -> bool) -> usize {
        let failed = |one: &&Finished| one.answer != ApiResponse::Ok && is_counted(one);
        self.finished.iter().filter(failed).count()
    }
}

impl Slot {
    /// Answers a rejection that changes nothing, as `Machine::replaced` does.
    fn replaced(&mut self, issue: IssueId) -> Outcome {
        let is_known = issue <= self.rejected_through;
        let since = if is_known { self.last_rejection } else { self.next_sequence() };
        Outcome::Replaced { since }
    }

    fn next_sequence(&mut self) -> u64 {
        self.last_sequence += 1;
        self.last_sequence
    }
}

/// Holds the times at which all tokens that exist are revoked.
pub(super) struct Revocations(Vec<Duration>);

impl Revocations {
    pub(super) fn at(seconds: impl IntoIterator<Item = f64>) -> Self {
        Self(seconds.into_iter().map(Duration::from_secs_f64).collect())
    }

    pub(super) fn is_revoked(&self, sent: ApiRequest) -> bool {
        self.0.iter().any(|at| (sent.issued_at..=sent.at).contains(at))
    }
}

/// Returns `true` for one in `n` sends on average.
pub(super) fn one_in(n: u64) -> impl FnMut() -> bool {
    let mut rng = Rng::with_seed(n);
    move || rng.u64(0..n) == 0
}
