//! Clocks of servers, as far as they can be told from the `Date` of their responses.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::DATE;

use crate::origin::Origin;

/// How many clocks are kept in mind. Those that are right need no memory.
const MOST: usize = 1024;

/// A clock that was off by more than this, in milliseconds, may well be why an assertion was refused:
/// servers that check times allow for less.
const OFF: u64 = 30_000;

/// No clock that is of any use is off by more than this, in milliseconds: a day, which is more than
/// two time zones are apart. A server that says otherwise could be after an assertion that is still
/// good in years to come.
const MAX_OFFSET: i64 = 24 * 60 * 60 * 1000;

/// By how much a server's clock is ahead of this machine's: milliseconds, less than zero when it
/// is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Offset(i64);

impl Offset {
    /// The server's time when this machine's is `time`.
    pub(crate) fn apply(self, time: SystemTime) -> SystemTime {
        let by = Duration::from_millis(self.0.unsigned_abs());
        let moved = if self.0 < 0 { time.checked_sub(by) } else { time.checked_add(by) };
        moved.unwrap_or(time)
    }

    pub(crate) fn is_none(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn as_secs(self) -> i64 {
        self.0 / 1000
    }
}

/// What one response says: the server's clock is ahead by something between these two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    least: i64,
    most: i64,
}

impl Reading {
    /// From a response that arrived at `received`, `took` after its request went out. None when there
    /// is no date that makes sense (RFC 9110 section 6.6.1).
    pub(crate) fn of(headers: &HeaderMap, received: SystemTime, took: Duration) -> Option<Self> {
        let date = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?.trim()).ok()?;
        let ahead = match date.duration_since(received) {
            Ok(ahead) => i64::try_from(ahead.as_millis()).ok()?,
            Err(behind) => -i64::try_from(behind.duration().as_millis()).ok()?,
        };
        // It was stamped at some time on the way, and what is less than a second was cut off.
        let took = i64::try_from(took.as_millis()).ok()?;
        let reading = Self { least: ahead, most: ahead.saturating_add(took).saturating_add(1000) };
        (reading.least >= -MAX_OFFSET && reading.most <= MAX_OFFSET).then_some(reading)
    }

    /// Whether whoever went by `used` was so wrong that a server would notice.
    pub(crate) fn contradicts(self, used: Offset) -> bool {
        self.distance(used.0) > OFF
    }

    /// The best estimate.
    pub(crate) fn offset(self) -> Offset {
        Offset(self.least + (self.most - self.least) / 2)
    }

    fn distance(self, offset: i64) -> u64 {
        offset.abs_diff(offset.clamp(self.least, self.most))
    }
}

/// By how much the clocks of servers are off. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Clocks(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    offsets: HashMap<Origin, Learned>,
    count: u64,
}

struct Learned {
    offset: Offset,
    /// The lowest is the oldest.
    number: u64,
}

impl Clocks {
    pub(crate) fn get(&self, origin: &Origin) -> Offset {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.offsets.get(origin).map_or(Offset::default(), |learned| learned.offset)
    }

    pub(crate) fn set(&self, origin: &Origin, offset: Offset) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.offsets.remove(origin);
        if offset.is_none() {
            return;
        }
        if known.offsets.len() >= MOST {
            let oldest = known.offsets.iter().min_by_key(|(_, learned)| learned.number);
            if let Some(oldest) = oldest.map(|(origin, _)| origin.clone()) {
                known.offsets.remove(&oldest);
            }
        }
        known.count += 1;
        let learned = Learned { offset, number: known.count };
        known.offsets.insert(origin.clone(), learned);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const NOW: Duration = Duration::from_secs(784_111_777);

    fn reading(date: &str, took: u64) -> Option<Reading> {
        let mut headers = HeaderMap::new();
        headers.insert(DATE, HeaderValue::from_str(date).unwrap());
        Reading::of(&headers, SystemTime::UNIX_EPOCH + NOW, Duration::from_secs(took))
    }

    fn ahead(seconds: i64) -> Reading {
        let date = Duration::from_secs(NOW.as_secs().checked_add_signed(seconds).unwrap());
        reading(&httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + date), 0).unwrap()
    }

    fn origin(n: usize) -> Origin {
        Origin::of(&format!("https://{n}.test").parse().unwrap()).unwrap()
    }

    #[test]
    fn a_date_that_makes_no_sense_says_nothing() {
        for date in [
            "",
            "soon",
            "0",
            "Fri, 31 Dec 9999 23:59:59 GMT",
            "Thu, 01 Jan 1970 00:00:00 GMT",
            "Tue, 08 Nov 1994 08:49:38 GMT",
        ] {
            assert_eq!(reading(date, 0), None, "{date}");
        }
        assert!(reading("Sun, 06 Nov 1994 08:49:37 GMT", 0).is_some());
        assert!(reading("Sun, 06 Nov 1994 22:49:37 GMT", 0).is_some());
    }

    #[test]
    fn a_response_that_took_long_is_no_sign_of_a_clock_that_is_off() {
        // Stamped as soon as the request had arrived.
        let slow = reading("Sun, 06 Nov 1994 08:48:37 GMT", 60).unwrap();
        assert!(!slow.contradicts(Offset::default()));
        assert!(
            reading("Sun, 06 Nov 1994 08:48:37 GMT", 0).unwrap().contradicts(Offset::default())
        );
    }

    #[test]
    fn a_clock_is_off_when_a_server_would_notice() {
        for (seconds, is_off) in [(0, false), (29, false), (-29, false), (32, true), (-32, true)] {
            assert_eq!(ahead(seconds).contradicts(Offset::default()), is_off, "{seconds}");
            // Whoever goes by it is right.
            assert!(!ahead(seconds).contradicts(ahead(seconds).offset()));
            assert!(ahead(seconds + 600).contradicts(ahead(seconds).offset()));
        }
        let now = SystemTime::UNIX_EPOCH + NOW;
        assert_eq!(ahead(300).offset().apply(now), now + Duration::from_millis(300_500));
        assert_eq!(ahead(-300).offset().apply(now), now - Duration::from_millis(299_500));
    }

    #[test]
    fn the_memory_of_clocks_is_bounded_and_the_oldest_goes_first() {
        let clocks = Clocks::default();
        let offset = ahead(300).offset();
        clocks.set(&origin(0), offset);
        clocks.set(&origin(0), Offset::default());
        assert!(clocks.0.lock().unwrap().offsets.is_empty());
        for n in 0..=MOST {
            clocks.set(&origin(n), offset);
        }
        assert_eq!(clocks.0.lock().unwrap().offsets.len(), MOST);
        assert_eq!(clocks.get(&origin(0)), Offset::default());
        assert_eq!(clocks.get(&origin(1)), offset);
        assert_eq!(clocks.get(&origin(MOST)), offset);
    }
}
