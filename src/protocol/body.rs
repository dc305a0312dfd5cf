//! Reads the body of a response, within limits of size and time.

use std::pin::pin;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::StatusCode;
use http_body::Body;
use http_body_util::BodyExt;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout_at};
use tower::BoxError;

use crate::error::{TokenError, TokenErrorKind};

/// The maximum size of a body.
const MAX_BODY_SIZE: usize = 1024 * 1024;

/// The number of frames without data after which other tasks and the timer run.
///
/// A body that always has such a frame would block the thread otherwise, and no deadline would end
/// it.
const MAX_EMPTY_FRAMES: u32 = 32;

/// Reads the body of a response until `deadline`.
///
/// If the body of an error response breaks off, the part that arrived is returned, because the
/// status is more important than the body. It gets at most half of the remaining time, so that an
/// endless body leaves time for another request.
pub(crate) async fn read<B>(
    status: StatusCode,
    body: B,
    deadline: Instant,
) -> Result<Bytes, TokenError>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    let deadline = if status.is_success() { deadline } else { halfway_to(deadline) };
    let mut body = pin!(body);
    let mut read = BytesMut::new();
    let mut empty_frames = 0_u32;
    let error = loop {
        let frame = match timeout_at(deadline, body.frame()).await {
            Ok(None) => return Ok(read.freeze()),
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => {
                break TokenError::with_source(TokenErrorKind::IncompleteResponse, error.into());
            }
            Err(elapsed) => break TokenError::with_source(TokenErrorKind::Timeout, elapsed.into()),
        };
        if frame.data_ref().is_none_or(|data| !data.has_remaining()) {
            empty_frames = empty_frames.wrapping_add(1);
            if empty_frames % MAX_EMPTY_FRAMES == 0 {
                if let Err(elapsed) = timeout_at(deadline, yield_now()).await {
                    break TokenError::with_source(TokenErrorKind::Timeout, elapsed.into());
                }
            }
        }
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if data.remaining() > MAX_BODY_SIZE - read.len() {
            break TokenError::new(TokenErrorKind::ResponseTooLarge, "");
        }
        read.put(data);
    };
    if status.is_success() { Err(error) } else { Ok(read.freeze()) }
}

/// Returns the instant at which half of the time until `deadline` has passed.
pub(crate) fn halfway_to(deadline: Instant) -> Instant {
    let now = Instant::now();
    now + deadline.saturating_duration_since(now) / 2
}
