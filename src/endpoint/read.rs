//! Reading a response's body within bounds.

use std::pin::pin;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::StatusCode;
use http_body::Body;
use http_body_util::BodyExt;
use tower::BoxError;

use crate::error::{TokenError, TokenErrorKind};

/// How much of a successful response is read.
const LIMIT: usize = 1024 * 1024;

/// How much of any other response is read and kept.
const KEPT: usize = 64 * 1024;

/// The body of a response. What tells of a failure is read as far as it goes: the status alone
/// says more than the trouble of reading on.
pub(super) async fn read<B>(status: StatusCode, body: B) -> Result<Bytes, TokenError>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    let limit = if status.is_success() { LIMIT } else { KEPT };
    let mut body = pin!(body);
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => {
                let Ok(mut data) = frame.into_data() else {
                    continue;
                };
                let room = limit - read.len();
                if data.remaining() > room {
                    if status.is_success() {
                        return Err(TokenError::new(TokenErrorKind::ResponseTooLarge, ""));
                    }
                    read.put(data.copy_to_bytes(room));
                    break;
                }
                read.put(data);
            }
            Err(error) if status.is_success() => {
                return Err(TokenError::with_source(
                    TokenErrorKind::IncompleteResponse,
                    error.into(),
                ));
            }
            Err(_) => break,
        }
    }
    Ok(read.freeze())
}

/// What an error keeps of a body.
pub(super) fn kept(mut body: Bytes) -> Bytes {
    if body.len() > KEPT {
        body = Bytes::copy_from_slice(&body[..KEPT]);
    }
    body
}
