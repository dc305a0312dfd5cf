//! Hashes origins and resources, so that the cache can distinguish APIs.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use http::Uri;

use super::snapshot::Head;
use crate::cache::Target;

/// The hasher of targets. Its key is random, so that an attacker cannot choose origins that
/// collide.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// Identifies a service and its clones in this process.
///
/// A relative URI does not name its origin. Its hash is that of the inner service, so two services
/// of one layer must not share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ServiceId(u64);

impl ServiceId {
    pub(super) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Returns the hash of the origin that a request goes to.
pub(super) fn hash_origin(uri: &Uri, service: ServiceId) -> u64 {
    hash_origin_or(uri, service)
}

/// Returns the hash of the origin that a URI names. All relative URIs have the same one.
pub(super) fn hash_named_origin(uri: &Uri) -> u64 {
    hash_origin_or(uri, ())
}

/// Returns the hash of the origin that a URI names, or else that of `inner_service`.
fn hash_origin_or(uri: &Uri, inner_service: impl Hash) -> u64 {
    let mut hasher = HASHER.build_hasher();
    let Some(authority) = uri.authority() else {
        inner_service.hash(&mut hasher);
        return hasher.finish();
    };
    let scheme = uri.scheme_str().unwrap_or_default();
    let default_port = if scheme.eq_ignore_ascii_case("https") { 443 } else { 80 };
    for text in [scheme, authority.host()] {
        text.bytes().for_each(|byte| hasher.write_u8(byte.to_ascii_lowercase()));
        // Separates the texts, since neither contains this byte.
        hasher.write_u8(0);
    }
    hasher.write_u16(authority.port_u16().unwrap_or(default_port));
    hasher.finish()
}

/// Returns the target of a request, whose query is not part of the resource.
pub(super) fn hash_target(head: &Head, service: ServiceId) -> Target {
    let origin = hash_origin(head.uri(), service);
    let resource = HASHER.hash_one((origin, head.method(), head.uri().path()));
    Target { origin, resource }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::super::snapshot::Snapshot;
    use super::*;

    fn target(method: &str, uri: &str, service: ServiceId) -> Target {
        let request = Request::builder().method(method).uri(uri).body(()).unwrap();
        hash_target(&Snapshot::new(&request).head, service)
    }

    #[test]
    fn equal_origins_have_one_hash_however_they_are_spelled() {
        let services = [ServiceId::next(), ServiceId::next()];
        let origin = |uri: &str, service| hash_origin(&uri.parse().unwrap(), service);
        let expected = origin("https://api.test/a", services[0]);
        for uri in ["HTTPS://API.test:443/b?c", "https://user@api.test"] {
            assert_eq!(origin(uri, services[1]), expected, "{uri}");
        }
        for uri in
            ["http://api.test", "https://api.test:80", "https://a.test", "/a", "api.test:443"]
        {
            assert_ne!(origin(uri, services[0]), expected, "{uri}");
        }
        assert_eq!(
            origin("http://api.test:80", services[0]),
            origin("http://api.test/a", services[0])
        );
    }

    #[test]
    fn a_relative_uri_has_the_origin_of_its_service() {
        let services = [ServiceId::next(), ServiceId::next()];
        let one = target("GET", "/a", services[0]);
        assert_eq!(one.origin, target("GET", "/b", services[0]).origin);
        assert_ne!(one.origin, target("GET", "/a", services[1]).origin);
        assert_ne!(one.resource, target("GET", "/a", services[1]).resource);
    }

    #[test]
    fn a_resource_is_origin_method_and_path() {
        let service = ServiceId::next();
        let one = target("GET", "https://api.test/a", service);
        assert_eq!(one, target("GET", "https://api.test/a?b", service));
        for (method, uri) in [
            ("POST", "https://api.test/a"),
            ("GET", "https://api.test/b"),
            ("GET", "https://b.test/a"),
        ] {
            assert_ne!(one.resource, target(method, uri, service).resource, "{method} {uri}");
        }
    }
}
