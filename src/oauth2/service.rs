use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower::{BoxError, Service};
use tracing::field::display;

use super::admission::Admission;
use super::attempt::Attempt;
use super::config::LayerConfig;
use super::future::ResponseFuture;
use super::history::History;
use super::outgoing::Outgoing;
use super::pending_send::PendingSend;
use super::service_template::{ServiceTemplate, replace_with_unready};
use super::snapshot::Snapshot;
use super::state::State;
use super::target::{ServiceId, hash_origin};
use crate::cache::{IssuedToken, LocalToken, Requirements, TokenCache};
use crate::error::{TokenError, TokenErrorKind};
use crate::protocol::origin::Origin;
use crate::replay::ReplayableBody;
use crate::util::printable::Printable;

/// A service that sends each request with a valid token, and resends it if the token is rejected.
///
/// An [`OAuth2Layer`](crate::OAuth2Layer) makes it. The token replaces the `Authorization` header of
/// the request (RFC 6750 section 2.1). A request is sent unchanged if its extensions contain
/// [`NoToken`](crate::NoToken), if its origin is not listed in the layer's
/// [`Origins`](crate::Origins), or if its method is TRACE, because the response would show the token
/// (RFC 9110 section 9.3.8). [`Credentials`](crate::Credentials) in the extensions
/// replace the cache's own credentials for that request.
///
/// If the response rejects the token, the service drops the token, fetches another one, and resends
/// the request with the same method, URI, version, headers, extensions and body. The second response
/// has [`Replayed`](crate::replay::Replayed) in its extensions. If no other token is available, the call
/// fails with a [`TokenError`] whose [`rejected`](TokenError::rejected_response) is the first response.
///
/// A request that waits for a token holds neither a ready service nor a response. So the API and the
/// token endpoint can share one concurrency limit.
///
/// # Example
///
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::Empty;
/// use tower::{BoxError, Layer, ServiceExt, service_fn};
/// # use tower_oauth2::{
/// #     AccessToken, ClientAuth, Credentials, OAuth2Layer, Origins, TokenCache, TokenRequest,
/// # };
/// use tower_oauth2::replay::Replayed;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// # let number = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
/// # let source = service_fn(move |_: TokenRequest| {
/// #     let number = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
/// #     async move { AccessToken::new(number.to_string()) }
/// # });
/// # let credentials = Credentials::new("https://a.test", ClientAuth::none("id"))?;
/// # let layer = OAuth2Layer::new(TokenCache::new(credentials, source), Origins::only(["https://api.example.com"])?);
/// // An API that rejects the first token.
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
/// The inner service is cloned when a layer wraps it, when a request waits for a token, and when a
/// request is resent. Put a service that is not `Clone` behind a
/// [`Buffer`](https://docs.rs/tower/latest/tower/buffer/struct.Buffer.html). Clones share tokens.
///
/// # Errors
///
/// Returns the errors of the inner service. Returns a [`TokenError`] if no token is available, or if
/// a token would be sent in clear text. [`TokenError::find_in`] tells them apart.
#[derive(Clone)]
pub struct OAuth2<S> {
    inner: S,
    config: Arc<LayerConfig>,
    id: ServiceId,
    /// Made from `inner`. `None` after a caller may have changed `inner`.
    template: Option<Arc<ServiceTemplate<S>>>,
    local_token: LocalToken,
}

impl<S> OAuth2<S> {
    pub(super) fn new(inner: S, config: Arc<LayerConfig>) -> Self
    where
        S: Clone,
    {
        let id = ServiceId::next();
        let template = Some(ServiceTemplate::new(config.clone(), id, &inner));
        Self { inner, config, id, template, local_token: LocalToken::default() }
    }

    /// Returns the cache that the tokens come from.
    pub fn tokens(&self) -> &TokenCache {
        &self.config.tokens
    }

    /// Returns a reference to the inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns a mutable reference to the inner service.
    pub fn get_mut(&mut self) -> &mut S {
        self.template = None;
        &mut self.inner
    }

    /// Returns the inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }

    /// Returns the template, and makes it again if a caller may have changed the inner service.
    #[inline]
    fn template(&mut self) -> Arc<ServiceTemplate<S>>
    where
        S: Clone,
    {
        let template = self
            .template
            .get_or_insert_with(|| ServiceTemplate::new(self.config.clone(), self.id, &self.inner));
        template.clone()
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
        let config = &*self.config;
        let token = match config.admit(&request, &mut self.local_token) {
            Admission::Hit(token) => token,
            Admission::Miss => return self.send_later(request),
            Admission::Bypass => return self.forward(request),
            Admission::NotListed => {
                return self.forward_without_token(request, "its origin is not listed");
            }
            Admission::Echoed => {
                return self.forward_without_token(request, "its response would show the token");
            }
            Admission::Insecure => return self.refuse(request),
        };
        if token.needs_proof() {
            let token = token.to_token();
            return self.send_with_proof(request, token);
        }
        if config.policy.is_never() {
            config.insert_token_inline(request.headers_mut(), token.header());
            // A token that is borrowed from the slot must be given back before user code runs.
            drop(token);
            let response = self.inner.call(request);
            return ResponseFuture::new(State::Forward { response });
        }
        let snapshot = Snapshot::of(&request);
        config.insert_token(request.headers_mut(), token.header());
        let issue = token.issue();
        drop(token);
        let response = self.inner.call(request);
        let attempt = Attempt::first(self.template(), snapshot, issue);
        ResponseFuture::new(State::InFlight { response, attempt })
    }
}

impl<S> OAuth2<S> {
    /// Sends a request whose token needs a DPoP proof.
    #[cold]
    fn send_with_proof<B, ResBody>(
        &mut self,
        request: Request<B>,
        token: Arc<IssuedToken>,
    ) -> ResponseFuture<S, B>
    where
        S: Service<Request<B>, Response = Response<ResBody>> + Clone,
        B: ReplayableBody,
    {
        let history = History::new(Requirements::default());
        let outgoing = Outgoing { template: self.template(), request, history };
        ResponseFuture::new(outgoing.send(&mut self.inner, token))
    }

    /// Waits for a token, and then sends the request.
    #[cold]
    fn send_later<B, ResBody>(&mut self, request: Request<B>) -> ResponseFuture<S, B>
    where
        S: Service<Request<B>, Response = Response<ResBody>> + Clone,
        B: ReplayableBody,
    {
        replace_with_unready(&mut self.inner);
        let origin = hash_origin(request.uri(), self.id);
        let required = Requirements { origin: Some(origin), ..Requirements::default() };
        let history = History::new(required);
        let outgoing = Outgoing { template: self.template(), request, history };
        let pending = PendingSend::new(self.inner.clone(), outgoing, None);
        ResponseFuture::new(State::Acquiring { pending: Box::new(pending) })
    }

    /// Sends a request unchanged.
    #[cold]
    fn forward<B, ResBody>(&mut self, request: Request<B>) -> ResponseFuture<S, B>
    where
        S: Service<Request<B>, Response = Response<ResBody>> + Clone,
        B: ReplayableBody,
    {
        ResponseFuture::new(State::Forward { response: self.inner.call(request) })
    }

    /// Sends a request unchanged, and logs the reason.
    #[cold]
    fn forward_without_token<B, ResBody>(
        &mut self,
        request: Request<B>,
        reason: &'static str,
    ) -> ResponseFuture<S, B>
    where
        S: Service<Request<B>, Response = Response<ResBody>> + Clone,
        B: ReplayableBody,
    {
        let origin = Origin::of(request.uri()).map(|origin| display(Printable(origin)));
        tracing::debug!(origin, reason, "a request gets no token");
        self.forward(request)
    }

    /// Fails a request, because its token would cross a network in clear text.
    #[cold]
    fn refuse<B, ResBody>(&mut self, request: Request<B>) -> ResponseFuture<S, B>
    where
        S: Service<Request<B>, Response = Response<ResBody>> + Clone,
        B: ReplayableBody,
    {
        replace_with_unready(&mut self.inner);
        let error = TokenError::new(TokenErrorKind::InsecureUri, "");
        let error = match Origin::of(request.uri()) {
            Some(api) => error.with_api(api),
            None => error,
        };
        ResponseFuture::new(State::Failed { error: error.into() })
    }
}

impl<S: fmt::Debug> fmt::Debug for OAuth2<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuth2")
            .field("inner", &self.inner)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
