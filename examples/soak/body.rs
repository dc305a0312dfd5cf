//! Request bodies whose bytes depend on the ID of the request.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use futures_util::stream;
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};

pub(crate) type Stream = UnsyncBoxBody<Bytes, Infallible>;

/// Returns the byte at this offset in the body of request `id`.
fn byte(id: u64, at: usize) -> u8 {
    (id as usize).wrapping_mul(31).wrapping_add(at ^ at >> 8) as u8
}

/// Returns `len` bytes of the body of request `id`.
pub(crate) fn data(id: u64, from: usize, len: usize) -> Bytes {
    (from..from + len).map(|at| byte(id, at)).collect()
}

/// Returns whether `data` is the part of the body of request `id` at this offset.
pub(crate) fn matches(id: u64, from: usize, data: &[u8]) -> bool {
    data.iter().enumerate().all(|(at, found)| *found == byte(id, from + at))
}

/// Creates the body of request `id` as chunks, some of which are delayed. It has no size hint.
pub(crate) fn stream(id: u64, len: usize, mut rng: Rng) -> Stream {
    let frames = stream::unfold(0, move |at| {
        let chunk = rng.usize(1..4096).min(len - at);
        let pause = (rng.u8(..4) == 0).then(|| Duration::from_millis(rng.u64(..4)));
        async move {
            if chunk == 0 {
                return None;
            }
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
            Some((Ok(Frame::data(data(id, at, chunk))), at + chunk))
        }
    });
    StreamBody::new(frames).boxed_unsync()
}
