//! Wraps a response body whose beginning may have been read.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

/// Frames that were read, and the error at the end of a body that failed.
pub(super) type ReadFrames<B> = VecDeque<Result<Frame<<B as Body>::Data>, <B as Body>::Error>>;

pin_project! {
    /// Wraps a response body whose beginning a [`DrainLayer`](super::DrainLayer) may have read.
    ///
    /// It has the same frames as the inner body.
    pub struct DrainedBody<B>
    where
        B: Body,
    {
        #[pin]
        state: State<B>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<B>
    where
        B: Body,
    {
        Unread {
            #[pin]
            body: B,
        },
        Read {
            frames: ReadFrames<B>,
            // `None` if the inner body is at its end.
            rest: Option<Pin<Box<B>>>,
        },
    }
}

impl<B: Body> DrainedBody<B> {
    pub(super) fn unread(body: B) -> Self {
        Self { state: State::Unread { body } }
    }

    pub(super) fn read(frames: ReadFrames<B>, rest: Option<Pin<Box<B>>>) -> Self {
        Self { state: State::Read { frames, rest } }
    }
}

impl<B: Body> Body for DrainedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match self.project().state.project() {
            StateProj::Unread { body } => body.poll_frame(cx),
            StateProj::Read { frames, rest } => match (frames.pop_front(), rest) {
                (Some(frame), _) => Poll::Ready(Some(frame)),
                (None, Some(rest)) => rest.as_mut().poll_frame(cx),
                (None, None) => Poll::Ready(None),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.state {
            State::Unread { body } => body.is_end_stream(),
            State::Read { frames, rest } => {
                frames.is_empty() && rest.as_ref().is_none_or(|rest| rest.is_end_stream())
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        let (frames, rest) = match &self.state {
            State::Unread { body } => return body.size_hint(),
            State::Read { frames, rest } => (frames, rest),
        };
        let data = frames.iter().map_while(|frame| frame.as_ref().ok()?.data_ref());
        let read: u64 = data.map(|data| data.remaining() as u64).sum();
        let is_data =
            |frame: &Result<Frame<B::Data>, B::Error>| frame.as_ref().is_ok_and(Frame::is_data);
        if !frames.iter().all(is_data) {
            // An exact length would promise that the body neither fails nor has trailers.
            let mut hint = SizeHint::new();
            hint.set_lower(read);
            return hint;
        }
        let rest = match rest {
            Some(rest) => rest.size_hint(),
            None => SizeHint::with_exact(0),
        };
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(read));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(read));
        }
        hint
    }
}

impl<B: Body> fmt::Debug for DrainedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DrainedBody").finish_non_exhaustive()
    }
}
