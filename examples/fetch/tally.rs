//! Counts the results of all requests.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::StatusCode;
use tower_oauth2::replay::Replayed;

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) replayed: Option<Replayed>,
    /// `None` for all requests but the last one.
    pub(crate) body: Option<Bytes>,
}

pub(crate) struct Tally {
    statuses: BTreeMap<u16, u64>,
    replays: u64,
    errors: BTreeMap<String, u64>,
    last_body: Bytes,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            // The summary always shows the number of 401 responses.
            statuses: BTreeMap::from([(StatusCode::UNAUTHORIZED.as_u16(), 0)]),
            replays: 0,
            errors: BTreeMap::new(),
            last_body: Bytes::new(),
        }
    }
}

impl Tally {
    pub(crate) fn answered(&mut self, answer: Answer) {
        *self.statuses.entry(answer.status.as_u16()).or_default() += 1;
        self.replays += u64::from(answer.replayed == Some(Replayed::Yes));
        if let Some(body) = answer.body {
            self.last_body = body;
        }
    }

    pub(crate) fn failed(&mut self, error: String) {
        *self.errors.entry(error).or_default() += 1;
    }

    pub(crate) fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    pub(crate) fn last_body(&self) -> &[u8] {
        &self.last_body
    }

    /// Returns one line for each kind of error.
    pub(crate) fn error_lines(&self) -> impl Iterator<Item = String> {
        self.errors.iter().map(|(error, count)| match count {
            1 => error.clone(),
            _ => format!("{count} x {error}"),
        })
    }

    /// Returns a line such as `1000 x 200, 0 x 401; 1 token request, 0 replays, 0 errors`.
    pub(crate) fn summary(&self, token_requests: u64) -> String {
        let statuses: Vec<_> =
            self.statuses.iter().map(|(status, count)| format!("{count} x {status}")).collect();
        format!(
            "{}; {}, {}, {}",
            statuses.join(", "),
            counted(token_requests, "token request"),
            counted(self.replays, "replay"),
            counted(self.errors.values().sum(), "error"),
        )
    }
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
