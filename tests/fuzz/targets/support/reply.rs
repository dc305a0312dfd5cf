//! Parses a response from a case.
//!
//! ```text
//! 200 s3
//! Retry-After: 5
//!
//! {"access_token":"$"}
//! ```
//!
//! The words after the status describe the body: `s<n>` splits it into frames of `n` bytes, `b`
//! breaks it off, `w` never ends it, and `k<n>` appends `n` KiB of spaces. A header value `@<n>` is
//! the date of that second, and `@+<n>` and `@-<n>` count from now. A case without a status is a
//! body with the status 200.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body::{Body, Frame};
use serde_json::Value;
use tower::BoxError;

use super::planted;

#[derive(Clone)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// The words after the status.
    pub words: Vec<String>,
    end: End,
    step: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Ends,
    Breaks,
    Waits,
}

impl Reply {
    pub fn read(data: &[u8]) -> Self {
        let data = planted(data);
        let (head, body) = match data.windows(2).position(|two| two == b"\n\n") {
            Some(at) => (&data[..at], &data[at + 2..]),
            None => (&data[..], &[][..]),
        };
        let mut lines = head.split(|byte| *byte == b'\n');
        let first = String::from_utf8_lossy(lines.next().unwrap_or_default());
        let mut words = first.split_ascii_whitespace().map(str::to_owned);
        let status = words.next().and_then(|status| status.parse().ok());
        let Some(status) = status else {
            return Self::new(StatusCode::OK, HeaderMap::new(), data, Vec::new());
        };
        let mut headers = HeaderMap::new();
        for line in lines {
            let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
            let value = line[colon + 1..].trim_ascii();
            let value = match date(value) {
                Some(date) => HeaderValue::try_from(date).ok(),
                None => HeaderValue::from_bytes(value).ok(),
            };
            if let (Ok(name), Some(value)) = (HeaderName::from_bytes(&line[..colon]), value) {
                headers.append(name, value);
            }
        }
        Self::new(status, headers, body.to_vec(), words.collect())
    }

    fn new(status: StatusCode, headers: HeaderMap, body: Vec<u8>, words: Vec<String>) -> Self {
        let mut reply = Self { status, headers, body, words, end: End::Ends, step: usize::MAX };
        let number = |letter| {
            let number = reply.words.iter().find_map(|word| word.strip_prefix(letter));
            number.and_then(|number| number.parse::<usize>().ok())
        };
        let (step, more) = (number('s'), number('k'));
        if let Some(step) = step {
            // At most a thousand frames.
            reply.step = step.max(reply.body.len() / 1000 + 1);
        }
        if let Some(more) = more {
            reply.body.resize(reply.body.len() + more.min(1100) * 1024, b' ');
        }
        if reply.has("b") {
            reply.end = End::Breaks;
        } else if reply.has("w") {
            reply.end = End::Waits;
        }
        reply
    }

    /// Returns whether the words contain this one.
    pub fn has(&self, word: &str) -> bool {
        self.words.iter().any(|found| found == word)
    }

    /// Returns whether the body is complete and within the limit.
    pub fn arrives(&self) -> bool {
        self.end == End::Ends && self.body.len() <= 1024 * 1024
    }

    /// Returns the body as JSON, if serde can read it.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    pub fn response(&self) -> Response<Frames> {
        let body = Bytes::from(self.body.clone());
        let frames = (0..body.len())
            .step_by(self.step.min(body.len()).max(1))
            .map(|at| body.slice(at..at.saturating_add(self.step).min(body.len())))
            .collect();
        let mut response = Response::new(Frames { frames, end: self.end });
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.clone();
        response
    }
}

/// Converts `@<n>`, `@+<n>` or `@-<n>` to an HTTP date, if it is valid.
pub fn date(value: &[u8]) -> Option<String> {
    // The last second of the year 9999.
    const LAST: u64 = 253_402_300_799;

    let text = std::str::from_utf8(value.strip_prefix(b"@")?).ok()?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let seconds = match (text.strip_prefix('+'), text.strip_prefix('-')) {
        (Some(ahead), _) => now.checked_add(ahead.parse().ok()?)?,
        (_, Some(behind)) => now.checked_sub(behind.parse().ok()?)?,
        _ => text.parse().ok()?,
    };
    (seconds <= LAST)
        .then(|| httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)))
}

/// The body of a reply.
pub struct Frames {
    frames: VecDeque<Bytes>,
    end: End,
}

impl Body for Frames {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match (self.frames.pop_front(), self.end) {
            (Some(data), _) => Poll::Ready(Some(Ok(Frame::data(data)))),
            (None, End::Ends) => Poll::Ready(None),
            (None, End::Breaks) => Poll::Ready(Some(Err("the body broke off".into()))),
            (None, End::Waits) => Poll::Pending,
        }
    }
}
