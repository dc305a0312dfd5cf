//! Limits the parts of responses that an error keeps to 80 KiB.

use http::header::{CONTENT_TYPE, DATE, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue};

const KIB: usize = 1024;

/// The maximum size of an error, with its own fields.
const MAX_ERROR: usize = 80 * KIB;

/// The maximum size of a body.
const MAX_BODY: usize = 64 * KIB;

/// The maximum size of each of `error`, `error_description` and `error_uri`.
const MAX_MEMBER: usize = 4 * KIB;

/// The maximum size of the header fields of one response. An error may keep those of two.
const MAX_HEADERS: usize = 7 * KIB;

/// The size that is reserved for the error's own fields.
///
/// It includes the head of a rejected response.
const RESERVED: usize = KIB;

/// The memory that a [`HeaderMap`] takes for a field, besides its text.
const FIELD_OVERHEAD: usize = 208;

/// The fields that are kept first.
const IMPORTANT: [HeaderName; 5] = [CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE, LOCATION, DATE];

/// Returns the first 4 KiB of a member.
pub(super) fn member(text: &str) -> Box<str> {
    let mut end = text.len().min(MAX_MEMBER);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].into()
}

/// Returns how much of a body is kept beside members of so many bytes.
pub(super) fn body_size(members: usize) -> usize {
    MAX_BODY.min(MAX_ERROR - 2 * MAX_HEADERS - RESERVED - members)
}

/// Returns the header fields that fit into 7 KiB, the important ones first.
///
/// The values are copied, because an HTTP client may have sliced them out of a large buffer.
pub(super) fn headers(all: &HeaderMap) -> HeaderMap {
    let important = |name: &HeaderName| IMPORTANT.contains(name);
    let first = IMPORTANT.iter().flat_map(|name| all.get_all(name).iter().map(move |v| (name, v)));
    let fields = first.chain(all.iter().filter(|(name, _)| !important(name)));
    let mut left = MAX_HEADERS;
    let mut kept = Vec::new();
    for (name, value) in fields {
        let size = name.as_str().len() + value.len() + FIELD_OVERHEAD;
        if size <= left {
            left -= size;
            kept.push((name, value));
        }
    }
    let mut headers = HeaderMap::with_capacity(kept.len());
    for (name, value) in kept {
        if let Ok(mut copy) = HeaderValue::from_bytes(value.as_bytes()) {
            copy.set_sensitive(value.is_sensitive());
            headers.append(name.clone(), copy);
        }
    }
    headers
}
