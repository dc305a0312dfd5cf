//! Reads the timeout of a gRPC call.

use std::time::Duration;

use http::HeaderMap;

use crate::util::limits::MAX_LIFETIME;

/// Returns the time that a call may take from now on, according to its `grpc-timeout`.
///
/// A header that is not a valid timeout is ignored, as servers do.
pub(super) fn parse(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let unit = text.chars().next_back()?;
    let digits = text.strip_suffix(unit)?;
    // The protocol allows 1 to 8 digits and no sign.
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value = digits.parse().ok()?;
    let timeout = match unit {
        'H' => Duration::from_secs(value * 60 * 60),
        'M' => Duration::from_secs(value * 60),
        'S' => Duration::from_secs(value),
        'm' => Duration::from_millis(value),
        'u' => Duration::from_micros(value),
        'n' => Duration::from_nanos(value),
        _ => return None,
    };
    Some(timeout.min(MAX_LIFETIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<Duration> {
        let headers = [("grpc-timeout".parse().unwrap(), text.parse().unwrap())];
        parse(&HeaderMap::from_iter(headers))
    }

    // R5
    #[test]
    fn a_timeout_is_one_to_eight_digits_and_a_unit() {
        for (text, expected) in [
            ("2H", Duration::from_secs(7_200)),
            ("3M", Duration::from_secs(180)),
            ("4S", Duration::from_secs(4)),
            ("5m", Duration::from_millis(5)),
            ("6u", Duration::from_micros(6)),
            ("00000007n", Duration::from_nanos(7)),
            ("99999999H", MAX_LIFETIME),
        ] {
            assert_eq!(parsed(text), Some(expected), "{text}");
        }
        for text in ["", "S", "1", "1s", "1 S", "-1S", "+1S", "1.5S", "123456789S", "1\u{e4}"] {
            assert_eq!(parsed(text), None, "{text}");
        }
        assert_eq!(parse(&HeaderMap::new()), None);
    }
}
