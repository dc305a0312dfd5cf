//! Copies the parts of a request that a resend needs.

use bytes::Bytes;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};

use crate::replay::ReplayableBody;

/// Holds a copy of a request that was sent.
///
/// Few requests are resent, but a copy is made of each, so it is kept small.
pub(super) struct Snapshot<K> {
    pub(super) head: Head,
    /// `None` if the request will not be resent.
    pub(super) body: Option<K>,
}

/// Holds a copy of a request without its body.
pub(super) struct Head {
    method: Method,
    uri: Uri,
    version: Version,
    fields: Fields,
    extensions: Extensions,
}

impl<K> Snapshot<K> {
    #[inline]
    pub(super) fn new<B>(request: &Request<B>) -> Self
    where
        B: ReplayableBody<Kept = K>,
    {
        Self { head: Head::new(request), body: Some(request.body().keep()) }
    }

    /// Copies a request that is sent for the last time.
    pub(super) fn without_body<B>(request: &Request<B>) -> Self {
        Self { head: Head::new(request), body: None }
    }
}

impl Head {
    #[inline]
    fn new<B>(request: &Request<B>) -> Self {
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            fields: Fields::encode(request.headers()),
            extensions: request.extensions().clone(),
        }
    }

    pub(super) fn method(&self) -> &Method {
        &self.method
    }

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
        *request.headers_mut() = self.fields.decode();
        *request.extensions_mut() = self.extensions;
        request
    }
}

/// Holds header fields, encoded into one allocation.
///
/// A clone of the map takes two allocations, and one more for each value that was not shared
/// before.
struct Fields(Vec<u8>);

/// The size of the word that each field begins with.
///
/// The word has the length of the name in the lowest 16 bits, then one bit for a sensitive value,
/// then the length of the value.
const WORD: usize = size_of::<u64>();
const NAME_LENGTH: u64 = 0xffff;
const SENSITIVE: u64 = NAME_LENGTH + 1;
const VALUE_LENGTH_SHIFT: u32 = SENSITIVE.trailing_zeros() + 1;

/// The capacity per field, which is enough for most fields. Counting the bytes first takes longer.
const FIELD_CAPACITY: usize = 64;

impl Fields {
    fn encode(headers: &HeaderMap) -> Self {
        let mut all = Vec::with_capacity(headers.len() * FIELD_CAPACITY);
        for (name, value) in headers {
            let (name, bytes) = (name.as_str().as_bytes(), value.as_bytes());
            // `HeaderName` limits names to 65,535 bytes, so the length fits into 16 bits.
            let mut word = name.len() as u64 | (bytes.len() as u64) << VALUE_LENGTH_SHIFT;
            if value.is_sensitive() {
                word |= SENSITIVE;
            }
            all.extend_from_slice(&word.to_ne_bytes());
            all.extend_from_slice(name);
            all.extend_from_slice(bytes);
        }
        Self(all)
    }

    /// Decodes the fields, in the same order.
    #[cold]
    fn decode(self) -> HeaderMap {
        let mut rest = Bytes::from(self.0);
        let mut headers = HeaderMap::new();
        while !rest.is_empty() {
            let word = rest.split_to(WORD);
            let word = u64::from_ne_bytes(word[..].try_into().expect("split off WORD bytes above"));
            let name = rest.split_to((word & NAME_LENGTH) as usize);
            let name = HeaderName::from_bytes(&name).expect("encoded from a HeaderName");
            let value = rest.split_to((word >> VALUE_LENGTH_SHIFT) as usize);
            let value = HeaderValue::from_maybe_shared(value);
            let mut value = value.expect("encoded from a HeaderValue");
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
    fn decoded_fields_equal_the_encoded_ones() {
        let mut headers = HeaderMap::new();
        assert_eq!(Fields::encode(&headers).decode(), headers);
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
        let again = Fields::encode(&headers).decode();
        let list = |headers: &HeaderMap| {
            let fields = headers.iter();
            let list = fields.map(|(k, v)| (k.clone(), v.clone(), v.is_sensitive()));
            list.collect::<Vec<_>>()
        };
        assert_eq!(list(&again), list(&headers));
        assert!(again["cookie"].is_sensitive());
    }
}
