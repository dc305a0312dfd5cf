use http::{Extensions, Request, request};

use crate::cache::Tokens;
#[cfg(any(feature = "reqwest", feature = "tonic"))]
use crate::credentials::Credentials;

/// Marks a request that an [`OAuth2Layer`](crate::OAuth2Layer) sends unchanged.
///
/// [`RequestExt::no_token`] puts it into the extensions of a request.
///
/// An outer layer that sends its own requests decides whether they keep the extensions. For
/// example, tower-http's `FollowRedirect` drops them when a redirect leads to another origin, and
/// before version 0.7 with every redirect. If that origin is listed in the layer's
/// [`Origins`](crate::Origins), the new request gets the layer's own token. In a layer made with
/// [`per_request`](crate::OAuth2Layer::per_request), it fails.
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

mod sealed {
    pub trait Sealed {}
}

/// Names the tokens of a request, on requests and their builders.
///
/// The tokens are in the extensions of the request. An outer layer may send a new request without
/// them. tower-http's `FollowRedirect`, for example, does so after a redirect to another origin. A
/// layer made with [`per_request`](crate::OAuth2Layer::per_request) refuses a request without
/// tokens to a listed origin. A layer made with [`new`](crate::OAuth2Layer::new) would send its own
/// token, so do not use it for tenants. To keep the tokens across listed origins, allow the
/// extension in the redirect policy (`FilterCredentials::allow_extension::<Tokens>`).
///
/// # Example
///
/// ```
/// use http::Request;
/// use tower_oauth2::{RequestExt, Tokens};
///
/// fn requests(tenant: &Tokens) -> http::Result<[Request<()>; 2]> {
///     Ok([
///         Request::get("https://api.example.com/things").tokens(tenant).body(())?,
///         Request::get("https://api.example.com/health").no_token().body(())?,
///     ])
/// }
/// # let tokens = Tokens::fixed(tower_oauth2::AccessToken::new("t").unwrap());
/// # assert!(requests(&tokens).unwrap()[0].extensions().get::<Tokens>().is_some());
/// ```
pub trait RequestExt: sealed::Sealed + Sized {
    /// Sends the request with `tokens` instead of the layer's own tokens.
    #[must_use]
    fn tokens(self, tokens: &Tokens) -> Self;

    /// Sends the request unchanged, without a token.
    #[must_use]
    fn no_token(self) -> Self;
}

impl<B> sealed::Sealed for Request<B> {}

impl<B> RequestExt for Request<B> {
    fn tokens(mut self, tokens: &Tokens) -> Self {
        set_tokens(self.extensions_mut(), tokens);
        self
    }

    fn no_token(mut self) -> Self {
        set_no_token(self.extensions_mut());
        self
    }
}

impl sealed::Sealed for request::Builder {}

// A builder with an error has no extensions. It returns the error when it is built.
impl RequestExt for request::Builder {
    fn tokens(mut self, tokens: &Tokens) -> Self {
        if let Some(extensions) = self.extensions_mut() {
            set_tokens(extensions, tokens);
        }
        self
    }

    fn no_token(mut self) -> Self {
        if let Some(extensions) = self.extensions_mut() {
            set_no_token(extensions);
        }
        self
    }
}

#[cfg(feature = "reqwest-middleware")]
impl sealed::Sealed for reqwest_middleware::RequestBuilder {}

#[cfg(feature = "reqwest-middleware")]
#[cfg_attr(docsrs, doc(cfg(feature = "reqwest-middleware")))]
impl RequestExt for reqwest_middleware::RequestBuilder {
    fn tokens(mut self, tokens: &Tokens) -> Self {
        set_tokens(self.extensions(), tokens);
        self
    }

    fn no_token(mut self) -> Self {
        set_no_token(self.extensions());
        self
    }
}

#[cfg(feature = "tonic")]
impl<T> sealed::Sealed for tonic::Request<T> {}

// tonic sends the extensions of a request along with the call.
#[cfg(feature = "tonic")]
#[cfg_attr(docsrs, doc(cfg(feature = "tonic")))]
impl<T> RequestExt for tonic::Request<T> {
    fn tokens(mut self, tokens: &Tokens) -> Self {
        set_tokens(self.extensions_mut(), tokens);
        self
    }

    fn no_token(mut self) -> Self {
        set_no_token(self.extensions_mut());
        self
    }
}

/// Adds the tokens of a client to a request that names none.
///
/// A request with credentials keeps them for the layer, which refuses this mistake: its caller
/// wants tokens of other credentials.
#[cfg(any(feature = "reqwest", feature = "tonic"))]
pub(crate) fn add_tokens<B>(request: Request<B>, tokens: Option<&Tokens>) -> Request<B> {
    let extensions = request.extensions();
    let is_named = extensions.get::<Tokens>().is_some()
        || extensions.get::<NoToken>().is_some()
        || extensions.get::<Credentials>().is_some();
    match tokens {
        Some(tokens) if !is_named => request.tokens(tokens),
        _ => request,
    }
}

fn set_tokens(extensions: &mut Extensions, tokens: &Tokens) {
    extensions.remove::<NoToken>();
    extensions.insert(tokens.clone());
}

fn set_no_token(extensions: &mut Extensions) {
    extensions.remove::<Tokens>();
    extensions.insert(NoToken);
}
