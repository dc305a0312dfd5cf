/// Marks a request that must be sent without a token.
///
/// Insert it into the request's [extensions](http::Request::extensions). The request is then sent
/// unchanged, and it is not resent if it is rejected.
///
/// An outer layer that sends its own requests decides whether they keep the extensions. For example,
/// tower-http's `FollowRedirect` drops them when a redirect leads to another origin. If that origin
/// is listed in the layer's [`Origins`](crate::Origins), the new request gets the cache's own token.
///
/// # Example
///
/// ```
/// use tower_oauth2::NoToken;
///
/// let mut request = http::Request::get("https://api.example.com/health").body(())?;
/// request.extensions_mut().insert(NoToken);
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_structs, reason = "callers create the value by its name")]
pub struct NoToken;
