use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower::{BoxError, Service};

use crate::cache::{AtHand, Grant, TokenCache};
use crate::credentials::ClientCredentials;
use crate::error::{TokenError, TokenErrorKind};
use crate::future::{Exchange, Kept, ResponseFuture, Spare, release};
use crate::origin::{Origin, UriClass};
use crate::replay::ReplayableBody;
use crate::shared::{NoToken, Shared};

/// Lets every request leave with a valid token; made by an [`OAuth2Layer`](crate::OAuth2Layer).
///
/// The token replaces whatever the request has in its `Authorization` header (RFC 6750 section
/// 2.1). [`ClientCredentials`] in the extensions of a request take the place of the cache's own,
/// [`NoToken`] lets it through as it is, and so does an origin that is not among the layer's.
///
/// When the response rejects the token, that token is dropped, another one taken, and the request
/// sent once more: same method, URI, version, headers, extensions and body. Whatever comes then is
/// returned, with [`Replayed`](crate::Replayed) in its extensions. When no token can be had for
/// that, the error tells what the API said in [`TokenError::rejected`].
///
/// While it waits for a token it holds nothing: neither a service that is ready nor a response. So
/// API and token endpoint may sit behind one concurrency limit.
///
/// # Example
///
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::Empty;
/// use tower::{BoxError, Layer, ServiceExt, service_fn};
/// # use tower_oauth2::{AccessToken, ClientAuth, ClientCredentials, OAuth2Layer, Origins, TokenCache, TokenRequest};
/// use tower_oauth2::Replayed;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// # let number = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
/// # let source = service_fn(move |_: TokenRequest| {
/// #     let number = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
/// #     async move { AccessToken::new(number.to_string()) }
/// # });
/// # let credentials = ClientCredentials::new("https://a.test", ClientAuth::none("id"))?;
/// # let layer = OAuth2Layer::new(TokenCache::new(credentials, source), Origins::only(["https://api.example.com"])?);
/// // An API for which the first token is no good any more.
/// let http = service_fn(|request: Request<Empty<Bytes>>| async move {
///     let is_good = request.headers()["authorization"] != "Bearer 0";
///     let status = if is_good { 200 } else { 401 };
///     Ok::<_, BoxError>(Response::builder().status(status).body(())?)
/// });
/// let api = layer.layer(http);
///
/// let request = Request::get("https://api.example.com/things").body(Empty::new())?;
/// let response = api.oneshot(request).await?;
/// assert_eq!(response.status(), 200);
/// assert_eq!(response.extensions().get(), Some(&Replayed::Yes));
/// # Ok(())
/// # }
/// ```
///
/// # Clone
///
/// The inner service is cloned when a layer is put around it, when a request has to wait for a token,
/// and when one is sent again. One that is not `Clone` goes behind a
/// [`Buffer`](https://docs.rs/tower/latest/tower/buffer/struct.Buffer.html). Clones share tokens.
///
/// # Errors
///
/// The inner service's own, and a [`TokenError`] when no token can be had or a token would be sent
/// in clear text; [`TokenError::find_in`] tells them apart.
#[derive(Clone)]
pub struct OAuth2<S> {
    inner: S,
    shared: Arc<Shared>,
    /// Of `inner` as it is; none after it may have changed.
    spare: Option<Arc<Spare<S>>>,
    at_hand: AtHand,
}

impl<S> OAuth2<S> {
    pub(crate) fn new(inner: S, shared: Arc<Shared>) -> Self
    where
        S: Clone,
    {
        let spare = Some(Spare::new(shared.clone(), &inner));
        Self { inner, shared, spare, at_hand: AtHand::default() }
    }

    /// Where the tokens come from.
    pub fn tokens(&self) -> &TokenCache {
        &self.shared.tokens
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub fn get_mut(&mut self) -> &mut S {
        self.spare = None;
        &mut self.inner
    }

    /// The inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, B, ResBody> Service<Request<B>> for OAuth2<S>
where
    S: Service<Request<B>, Response = Response<ResBody>> + Clone,
    S::Error: Into<BoxError>,
    B: ReplayableBody,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = ResponseFuture<S, B>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    #[inline]
    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let shared = &*self.shared;
        let Some(hit) = shared.grant_at_once(&request, &mut self.at_hand) else {
            return self.call_otherwise(request);
        };
        if hit.needs_proof() {
            let grant = hit.grant();
            return self.call_with_proof(request, grant);
        }
        if shared.policy.is_never() {
            shared.decorate_inline(request.headers_mut(), hit.header());
            drop(hit);
            return ResponseFuture::passing(self.inner.call(request));
        }
        let kept = Kept::of(&request);
        shared.decorate(request.headers_mut(), hit.header());
        let number = hit.number();
        drop(hit);
        let future = self.inner.call(request);
        let spare = spare(&mut self.spare, &self.shared, &self.inner).clone();
        ResponseFuture::calling(future, Exchange::new(spare, kept, number))
    }
}

impl<S> OAuth2<S> {
    /// Sends a request whose token goes with a proof.
    #[cold]
    fn call_with_proof<B, ResBody>(
        &mut self,
        request: Request<B>,
        grant: Grant,
    ) -> ResponseFuture<S, B>
    where
        S: Service<Request<B>, Response = Response<ResBody>> + Clone,
        B: ReplayableBody,
    {
        let spare = spare(&mut self.spare, &self.shared, &self.inner).clone();
        ResponseFuture::proven(&mut self.inner, spare, request, grant)
    }

    /// Sends a request that is to have no token, or has to wait for one.
    #[cold]
    fn call_otherwise<B, ResBody>(&mut self, request: Request<B>) -> ResponseFuture<S, B>
    where
        S: Service<Request<B>, Response = Response<ResBody>> + Clone,
        B: ReplayableBody,
    {
        let shared = &*self.shared;
        let extensions = request.extensions();
        let named = extensions.get::<ClientCredentials>();
        if extensions.get::<NoToken>().is_some() {
            return ResponseFuture::passing(self.inner.call(request));
        }
        match shared.classify(request.uri(), named) {
            UriClass::NotListed => {
                let origin = Origin::of(request.uri()).map(tracing::field::display);
                tracing::debug!(origin, "a request to an origin that is not listed gets no token");
                ResponseFuture::passing(self.inner.call(request))
            }
            UriClass::Insecure => {
                release(&mut self.inner);
                let error = TokenError::new(TokenErrorKind::InsecureUri, "");
                let error = match Origin::of(request.uri()) {
                    Some(api) => error.with_api(api),
                    None => error,
                };
                ResponseFuture::failed(error.into())
            }
            UriClass::Secure => {
                release(&mut self.inner);
                let token = Box::pin(shared.tokens.grant(named));
                let spare = spare(&mut self.spare, &self.shared, &self.inner).clone();
                ResponseFuture::waiting(self.inner.clone(), spare, request, token)
            }
        }
    }
}

/// The spare of a service, made anew if the service may have changed.
#[inline]
fn spare<'a, S: Clone>(
    spare: &'a mut Option<Arc<Spare<S>>>,
    shared: &Arc<Shared>,
    service: &S,
) -> &'a Arc<Spare<S>> {
    spare.get_or_insert_with(|| Spare::new(shared.clone(), service))
}

impl<S: fmt::Debug> fmt::Debug for OAuth2<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuth2")
            .field("inner", &self.inner)
            .field("shared", &self.shared)
            .finish_non_exhaustive()
    }
}
