//! Remembers the nonces of servers.

use std::sync::{Arc, Mutex};

use http::{HeaderMap, HeaderName};

use crate::protocol::origin::Origin;
use crate::util::bounded_map::BoundedMap;
use crate::util::sync::LockExt;

/// The maximum number of servers whose nonces are kept. The server that was silent for longest is
/// forgotten first.
const MAX_SERVERS: usize = 1024;

/// The maximum length of a nonce. A longer one is ignored.
const MAX_NONCE_LEN: usize = 1024;

const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// The newest nonce of each server (RFC 9449 section 8).
#[derive(Debug)]
pub(super) struct Nonces(Mutex<BoundedMap<Origin, Arc<str>>>);

impl Default for Nonces {
    fn default() -> Self {
        Self(Mutex::new(BoundedMap::with_capacity(MAX_SERVERS)))
    }
}

impl Nonces {
    /// Returns the newest nonce of a server.
    pub(super) fn get(&self, origin: &Origin) -> Option<Arc<str>> {
        self.0.lock_unpoisoned().peek(origin).cloned()
    }

    /// Stores the nonce of a response, and returns whether it differs from the nonce `sent`.
    ///
    /// A nonce that the request already had does not replace another one, because the response may
    /// be late and the nonce out of date.
    pub(super) fn learn(&self, origin: &Origin, headers: &HeaderMap, sent: Option<&str>) -> bool {
        let Some(value) = headers.get(DPOP_NONCE).and_then(|value| value.to_str().ok()) else {
            return false;
        };
        if value.is_empty() || value.len() > MAX_NONCE_LEN || !value.bytes().all(is_nqchar) {
            return false;
        }
        let is_new = sent != Some(value);
        let mut nonces = self.0.lock_unpoisoned();
        match nonces.get_mut(origin) {
            Some(known) if is_new && **known != *value => *known = value.into(),
            Some(_) => {}
            None => *nonces.get_or_default(origin) = value.into(),
        }
        is_new
    }
}

/// Returns whether a character may be part of a nonce (`NQCHAR`, RFC 6749 appendix A).
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
    fn the_newest_valid_nonce_of_each_server_is_kept() {
        let nonces = Nonces::default();
        learn(&nonces, 1, "a");
        learn(&nonces, 2, "b");
        learn(&nonces, 1, "c");
        for malformed in ["", "with space", "quo\"te", &"x".repeat(MAX_NONCE_LEN + 1)] {
            learn(&nonces, 1, malformed);
        }
        assert_eq!(nonces.get(&origin(1)).as_deref(), Some("c"));
        assert_eq!(nonces.get(&origin(2)).as_deref(), Some("b"));
        assert_eq!(nonces.get(&origin(3)), None);
    }

    #[test]
    fn a_nonce_that_the_request_had_does_not_replace_a_newer_one() {
        let nonces = Nonces::default();
        let bring = |value: &str, sent: Option<&str>| {
            let headers = HeaderMap::from_iter([(DPOP_NONCE, value.parse().unwrap())]);
            nonces.learn(&origin(1), &headers, sent);
            nonces.get(&origin(1)).unwrap()
        };
        assert_eq!(&*bring("a", Some("a")), "a", "the map had no nonce");
        assert_eq!(&*bring("b", Some("a")), "b");
        assert_eq!(&*bring("a", Some("a")), "b");
        assert_eq!(&*bring("a", Some("b")), "a", "a server may repeat a nonce");
    }

    #[test]
    fn the_number_of_nonces_is_bounded() {
        let nonces = Nonces::default();
        for host in 0..2 * MAX_SERVERS {
            learn(&nonces, host, "n");
            learn(&nonces, 0, "again");
        }
        assert_eq!(nonces.0.lock_unpoisoned().len(), MAX_SERVERS);
        assert!(nonces.get(&origin(0)).is_some(), "server 0 was used last");
    }
}
