/// A request body that can be given out a second time, byte for byte.
///
/// Every body that is [`Clone`] is one, such as [`Full`](http_body_util::Full) and
/// [`Empty`](http_body_util::Empty), and so is every [`ReplayBody`](super::ReplayBody), which a
/// [`ReplayableLayer`](super::ReplayableLayer) makes of any other.
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
#[diagnostic::on_unimplemented(
    message = "a request with a body of type `{Self}` can not be sent a second time",
    label = "this body can not be given out twice",
    note = "`OAuth2` sends a request again when its token is rejected: its body has to be `Clone`, or a `ReplayBody`",
    note = "put a `ReplayableLayer` outside the `OAuth2Layer`, and the body may be any `http_body::Body`"
)]
pub trait ReplayableBody: Sized {
    /// What is held back when the body goes out.
    type Kept;

    /// Holds back what a second body can be made of. Called before the body goes out.
    fn keep(&self) -> Self::Kept;

    /// The body once more; `None` when it can not be given out whole.
    fn replay(kept: Self::Kept) -> Option<Self>;
}

// Or the compiler would speak of `Clone` only, and not of what else there is.
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
