//! Polls two futures in one task.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

/// Returns the output of `work`, or `None` if `end` is ready before.
///
/// `work` is polled first, so that it wins when both are ready.
pub(crate) async fn run_until<T>(
    end: impl Future<Output = ()>,
    work: impl Future<Output = T>,
) -> Option<T> {
    let (mut end, mut work) = (pin!(end), pin!(work));
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => end.as_mut().poll(cx).map(|()| None),
    })
    .await
}

/// Returns the output of `work`, and polls `background` until then.
pub(crate) async fn run_beside<T>(
    background: impl Future<Output = Infallible>,
    work: impl Future<Output = T>,
) -> T {
    let (mut background, mut work) = (pin!(background), pin!(work));
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(output),
        Poll::Pending => background.as_mut().poll(cx).map(|never| match never {}),
    })
    .await
}
