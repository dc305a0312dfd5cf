//! The nonces that servers gave.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use http::{HeaderMap, HeaderName};

use crate::protocol::origin::Origin;
use crate::util::sync::LockExt;

/// How many servers' nonces are kept. Past it, the one that was not heard from for longest is forgotten.
const MOST: usize = 1024;

/// A longer one is none.
const LONGEST: usize = 1024;

const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// The newest nonce of each server (RFC 9449 section 8).
#[derive(Debug, Default)]
pub(super) struct Nonces(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    nonces: HashMap<Origin, Nonce>,
    count: u64,
}

#[derive(Debug)]
struct Nonce {
    value: Arc<str>,
    /// The lowest is the oldest.
    number: u64,
}

impl Nonces {
    pub(super) fn get(&self, origin: &Origin) -> Option<Arc<str>> {
        self.lock().nonces.get(origin).map(|nonce| nonce.value.clone())
    }

    /// Takes the nonce that a response brings. One that its request had already is no news: the response may be late, and
    /// the nonce replaced. Says whether it is news.
    pub(super) fn learn(&self, origin: &Origin, headers: &HeaderMap, sent: Option<&str>) -> bool {
        let Some(value) = headers.get(DPOP_NONCE).and_then(|value| value.to_str().ok()) else {
            return false;
        };
        if value.is_empty() || value.len() > LONGEST || !value.bytes().all(is_nqchar) {
            return false;
        }
        let is_news = sent != Some(value);
        let mut known = self.lock();
        known.count += 1;
        let number = known.count;
        if let Some(nonce) = known.nonces.get_mut(origin) {
            nonce.number = number;
            if is_news && *nonce.value != *value {
                nonce.value = value.into();
            }
            return is_news;
        }
        if known.nonces.len() >= MOST {
            let oldest = known.nonces.iter().min_by_key(|(_, nonce)| nonce.number);
            let oldest = oldest.map(|(origin, _)| origin.clone());
            oldest.map(|oldest| known.nonces.remove(&oldest));
        }
        known.nonces.insert(origin.clone(), Nonce { value: value.into(), number });
        is_news
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock_unpoisoned()
    }
}

/// RFC 6749 appendix A.
fn is_nqchar(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learn(nonces: &Nonces, host: usize, value: &str) {
        let headers = HeaderMap::from_iter([(DPOP_NONCE, value.parse().unwrap())]);
        nonces.learn(&origin(host), &headers, None);
    }

    fn origin(host: usize) -> Origin {
        Origin::parse(&format!("https://{host}.test")).unwrap()
    }

    #[test]
    fn the_newest_nonce_of_each_server_wins_and_rubbish_is_none() {
        let nonces = Nonces::default();
        learn(&nonces, 1, "a");
        learn(&nonces, 2, "b");
        learn(&nonces, 1, "c");
        for rubbish in ["", "with space", "quo\"te", &"x".repeat(LONGEST + 1)] {
            learn(&nonces, 1, rubbish);
        }
        assert_eq!(nonces.get(&origin(1)).as_deref(), Some("c"));
        assert_eq!(nonces.get(&origin(2)).as_deref(), Some("b"));
        assert_eq!(nonces.get(&origin(3)), None);
    }

    #[test]
    fn a_nonce_that_the_request_had_already_replaces_no_newer_one() {
        let nonces = Nonces::default();
        let bring = |value: &str, sent: Option<&str>| {
            let headers = HeaderMap::from_iter([(DPOP_NONCE, value.parse().unwrap())]);
            nonces.learn(&origin(1), &headers, sent);
            nonces.get(&origin(1)).unwrap()
        };
        assert_eq!(&*bring("a", Some("a")), "a", "it may have been forgotten meanwhile");
        assert_eq!(&*bring("b", Some("a")), "b");
        assert_eq!(&*bring("a", Some("a")), "b");
        assert_eq!(&*bring("a", Some("b")), "a", "a server may use one again");
    }

    #[test]
    fn the_memory_of_nonces_is_bounded() {
        let nonces = Nonces::default();
        for host in 0..2 * MOST {
            learn(&nonces, host, "n");
            learn(&nonces, 0, "again");
        }
        assert_eq!(nonces.lock().nonces.len(), MOST);
        assert!(nonces.get(&origin(0)).is_some(), "heard from just now");
    }
}
