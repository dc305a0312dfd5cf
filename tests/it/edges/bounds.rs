//! Tests of memory bounds.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::time::{sleep, timeout};
use tower::BoxError;
use tower_oauth2::replay::{ReplayBody, ReplayableBody};

use crate::support::*;

// C10
#[tokio::test(start_paused = true)]
async fn callers_that_give_up_leave_no_surplus_slots() {
    let source = ScriptedSource::new(|n, _| async move {
        sleep(secs(1)).await;
        Ok(hour(n))
    });
    let cache = builder(&source).capacity(2).build();
    for n in 0..50 {
        let cache = cache.clone();
        tokio::spawn(async move {
            let tenant = credentials().scope(format!("tenant-{n}"));
            let got = timeout(ms(10), cache.tokens(&tenant).get()).await;
            assert!(got.is_err(), "gave up");
        });
    }
    sleep(secs(600)).await;
    assert_eq!(source.count(), 50);
    assert!(cache.len() <= 2, "{}", cache.len());
}

/// The size of a buffer, much larger than any part of it that is sent.
const BUFFER: usize = 64 * 1024;

/// The memory behind a frame, counted while it exists.
struct Buffer {
    bytes: Box<[u8]>,
    alive: Arc<AtomicUsize>,
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Frames of one size, each a small part of its own large buffer.
struct Slices {
    left: usize,
    size: usize,
    alive: Arc<AtomicUsize>,
}

impl Body for Slices {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        self.alive.fetch_add(1, Ordering::SeqCst);
        let bytes = vec![self.left as u8; BUFFER].into_boxed_slice();
        let buffer = Bytes::from_owner(Buffer { bytes, alive: self.alive.clone() });
        Poll::Ready(Some(Ok(Frame::data(buffer.slice(..self.size)))))
    }
}

/// Sends as many frames of this size as the limit allows, and resends them. Returns how many
/// buffers were kept in between.
async fn buffers_held(size: usize) -> usize {
    const LIMIT: usize = 64 * 1024;
    let frames = (LIMIT / size).min(250);
    let alive = Arc::new(AtomicUsize::new(0));
    let mut body = ReplayBody::new(Slices { left: frames, size, alive: alive.clone() }, LIMIT);
    let kept = body.keep();
    let mut sent = Vec::new();
    while let Some(frame) = body.frame().await {
        sent.extend_from_slice(&frame.unwrap().into_data().unwrap());
    }
    assert_eq!(sent.len(), frames * size);
    let held = alive.load(Ordering::SeqCst);

    drop(body);
    let again = ReplayBody::replay(kept).unwrap().collect().await.unwrap().to_bytes();
    assert!(again == sent, "frames of {size} bytes");
    drop(again);
    assert_eq!(alive.load(Ordering::SeqCst), 0, "frames of {size} bytes");
    held
}

// R3
#[tokio::test]
async fn small_parts_of_large_buffers_are_copied() {
    for size in [1, 255, 256, 257, 1000, 4096, 8191] {
        assert_eq!(buffers_held(size).await, 0, "frames of {size} bytes");
    }
}

// R3
#[tokio::test]
async fn large_parts_are_not_copied() {
    for (size, frames) in [(8192, 8), (10_000, 6), (BUFFER, 1)] {
        assert_eq!(buffers_held(size).await, frames, "frames of {size} bytes");
    }
}
