//! Estimates the clocks of servers from the `Date` of their responses.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{AGE, DATE, HeaderName};

use crate::protocol::origin::Origin;
use crate::util::bounded_map::BoundedMap;
use crate::util::sync::LockExt;

/// The maximum number of servers whose offsets one set of credentials remembers. A clock that
/// agrees with this machine's needs no entry.
const MAX_SERVERS: usize = 64;

/// The smallest difference, in milliseconds, that is corrected. Most servers that check times
/// tolerate smaller ones.
const MIN_DIFFERENCE: u64 = 10_000;

/// The largest accepted offset, in milliseconds: a day.
///
/// Two time zones are never further apart. A server that claims more may want an assertion that is
/// still valid in years.
const MAX_OFFSET: i64 = 24 * 60 * 60 * 1000;

/// The lead of a server's clock over this machine's, in milliseconds. Negative if it is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Offset(i64);

impl Offset {
    /// Returns the server's time when this machine's time is `time`.
    pub(crate) fn apply(self, time: SystemTime) -> SystemTime {
        let by = Duration::from_millis(self.0.unsigned_abs());
        let moved = if self.0 < 0 { time.checked_sub(by) } else { time.checked_add(by) };
        moved.unwrap_or(time)
    }

    pub(crate) fn as_secs(self) -> i64 {
        self.0 / 1000
    }
}

/// Holds the range of the server's offset, in milliseconds, that one response shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SkewEstimate {
    least: i64,
    most: i64,
}

impl SkewEstimate {
    /// Estimates the offset from a response.
    ///
    /// The response arrived at `received`, `took` after its request was sent.
    ///
    /// Returns `None` without a `Date` that makes sense (RFC 9110 section 6.6.1), and if the `Age`
    /// of a response from a cache cannot be read (RFC 9111 section 5.1).
    pub(crate) fn from_response(
        headers: &HeaderMap,
        received: SystemTime,
        took: Duration,
    ) -> Option<Self> {
        let text = |name: HeaderName| headers.get(name)?.to_str().ok().map(str::trim);
        let date = httpdate::parse_http_date(text(DATE)?).ok()?;
        let age = match headers.contains_key(AGE) {
            false => Duration::ZERO,
            true => {
                let age = text(AGE)?;
                // `parse` would accept a sign.
                let is_number = age.bytes().all(|byte| byte.is_ascii_digit());
                Duration::from_secs(age.parse().ok().filter(|_| is_number)?)
            }
        };
        let date = date.checked_add(age)?;
        let ahead = match date.duration_since(received) {
            Ok(ahead) => i64::try_from(ahead.as_millis()).ok()?,
            Err(behind) => -i64::try_from(behind.duration().as_millis()).ok()?,
        };
        // The server wrote the date while the request was on its way, in whole seconds.
        let took = i64::try_from(took.as_millis()).ok()?;
        let estimate = Self { least: ahead, most: ahead.saturating_add(took).saturating_add(1000) };
        (estimate.least >= -MAX_OFFSET && estimate.most <= MAX_OFFSET).then_some(estimate)
    }

    /// Returns whether a server would refuse times that were made with the offset `used`.
    pub(crate) fn contradicts(self, used: Offset) -> bool {
        used.0.abs_diff(used.0.clamp(self.least, self.most)) >= MIN_DIFFERENCE
    }

    /// Returns the best estimate. It is zero if the server's clock agrees with this machine's.
    pub(crate) fn offset(self) -> Offset {
        match self.contradicts(Offset::default()) {
            true => Offset(self.least + (self.most - self.least) / 2),
            false => Offset::default(),
        }
    }
}

/// Remembers the offsets of the servers that one set of credentials is used with.
///
/// Assertions, DPoP proofs and clones share the offsets. A `Date` can be forged, or come from a
/// proxy with another clock. No offset may keep a client from the server for long, so an offset
/// stays only while requests that use it succeed.
#[derive(Clone)]
pub(crate) struct ServerClocks(Arc<dyn Lock>);

/// Makes a trait object of a mutex.
///
/// The type of credentials must not show the mutex. Clippy would warn callers who use credentials
/// as keys of a map (`mutable_key_type`), although no offset changes their hash.
trait Lock: Send + Sync {
    fn lock(&self) -> MutexGuard<'_, SkewMap>;
}

impl Lock for Mutex<SkewMap> {
    fn lock(&self) -> MutexGuard<'_, SkewMap> {
        self.lock_unpoisoned()
    }
}

impl Default for ServerClocks {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(SkewMap::with_capacity(MAX_SERVERS))))
    }
}

type SkewMap = BoundedMap<Origin, SkewEntry>;

#[derive(Default)]
struct SkewEntry {
    /// The offset, which is never zero.
    ///
    /// A clock that agrees with this machine's has no entry.
    offset: Offset,
    standing: Standing,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Standing {
    /// The last request that used the offset succeeded.
    Confirmed,
    /// The offset is unused, or the last request that used it was refused.
    ///
    /// The next refusal removes it.
    #[default]
    Doubtful,
}

impl ServerClocks {
    /// Returns the offset for the next request to `origin`.
    pub(crate) fn get(&self, origin: &Origin) -> Offset {
        self.lock().peek(origin).map_or(Offset::default(), |entry| entry.offset)
    }

    /// Records that a request that used the offset succeeded.
    pub(crate) fn accept(&self, origin: &Origin, used: Offset) {
        self.set(origin, used, Standing::Confirmed);
    }

    /// Records that a request with the offset was refused.
    ///
    /// `estimate` is the offset that its response shows.
    ///
    /// A response that contradicts the offset, or shows no time, ends it at once. A server may also
    /// refuse for another reason. So a response that agrees with the offset ends it only if the
    /// request before was refused too.
    pub(crate) fn refuse(&self, origin: &Origin, used: Offset, estimate: Option<SkewEstimate>) {
        let mut entries = self.lock();
        // Another request may have replaced the offset since.
        let Some(entry) = entries.get_mut(origin).filter(|entry| entry.offset == used) else {
            return;
        };
        let agrees = estimate.is_some_and(|estimate| !estimate.contradicts(used));
        match entry.standing {
            Standing::Confirmed if agrees => entry.standing = Standing::Doubtful,
            Standing::Confirmed | Standing::Doubtful => drop(entries.remove(origin)),
        }
    }

    /// Sets an offset that a refused request suggests, until the next refusal.
    #[cfg(feature = "jwt")]
    pub(crate) fn try_out(&self, origin: &Origin, estimate: SkewEstimate) {
        // Another request may have corrected the offset since.
        if estimate.contradicts(self.get(origin)) {
            self.set(origin, estimate.offset(), Standing::Doubtful);
        }
    }

    fn set(&self, origin: &Origin, offset: Offset, standing: Standing) {
        let mut entries = self.lock();
        if offset == Offset::default() {
            entries.remove(origin);
        } else {
            *entries.get_or_default(origin) = SkewEntry { offset, standing };
        }
    }

    fn lock(&self) -> MutexGuard<'_, SkewMap> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const NOW: Duration = Duration::from_secs(784_111_777);

    /// Returns the estimate of a response that took so many seconds.
    fn estimate(fields: &[(HeaderName, &str)], took: u64) -> Option<SkewEstimate> {
        let fields = fields.iter().cloned();
        let headers = fields.map(|(name, value)| (name, HeaderValue::from_str(value).unwrap()));
        let headers = HeaderMap::from_iter(headers);
        SkewEstimate::from_response(
            &headers,
            SystemTime::UNIX_EPOCH + NOW,
            Duration::from_secs(took),
        )
    }

    fn estimate_from_date(date: &str, took: u64) -> Option<SkewEstimate> {
        estimate(&[(DATE, date)], took)
    }

    fn ahead(seconds: i64) -> SkewEstimate {
        let date = Duration::from_secs(NOW.as_secs().checked_add_signed(seconds).unwrap());
        estimate_from_date(&httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + date), 0).unwrap()
    }

    fn origin(n: usize) -> Origin {
        Origin::from_uri(&format!("https://{n}.test").parse().unwrap()).unwrap()
    }

    #[test]
    fn an_implausible_date_gives_no_estimate() {
        for date in [
            "",
            "soon",
            "0",
            "Fri, 31 Dec 9999 23:59:59 GMT",
            "Thu, 01 Jan 1970 00:00:00 GMT",
            "Tue, 08 Nov 1994 08:49:38 GMT",
        ] {
            assert_eq!(estimate_from_date(date, 0), None, "{date}");
        }
        assert!(estimate_from_date("Sun, 06 Nov 1994 08:49:37 GMT", 0).is_some());
        assert!(estimate_from_date("Sun, 06 Nov 1994 22:49:37 GMT", 0).is_some());
    }

    #[test]
    fn an_age_is_added_and_an_unreadable_age_gives_no_estimate() {
        let date = "Sun, 06 Nov 1994 07:49:37 GMT";
        let with_age = |age| estimate(&[(DATE, date), (AGE, age)], 0);
        assert_eq!(with_age("3600"), Some(ahead(0)));
        assert_eq!(with_age(" 0 "), Some(ahead(-3600)));
        for age in ["", "-1", "+1", "1.5", "1, 2", "99999999999999999999", "18446744073709551615"] {
            assert_eq!(with_age(age), None, "{age}");
        }
    }

    #[test]
    fn a_slow_response_does_not_contradict_our_clock() {
        // The server wrote the date as soon as the request had arrived.
        let slow = estimate_from_date("Sun, 06 Nov 1994 08:48:37 GMT", 60).unwrap();
        assert!(!slow.contradicts(Offset::default()));
        let fast = estimate_from_date("Sun, 06 Nov 1994 08:48:37 GMT", 0).unwrap();
        assert!(fast.contradicts(Offset::default()));
    }

    #[test]
    fn only_a_difference_that_a_server_would_notice_counts() {
        for (seconds, counts) in [(0, false), (9, false), (-9, false), (10, true), (-11, true)] {
            assert_eq!(ahead(seconds).contradicts(Offset::default()), counts, "{seconds}");
            assert_eq!(ahead(seconds).offset() != Offset::default(), counts, "{seconds}");
            assert!(!ahead(seconds).contradicts(ahead(seconds).offset()));
            assert!(ahead(seconds + 600).contradicts(ahead(seconds).offset()));
        }
        let now = SystemTime::UNIX_EPOCH + NOW;
        assert_eq!(ahead(300).offset().apply(now), now + Duration::from_millis(300_500));
        assert_eq!(ahead(-300).offset().apply(now), now - Duration::from_millis(299_500));
    }

    // W8
    #[test]
    fn an_offset_ends_with_a_contradiction_or_a_second_refusal() {
        let clocks = ServerClocks::default();
        let (origin, offset) = (origin(0), ahead(300).offset());
        let is_known = || clocks.get(&origin) == offset;
        for estimate in [Some(ahead(0)), Some(ahead(600)), None] {
            clocks.accept(&origin, offset);
            clocks.refuse(&origin, offset, estimate);
            assert!(!is_known(), "{estimate:?}");
        }
        let agrees = Some(ahead(301));
        clocks.accept(&origin, offset);
        for _ in 0..3 {
            clocks.refuse(&origin, offset, agrees);
            assert!(is_known());
            clocks.accept(&origin, offset);
        }
        clocks.refuse(&origin, offset, agrees);
        clocks.refuse(&origin, offset, agrees);
        assert!(!is_known());
    }

    // W8
    #[test]
    fn a_late_refusal_does_not_end_a_newer_offset() {
        let clocks = ServerClocks::default();
        clocks.accept(&origin(0), ahead(300).offset());
        clocks.refuse(&origin(0), ahead(600).offset(), None);
        clocks.refuse(&origin(0), Offset::default(), None);
        assert_eq!(clocks.get(&origin(0)), ahead(300).offset());
        // A success without an offset shows that none is needed.
        clocks.accept(&origin(0), Offset::default());
        assert_eq!(clocks.get(&origin(0)), Offset::default());
    }

    // W10
    #[cfg(feature = "jwt")]
    #[test]
    fn an_offset_on_trial_ends_with_the_first_refusal() {
        let clocks = ServerClocks::default();
        let (origin, offset) = (origin(0), ahead(300).offset());
        clocks.try_out(&origin, ahead(300));
        assert_eq!(clocks.get(&origin), offset);
        // One that agrees changes nothing.
        clocks.try_out(&origin, ahead(302));
        assert_eq!(clocks.get(&origin), offset);
        clocks.refuse(&origin, offset, Some(ahead(300)));
        assert_eq!(clocks.get(&origin), Offset::default());
    }

    #[test]
    fn the_memory_is_bounded_and_drops_the_oldest_first() {
        let clocks = ServerClocks::default();
        let offset = ahead(300).offset();
        for n in 0..=MAX_SERVERS {
            clocks.accept(&origin(n), offset);
        }
        assert_eq!(clocks.lock().len(), MAX_SERVERS);
        assert_eq!(clocks.get(&origin(0)), Offset::default());
        assert_eq!(clocks.get(&origin(1)), offset);
        assert_eq!(clocks.get(&origin(MAX_SERVERS)), offset);
    }
}
