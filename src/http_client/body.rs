//! Defines the bodies of requests that reqwest sends.

use bytes::Bytes;
use reqwest::Body;

use crate::replay::{KeptBody, ReplayBody, ReplayableBody};

/// The body of a request that reqwest sends, and may send again.
pub(super) enum RequestBody {
    /// A body in memory, which can be sent any number of times.
    Buffered(Bytes),
    /// A stream, of which a limited part is remembered.
    Stream(ReplayBody<Body>),
}

/// Holds the data for another [`RequestBody`].
pub(super) enum KeptRequestBody {
    Buffered(Bytes),
    Stream(KeptBody<Body>),
}

impl RequestBody {
    /// Creates a body that remembers at most `limit` bytes of a stream.
    pub(super) fn new(body: Body, limit: usize) -> Self {
        match body.as_bytes() {
            Some(_) => Self::Buffered(Bytes::from_owner(InMemory(body))),
            None => Self::Stream(ReplayBody::new(body, limit)),
        }
    }
}

/// Owns the bytes of a body in memory.
///
/// `as_bytes` alone would need a copy.
struct InMemory(Body);

impl AsRef<[u8]> for InMemory {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes().unwrap_or_default()
    }
}

impl ReplayableBody for RequestBody {
    type Kept = KeptRequestBody;

    fn keep(&self) -> KeptRequestBody {
        match self {
            Self::Buffered(bytes) => KeptRequestBody::Buffered(bytes.clone()),
            Self::Stream(body) => KeptRequestBody::Stream(body.keep()),
        }
    }

    fn replay(kept: KeptRequestBody) -> Option<Self> {
        match kept {
            KeptRequestBody::Buffered(bytes) => Some(Self::Buffered(bytes)),
            KeptRequestBody::Stream(kept) => ReplayBody::replay(kept).map(Self::Stream),
        }
    }
}

impl From<RequestBody> for Body {
    fn from(body: RequestBody) -> Self {
        match body {
            // A body in memory stays one, because reqwest can send only those again by itself.
            RequestBody::Buffered(bytes) => bytes.into(),
            RequestBody::Stream(body) => Self::wrap(body),
        }
    }
}
