//! Request bodies that tell themselves from those of any other request.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use futures_util::stream;
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};

pub(crate) type Stream = UnsyncBoxBody<Bytes, Infallible>;

/// What stands at this place in the body of request `id`.
fn byte(id: u64, at: usize) -> u8 {
    (id as usize).wrapping_mul(31).wrapping_add(at ^ at >> 8) as u8
}

pub(crate) fn data(id: u64, from: usize, len: usize) -> Bytes {
    (from..from + len).map(|at| byte(id, at)).collect()
}

/// Whether `data` is what the body of request `id` has at this place.
pub(crate) fn is_of(id: u64, from: usize, data: &[u8]) -> bool {
    data.iter().enumerate().all(|(at, found)| *found == byte(id, from + at))
}

/// The body of request `id` in chunks, some of which take their time. It does not tell its size.
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
