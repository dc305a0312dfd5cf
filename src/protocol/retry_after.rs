//! Reads `Retry-After` (RFC 9110 section 10.2.3).

use std::time::{Duration, SystemTime};

use http::header::{DATE, RETRY_AFTER};
use http::{HeaderMap, HeaderName};

use crate::util::limits::MAX_LIFETIME;

/// Returns the time of `Retry-After`, which is a number of seconds or a date.
///
/// A date is compared with the server's own clock if the response has a `Date`, and otherwise with
/// `now`.
pub(crate) fn parse(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok().map(str::trim);
    let date = |text: &str| httpdate::parse_http_date(text).ok();

    let value = text(RETRY_AFTER)?;
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number with too many digits is treated as the maximum.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)).min(MAX_LIFETIME));
    }
    let now = text(DATE).and_then(date).unwrap_or(now);
    Some(date(value)?.duration_since(now).unwrap_or_default().min(MAX_LIFETIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    // W5
    #[test]
    fn retry_after_is_read_in_both_forms() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let read = |fields: &[(HeaderName, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.insert(name, value.parse().unwrap());
            }
            parse(&headers, now).map(|duration| duration.as_secs())
        };
        assert_eq!(read(&[(RETRY_AFTER, "120")]), Some(120));
        assert_eq!(read(&[(RETRY_AFTER, "0")]), Some(0));
        assert_eq!(read(&[(RETRY_AFTER, "99999999999999999999999")]), Some(31_536_000));
        assert_eq!(read(&[(RETRY_AFTER, "Sun, 06 Nov 1994 08:50:37 GMT")]), Some(60));
        assert_eq!(read(&[(RETRY_AFTER, "Sun, 06 Nov 1994 08:00:00 GMT")]), Some(0));
        assert_eq!(
            read(&[
                (RETRY_AFTER, "Sun, 06 Nov 1994 12:00:30 GMT"),
                (DATE, "Sun, 06 Nov 1994 12:00:00 GMT"),
            ]),
            Some(30)
        );
        for malformed in ["", "soon", "-1", "1.5", "\u{fd}"] {
            assert_eq!(read(&[(RETRY_AFTER, malformed)]), None, "{malformed}");
        }
        assert_eq!(read(&[]), None);
    }
}
