/// Sends a request body a second time, byte for byte.
///
/// The trait is implemented for every body that is [`Clone`], such as
/// [`Full`][`http_body_util::Full`] and [`Empty`][`http_body_util::Empty`], and for
/// [`ReplayBody`](super::ReplayBody). A [`ReplayableLayer`](super::ReplayableLayer) turns any other
/// body into a `ReplayBody`.
///
/// # Example
///
/// ```
/// use bytes::Bytes;
/// use http_body_util::Full;
/// use tower_oauth2::replay::ReplayableBody;
///
/// let body = Full::new(Bytes::from_static(b"once"));
/// let kept = body.keep();
/// drop(body);
/// assert!(ReplayableBody::replay(kept).is_some_and(|again: Full<Bytes>| {
///     http_body::Body::size_hint(&again).exact() == Some(4)
/// }));
/// ```
///
/// [`http_body_util::Empty`]: https://docs.rs/http-body-util/latest/http_body_util/struct.Empty.html
/// [`http_body_util::Full`]: https://docs.rs/http-body-util/latest/http_body_util/struct.Full.html
#[diagnostic::on_unimplemented(
    message = "a request with a body of type `{Self}` cannot be sent a second time",
    label = "this body cannot be sent twice",
    note = "`OAuth2` resends a request when its token is rejected, so its body must be `Clone` or a `ReplayBody`",
    note = "add a `ReplayableLayer` outside the `OAuth2Layer` to send any `http_body::Body`"
)]
pub trait ReplayableBody: Sized {
    /// Holds the data that is kept for a second body.
    type Kept;

    /// Returns the data for a second body, before the first body is sent.
    fn keep(&self) -> Self::Kept;

    /// Returns the second body, or `None` if it would not be complete.
    fn replay(kept: Self::Kept) -> Option<Self>;
}

// Without it, the compiler would suggest `Clone` only.
#[diagnostic::do_not_recommend]
impl<B: Clone> ReplayableBody for B {
    type Kept = Self;

    #[inline]
    fn keep(&self) -> Self {
        self.clone()
    }

    fn replay(kept: Self) -> Option<Self> {
        Some(kept)
    }
}
