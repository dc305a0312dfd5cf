//! What is remembered of a body as it goes out.

use std::collections::VecDeque;
use std::mem;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::Frame;

/// Frames smaller than this are copied together: small ones can not cost many times their size, nor keep
/// many large buffers alive that they are slices of.
const SMALL: usize = 8 * 1024;

/// What has gone out so far, if anybody wants to know.
pub(super) struct Memory {
    pub(super) state: MemoryState,
    /// How many want to know, of those that keep something of the body whose turn it is.
    pub(super) keepers: usize,
    limit: usize,
    pub(super) len: usize,
    pub(super) remembered: Remembered,
    /// The last chunk, while it is made of small ones.
    small: BytesMut,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum MemoryState {
    Unwanted,
    Whole,
    /// Something went out that is not in here.
    Lost,
}

#[derive(Clone, Default)]
pub(super) struct Remembered {
    chunks: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
}

impl Memory {
    /// Nothing so far, and at most so many bytes.
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

    pub(super) fn remember(&mut self, frame: &Frame<Bytes>) {
        if self.state != MemoryState::Whole {
            return;
        }
        if self.remembered.trailers.is_some() {
            // Nothing follows trailers: if it does, it could not be sent again in this order.
            self.lose();
        } else if let Some(data) = frame.data_ref() {
            self.len = self.len.saturating_add(data.len());
            if self.len > self.limit {
                self.lose();
            } else if data.len() >= SMALL {
                self.gather();
                self.remembered.chunks.push_back(data.clone());
            } else {
                self.small.extend_from_slice(data);
            }
        } else if let Some(trailers) = frame.trailers_ref() {
            self.remembered.trailers = Some(trailers.clone());
        } else {
            self.lose();
        }
    }

    fn gather(&mut self) {
        if !self.small.is_empty() {
            self.remembered.chunks.push_back(self.small.split().freeze());
        }
    }

    /// All of it, once.
    pub(super) fn take(&mut self) -> Option<Remembered> {
        if self.state != MemoryState::Whole {
            return None;
        }
        self.gather();
        self.state = MemoryState::Unwanted;
        Some(mem::take(&mut self.remembered))
    }

    pub(super) fn lose(&mut self) {
        self.forget();
        self.state = MemoryState::Lost;
    }

    pub(super) fn forget(&mut self) {
        if self.state == MemoryState::Whole {
            self.state = MemoryState::Unwanted;
        }
        self.remembered = Remembered::default();
        self.small = BytesMut::new();
    }
}

impl Remembered {
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
