//! A request, as much of it as it takes to send it again.

use bytes::Bytes;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};

use crate::replay::ReplayableBody;

/// What is held back of a request that goes out. Few are sent again, so what all pay for is kept small.
pub(crate) struct Kept<K> {
    pub(super) head: Head,
    pub(super) body: K,
}

/// All of a request but its body.
pub(super) struct Head {
    method: Method,
    uri: Uri,
    version: Version,
    fields: Fields,
    extensions: Extensions,
}

impl<K> Kept<K> {
    #[inline]
    pub(crate) fn of<B>(request: &Request<B>) -> Self
    where
        B: ReplayableBody<Kept = K>,
    {
        let head = Head {
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            fields: Fields::of(request.headers()),
            extensions: request.extensions().clone(),
        };
        Self { head, body: request.body().keep() }
    }
}

impl Head {
    pub(super) fn uri(&self) -> &Uri {
        &self.uri
    }

    pub(super) fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    pub(super) fn with_body<B>(self, body: B) -> Request<B> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.version_mut() = self.version;
        *request.headers_mut() = self.fields.into_map();
        *request.extensions_mut() = self.extensions;
        request
    }
}

/// Header fields, one after the other in one piece of memory: a clone of the map would take two, and one more for each
/// value that was never shared before.
struct Fields(Vec<u8>);

/// Before each field there is a word: how long its value is, whether that is sensitive, how long its name is.
const WORD: usize = size_of::<u64>();
const LEN_OF_NAME: u64 = 0xffff;
const SENSITIVE: u64 = LEN_OF_NAME + 1;
const LEN_OF_VALUE: u32 = SENSITIVE.trailing_zeros() + 1;

/// Room for most fields; to count what it takes would take longer.
const ROOM: usize = 64;

impl Fields {
    fn of(headers: &HeaderMap) -> Self {
        let mut all = Vec::with_capacity(headers.len() * ROOM);
        for (name, value) in headers {
            let (name, bytes) = (name.as_str().as_bytes(), value.as_bytes());
            // `HeaderName` takes no name that is longer than 16 bits can tell.
            let mut word = name.len() as u64 | (bytes.len() as u64) << LEN_OF_VALUE;
            if value.is_sensitive() {
                word |= SENSITIVE;
            }
            all.extend_from_slice(&word.to_ne_bytes());
            all.extend_from_slice(name);
            all.extend_from_slice(bytes);
        }
        Self(all)
    }

    /// The same fields in the same order.
    #[cold]
    fn into_map(self) -> HeaderMap {
        let mut rest = Bytes::from(self.0);
        let mut headers = HeaderMap::new();
        while !rest.is_empty() {
            let word = rest.split_to(WORD);
            let word = u64::from_ne_bytes(word[..].try_into().expect("as long as a word"));
            let name = rest.split_to((word & LEN_OF_NAME) as usize);
            let name = HeaderName::from_bytes(&name).expect("it was one");
            let value = rest.split_to((word >> LEN_OF_VALUE) as usize);
            let mut value = HeaderValue::from_maybe_shared(value).expect("it was one");
            value.set_sensitive(word & SENSITIVE != 0);
            headers.append(name, value);
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_as_they_were() {
        let mut headers = HeaderMap::new();
        assert_eq!(Fields::of(&headers).into_map(), headers);
        for (name, value, is_sensitive) in [
            ("accept", &b"application/json"[..], false),
            ("x-tag", b"one", false),
            ("cookie", b"secret=1", true),
            ("x-tag", b"", false),
            ("x-tag", b"tab\there, \xe4 and \xff", false),
        ] {
            let name: HeaderName = name.parse().unwrap();
            let mut value = HeaderValue::from_bytes(value).unwrap();
            value.set_sensitive(is_sensitive);
            headers.append(name, value);
        }
        headers.insert("x-long", "v".repeat(100_000).parse().unwrap());
        let again = Fields::of(&headers).into_map();
        let list = |headers: &HeaderMap| {
            let fields = headers.iter();
            let list = fields.map(|(k, v)| (k.clone(), v.clone(), v.is_sensitive()));
            list.collect::<Vec<_>>()
        };
        assert_eq!(list(&again), list(&headers));
        assert!(again["cookie"].is_sensitive());
    }
}
