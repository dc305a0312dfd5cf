//! The bodies of requests that reqwest sends.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::Body as _;
use reqwest::Body;

use crate::replay::{KeptBody, ReplayBody, ReplayableBody};

/// The body of a request that reqwest sends, and may send again.
pub(super) enum RequestBody {
    /// A body in memory, which can be sent any number of times.
    Buffered(Bytes),
    /// A stream, of which a limited part is remembered.
    Stream(ReplayBody<Body>),
}

/// Data for another [`RequestBody`].
pub(super) enum KeptRequestBody {
    Buffered(Bytes),
    Stream(KeptBody<Body>),
}

impl RequestBody {
    /// Creates a body that remembers at most `limit` bytes of a stream.
    pub(super) fn new(mut body: Body, limit: usize) -> Self {
        if body.as_bytes().is_none() {
            return Self::Stream(ReplayBody::new(body, limit));
        }
        // Polled for its data, because `as_bytes` would only allow a copy.
        let mut context = Context::from_waker(Waker::noop());
        match Pin::new(&mut body).poll_frame(&mut context) {
            Poll::Ready(None) => Self::Buffered(Bytes::new()),
            Poll::Ready(Some(Ok(frame))) if body.is_end_stream() => {
                Self::Buffered(frame.into_data().unwrap_or_default())
            }
            _ => unreachable!("reqwest returns a body in memory as one frame"),
        }
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
