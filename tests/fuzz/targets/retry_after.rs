//! Fuzzes `Retry-After` beside a `Date`: it is read, bounded and obeyed.
//!
//! The first line is the value of `Retry-After`, the second that of `Date`, if there are two. A
//! line `@<n>` is the date of that second (`support/reply.rs`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::header::{DATE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use tokio::time::Instant;
use tower_oauth2::Tokens;

use super::support::*;

pub fn run(data: &[u8]) {
    let mut lines = data.splitn(2, |byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let (after, now) = (lines.next().unwrap_or_default(), lines.next());
    let mut reply = Reply::read(b"503\n\nbusy");
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    let value = |line: &[u8]| match date(line) {
        Some(date) => HeaderValue::try_from(date).ok(),
        None => HeaderValue::from_bytes(line).ok(),
    };
    let Some(field) = value(after) else { return };
    reply.headers.insert(RETRY_AFTER, field);
    if let Some(now) = now.and_then(value) {
        reply.headers.insert(DATE, now);
    }
    let reply = Arc::new(reply);
    block_on(async {
        let calls = Arc::new(AtomicUsize::new(0));
        let http = {
            let (reply, calls) = (reply.clone(), calls.clone());
            http(move |_| {
                calls.fetch_add(1, Ordering::Relaxed);
                reply.response()
            })
        };
        let tokens = Tokens::new(credentials(), single_try(http));
        let error = tokens.get().await.unwrap_err();
        let arrived = Instant::now();
        assert_error(&error, &reply);
        let parsed = error.retry_after();
        // W5
        if let Some(expected) = expected(after, now) {
            assert_eq!(parsed, Some(expected.min(YEAR)));
        } else if date(after).is_none() && !is_date(after) {
            assert_eq!(parsed, None, "the value is no Retry-After");
        }
        // C9
        let retry_in = error.retry_in().unwrap();
        let obeyed = parsed.unwrap_or_default().min(Duration::from_secs(60));
        assert!(retry_in >= obeyed, "{retry_in:?} of {obeyed:?}");
        assert!(retry_in <= obeyed.max(Duration::from_secs(10)));
        until(arrived + retry_in.saturating_sub(Duration::from_millis(2))).await;
        if retry_in > Duration::from_millis(2) {
            assert!(tokens.get().await.is_err());
            assert_eq!(calls.load(Ordering::Relaxed), 1, "called within {retry_in:?}");
        }
        until(arrived + retry_in + Duration::from_millis(2)).await;
        assert!(tokens.get().await.is_err());
        assert_eq!(calls.load(Ordering::Relaxed), 2, "not called after {retry_in:?}");
    });
}

fn is_date(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| httpdate::parse_http_date(text).is_ok())
}

/// Returns the expected pause, if both values are unambiguous.
fn expected(after: &[u8], now: Option<&[u8]>) -> Option<Duration> {
    let number = |text: &[u8]| -> Option<u64> {
        let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
        let text = std::str::from_utf8(text).ok().filter(|_| is_number)?;
        Some(text.parse().unwrap_or(u64::MAX))
    };
    if let Some(seconds) = number(after) {
        return Some(Duration::from_secs(seconds));
    }
    let moment = |line: &[u8]| date(line).and(number(line.strip_prefix(b"@")?));
    let (after, now) = (moment(after)?, moment(now?)?);
    Some(Duration::from_secs(after.saturating_sub(now)))
}
