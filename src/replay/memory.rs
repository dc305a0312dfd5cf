//! Remembers the frames that a body has sent, for a resend.

use std::collections::VecDeque;
use std::mem;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::Frame;

/// The size from which a chunk is shared instead of copied.
///
/// Smaller chunks are copied together. So they cost no more than their size, and do not keep large
/// buffers alive.
const SMALL: usize = 8 * 1024;

/// The frames that a body has sent so far, if a resend may need them.
pub(super) struct Memory {
    pub(super) state: MemoryState,
    /// The number of [`KeptBody`](super::KeptBody)s of the stream's owner.
    pub(super) keepers: usize,
    limit: usize,
    pub(super) len: usize,
    pub(super) remembered: Remembered,
    /// The last chunk, while it consists of small ones.
    small: BytesMut,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum MemoryState {
    Unwanted,
    Whole,
    /// A frame was sent that is not in the memory.
    Lost,
}

#[derive(Clone, Default)]
pub(super) struct Remembered {
    chunks: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
}

/// Holds frames that are no longer remembered.
///
/// The caller drops them after unlocking, because the owner of their memory may run a caller's
/// code.
#[must_use = "drop it after unlocking"]
#[derive(Default)]
pub(super) struct Forgotten(#[expect(dead_code, reason = "only dropped")] Remembered);

impl Memory {
    /// Creates an empty memory for at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            state: MemoryState::Unwanted,
            keepers: 0,
            limit,
            len: 0,
            remembered: Remembered::default(),
            small: BytesMut::new(),
        }
    }

    /// Remembers a frame. An error ends the body, so nothing can be sent again.
    pub(super) fn remember<E>(&mut self, frame: &Result<Frame<Bytes>, E>) -> Forgotten {
        let Ok(frame) = frame else {
            return self.invalidate();
        };
        if self.state != MemoryState::Whole {
            return Forgotten::default();
        }
        if self.remembered.trailers.is_some() {
            // A frame after the trailers could not be sent again in this order.
            return self.invalidate();
        }
        if let Some(data) = frame.data_ref() {
            self.len = self.len.saturating_add(data.len());
            if self.len > self.limit {
                return self.invalidate();
            }
            if data.len() >= SMALL {
                self.gather();
                self.remembered.chunks.push_back(data.clone());
            } else {
                self.small.extend_from_slice(data);
            }
        } else if let Some(trailers) = frame.trailers_ref() {
            self.remembered.trailers = Some(trailers.clone());
        } else {
            return self.invalidate();
        }
        Forgotten::default()
    }

    fn gather(&mut self) {
        if !self.small.is_empty() {
            self.remembered.chunks.push_back(self.small.split().freeze());
        }
    }

    /// Returns everything that was sent, once.
    pub(super) fn take(&mut self) -> Option<Remembered> {
        if self.state != MemoryState::Whole {
            return None;
        }
        self.gather();
        self.state = MemoryState::Unwanted;
        Some(mem::take(&mut self.remembered))
    }

    /// Forgets everything permanently, because the memory is no longer complete.
    pub(super) fn invalidate(&mut self) -> Forgotten {
        let forgotten = self.forget();
        self.state = MemoryState::Lost;
        forgotten
    }

    /// Forgets everything, because no resend needs it any more.
    pub(super) fn forget(&mut self) -> Forgotten {
        if self.state == MemoryState::Whole {
            self.state = MemoryState::Unwanted;
        }
        self.small = BytesMut::new();
        Forgotten(mem::take(&mut self.remembered))
    }
}

impl Remembered {
    /// Takes the next frame.
    pub(super) fn next(&mut self) -> Option<Frame<Bytes>> {
        let data = self.chunks.pop_front().map(Frame::data);
        data.or_else(|| self.trailers.take().map(Frame::trailers))
    }

    pub(super) fn len(&self) -> usize {
        self.chunks.iter().map(Bytes::len).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.trailers.is_none()
    }
}
