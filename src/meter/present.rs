use std::time::Duration;

use metrics::{
    Label, SharedString, Unit, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};
use tokio::time::Instant;

use super::Whom;
use crate::error::{TokenError, TokenErrorKind};
use crate::request::{Cause, TokenRequest};
use crate::token::AccessToken;

const FETCH: &str = "tower_oauth2.token.fetch.duration";
const REQUEST: &str = "tower_oauth2.token.request.duration";
const REMAINING: &str = "tower_oauth2.token.remaining_life";
const BACKOFF: &str = "tower_oauth2.backoff.duration";
const FAILING: &str = "tower_oauth2.failing_credentials";
const REPLAYS: &str = "tower_oauth2.replays";
const BROKEN: &str = "tower_oauth2.broken_apis";
const STORE: &str = "tower_oauth2.store.operation.duration";

/// Tells the recorder what all of it means, and in which units it is.
pub(crate) fn describe() {
    let seconds = |name, what| describe_histogram!(name, Unit::Seconds, what);
    seconds(FETCH, "How long a cache's source took for a token, stores and retries included");
    seconds(REQUEST, "How long the token endpoint took for a token");
    seconds(REMAINING, "What a token still had to live when the fetch of the next one ended");
    seconds(BACKOFF, "For how long a source is left alone after a failure");
    seconds(STORE, "How long a token store took");
    let count = |name, what| describe_gauge!(name, Unit::Count, what);
    count(FAILING, "Credentials whose last fetch of a token failed");
    count(BROKEN, "APIs that reject fresh tokens, and whose rejections are ignored for a while");
    describe_counter!(REPLAYS, Unit::Count, "Requests whose token was rejected");
}

/// A token is asked for: told of when it ends, however it does.
pub(crate) struct Asked {
    whom: Whom,
    cause: &'static str,
    /// Of the token that is to be replaced because its time comes.
    expires_at: Option<Instant>,
    began: Instant,
    is_told: bool,
}

impl Asked {
    pub(crate) fn begin(whom: Whom, request: &TokenRequest) -> Self {
        let (cause, token) = match (request.cause(), request.token()) {
            (Cause::Cold, None) => ("cold", None),
            (Cause::Cold, token) => ("expired", token),
            (Cause::Renewal, token) => ("renewal", token),
            (Cause::Rejected, _) => ("rejected", None),
        };
        let expires_at = token.and_then(AccessToken::expires_at);
        Self { whom, cause, expires_at, began: Instant::now(), is_told: false }
    }

    pub(crate) fn end(mut self, result: &Result<AccessToken, TokenError>) {
        match result {
            Ok(token) if token.is_from_store() => self.tell("store", None),
            Ok(_) => self.tell("success", None),
            Err(error) => self.tell("error", Some(error_type(error))),
        }
    }

    fn tell(&mut self, outcome: &'static str, error_type: Option<SharedString>) {
        self.is_told = true;
        let now = Instant::now();
        let name = match self.whom {
            Whom::Source => FETCH,
            Whom::TokenEndpoint => REQUEST,
        };
        let mut labels = labels("cause", self.cause, outcome, error_type);
        histogram!(name, labels.clone()).record(now - self.began);
        if let (Whom::Source, Some(expires_at)) = (self.whom, self.expires_at) {
            labels.truncate(2);
            let remaining = expires_at.saturating_duration_since(now);
            histogram!(REMAINING, labels).record(remaining);
        }
    }
}

impl Drop for Asked {
    /// The source panicked, its runtime went away, or whoever asked did.
    fn drop(&mut self) {
        if !self.is_told {
            self.tell("error", Some("interrupted".into()));
        }
    }
}

/// A source is left alone for this long.
pub(crate) fn backoff(window: Duration, class: &'static str) {
    if !window.is_zero() {
        histogram!(BACKOFF, "class" => class).record(window);
    }
}

/// How many more there are whose last fetch failed.
pub(crate) fn failing_credentials(more: i8) {
    gauge!(FAILING).increment(f64::from(more));
}

/// How many more there are that are known to reject fresh tokens.
pub(crate) fn broken_apis(more: i32) {
    gauge!(BROKEN).increment(f64::from(more));
}

/// Counts a request that is resent with another token, once its outcome is known.
pub(crate) struct Replaying {
    is_counted: bool,
}

impl Replaying {
    pub(crate) fn begin() -> Self {
        Self { is_counted: false }
    }

    pub(crate) fn end_accepted(&mut self) {
        self.count("accepted");
    }

    pub(crate) fn end_rejected(&mut self) {
        self.count("rejected");
    }

    pub(crate) fn end_without_token(&mut self) {
        self.count("no_token");
    }

    fn count(&mut self, outcome: &'static str) {
        self.is_counted = true;
        counter!(REPLAYS, "outcome" => outcome).increment(1);
    }
}

impl Drop for Replaying {
    /// Counts a request that got no response, or whose caller did not wait for it.
    fn drop(&mut self) {
        if !self.is_counted {
            self.count("unanswered");
        }
    }
}

/// Counts a request whose token was rejected, and that is not sent again.
pub(crate) fn not_replayed(reason: &'static str) {
    counter!(REPLAYS, "outcome" => reason).increment(1);
}

/// How long a store takes.
pub(crate) struct Timer(Instant);

impl Timer {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn end_of_store(self, operation: &'static str, error_type: Option<&'static str>) {
        let outcome = if error_type.is_none() { "success" } else { "error" };
        let labels = labels("operation", operation, outcome, error_type.map(Into::into));
        histogram!(STORE, labels).record(self.0.elapsed());
    }
}

fn labels(
    name: &'static str,
    value: &'static str,
    outcome: &'static str,
    error_type: Option<SharedString>,
) -> Vec<Label> {
    let mut labels =
        vec![Label::from_static_parts(name, value), Label::from_static_parts("outcome", outcome)];
    labels.extend(error_type.map(|error_type| Label::new("error.type", error_type)));
    labels
}

/// A registered `error` code, or a registered status, or else the kind: each list ends somewhere.
fn error_type(error: &TokenError) -> SharedString {
    use TokenErrorKind as Kind;
    match error.kind() {
        Kind::Transport => "transport",
        Kind::Timeout => "timeout",
        Kind::IncompleteResponse => "incomplete_response",
        Kind::ResponseTooLarge => "response_too_large",
        Kind::Redirect => "redirect",
        Kind::ErrorResponse => {
            let status = error.status().filter(|status| status.canonical_reason().is_some());
            return match (error.registered_error(), status) {
                (Some(code), _) => code.into(),
                (None, Some(status)) => status.as_str().to_owned().into(),
                (None, None) => "error_response".into(),
            };
        }
        Kind::MalformedResponse => "malformed_response",
        Kind::InvalidAccessToken => "invalid_access_token",
        Kind::UnsupportedTokenType => "unsupported_token_type",
        Kind::ClientAuthentication => "client_authentication",
        Kind::Proof => "proof",
        Kind::InsecureUri => "insecure_uri",
        Kind::EndpointNotAllowed => "endpoint_not_allowed",
        Kind::InvalidIssuer => "invalid_issuer",
        Kind::InvalidMetadata => "invalid_metadata",
        Kind::Source => "source",
        Kind::Rejected => "rejected",
        Kind::Interrupted => "interrupted",
        Kind::NoRuntime => "no_runtime",
    }
    .into()
}
