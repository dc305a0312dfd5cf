//! Reading a response's body within bounds.

use std::pin::pin;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::StatusCode;
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};
use tower::BoxError;

use crate::error::{TokenError, TokenErrorKind};

/// How much of a response is read.
const LIMIT: usize = 1024 * 1024;

/// How much of it an error keeps.
const KEPT: usize = 64 * 1024;

/// The body of a response, until `deadline`. What tells of a failure is read as far as it goes: the
/// status alone says more than the trouble of reading on.
pub(super) async fn read<B>(
    status: StatusCode,
    body: B,
    deadline: Instant,
) -> Result<Bytes, TokenError>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    let mut body = pin!(body);
    let mut read = BytesMut::new();
    let trouble = loop {
        let frame = match timeout_at(deadline, body.frame()).await {
            Ok(None) => return Ok(read.freeze()),
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => {
                break TokenError::with_source(TokenErrorKind::IncompleteResponse, error.into());
            }
            Err(elapsed) => break TokenError::with_source(TokenErrorKind::Timeout, elapsed.into()),
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if data.remaining() > LIMIT - read.len() {
            break TokenError::new(TokenErrorKind::ResponseTooLarge, "");
        }
        read.put(data);
    };
    if status.is_success() { Err(trouble) } else { Ok(read.freeze()) }
}

/// What an error keeps of a body.
pub(super) fn kept(mut body: Bytes) -> Bytes {
    if body.len() > KEPT {
        body = Bytes::copy_from_slice(&body[..KEPT]);
    }
    body
}
