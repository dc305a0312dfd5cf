use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower::{BoxError, Service};

use super::admission::Admission;
use super::attempt::Attempt;
use super::config::LayerConfig;
use super::earlier_sends::EarlierSends;
use super::future::ResponseFuture;
use super::http_service::HttpService;
use super::no_token_sent::NoTokenSent;
use super::outgoing::Outgoing;
use super::pending_send::PendingSend;
use super::service_template::{ServiceTemplate, replace_with_unready};
use super::snapshot::Snapshot;
use super::state::State;
use super::target::{ServiceId, hash_origin};
use crate::cache::{IssuedToken, LocalToken, Requirements, Tokens};
use crate::error::{TokenError, TokenErrorKind};
use crate::metrics;
use crate::protocol::origin::Origin;
use crate::replay::ReplayableBody;

/// Sends each request with a valid token, and resends it after a rejection.
///
/// An [`OAuth2Layer`](crate::OAuth2Layer) makes it. The token replaces the `Authorization` header
/// of the request (RFC 6750 section 2.1). A request is sent unchanged if its extensions contain
/// [`NoToken`](crate::NoToken), if its origin is not listed in the layer's
/// [`Origins`](crate::Origins), or if its method is TRACE, because the response would show the
/// token (RFC 9110 section 9.3.8). [`Tokens`] in the extensions ([`RequestExt`](crate::RequestExt))
/// replace the layer's own tokens for that request. They are lost if an outer layer sends a request
/// without them, as tower-http's `FollowRedirect` does across origins. See
/// [`per_request`](crate::OAuth2Layer::per_request).
///
/// A request with a `grpc-timeout` header, or a reqwest request with a timeout, waits for a token
/// no longer than that. A CONNECT request gets a token only in `Proxy-Authorization`
/// ([`header_name`](crate::OAuth2Layer::header_name)).
///
/// If the response rejects the token, the service drops the token, fetches another one, and resends
/// the request with the same method, URI, version, headers, extensions and body. The last
/// response has [`Replayed`](crate::replay::Replayed) in its extensions. If no other token is
/// available, the call fails with a [`TokenError`] that has the first response
/// ([`rejected_response`](TokenError::rejected_response)).
///
/// A request that waits for a token holds neither a ready service nor a response. So the API and
/// the token endpoint can share one concurrency limit. The guarantees
/// [R1](crate::guide::guarantees#r1) to [R10](crate::guide::guarantees#r10) state exactly when and
/// how a request is resent.
///
/// # Example
///
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::Empty;
/// use tower::{BoxError, Layer, ServiceExt, service_fn};
/// # use tower_oauth2::{
/// #     AccessToken, ClientAuth, Credentials, OAuth2Layer, Origins, TokenRequest, Tokens,
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
/// # let origins = Origins::only("https://api.example.com")?;
/// # let layer = OAuth2Layer::new(Tokens::new(credentials, source), origins);
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
/// Returns the errors of the inner service. Returns a [`TokenError`] if no token is available, or
/// if a token would be sent in clear text. [`TokenError::find_in`] tells them apart.
#[derive(Clone)]
pub struct OAuth2<S> {
    inner: S,
    config: Arc<LayerConfig>,
    id: ServiceId,
    /// The template of `inner`, or `None` after a caller may have changed `inner`.
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

    /// Returns the layer's own tokens.
    pub fn tokens(&self) -> Option<&Tokens> {
        self.config.tokens.as_ref()
    }

    /// Sends a request with a clone of this service once the clone is ready.
    ///
    /// It works like tower's `oneshot`, and clones the service for you.
    ///
    /// # Errors
    ///
    /// Returns the errors of the inner service, and a [`TokenError`] if no token is available or if
    /// a token would be sent in clear text.
    ///
    /// # Example
    ///
    /// ```
    /// # use tower::service_fn;
    /// use bytes::Bytes;
    /// use http::Request;
    /// use http_body_util::Full;
    /// use tower_oauth2::{AccessToken, BoxError, OAuth2Layer, Origins, Tokens};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), BoxError> {
    /// # let http = service_fn(|_: Request<Full<Bytes>>| async {
    /// #     Ok::<_, BoxError>(http::Response::new(()))
    /// # });
    /// # let tokens = Tokens::fixed(AccessToken::new("t")?);
    /// let api = OAuth2Layer::new(tokens, Origins::only("https://api.example.com")?).layer(http);
    ///
    /// let request = Request::get("https://api.example.com/things").body(Full::default())?;
    /// let response = api.send(request).await?;
    /// # assert_eq!(response.status(), 200);
    /// # Ok(())
    /// # }
    /// ```
    pub fn send<B>(
        &self,
        request: Request<B>,
    ) -> impl Future<Output = Result<Response<S::ResponseBody>, BoxError>> + use<S, B>
    where
        B: ReplayableBody,
        S: HttpService<B>,
    {
        let mut service = self.clone();
        async move {
            poll_fn(|cx| service.poll_ready(cx)).await?;
            service.call(request).await
        }
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

    /// Returns the template, which is recreated if a caller may have changed the service.
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
    /// Resolves to the response to the last send.
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
            Admission::NoToken(reason) => return self.forward_without_token(request, reason),
            Admission::UnknownOrigin => return self.refuse(request, TokenErrorKind::UnknownOrigin),
            Admission::Insecure => return self.refuse(request, TokenErrorKind::InsecureUri),
            Admission::NoTokens => return self.refuse(request, TokenErrorKind::NoTokens),
        };
        if token.needs_proof() {
            let token = token.to_token();
            return self.send_with_proof(request, token);
        }
        if config.policy.is_never() {
            config.insert_token_inline(request.headers_mut(), token.issued());
            // A token that is borrowed from the slot must be given back before user code runs.
            drop(token);
            let response = self.inner.call(request);
            return ResponseFuture::new(State::Forward { response });
        }
        let snapshot = Snapshot::new(&request);
        config.insert_token(request.headers_mut(), token.issued());
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
        let earlier_sends = EarlierSends::new(Requirements::default());
        let outgoing = Outgoing { template: self.template(), request, earlier_sends };
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
        let earlier_sends = EarlierSends::new(required);
        let outgoing = Outgoing { template: self.template(), request, earlier_sends };
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

    /// Sends a request unchanged, and reports the reason (R10).
    #[cold]
    fn forward_without_token<B, ResBody>(
        &mut self,
        request: Request<B>,
        reason: NoTokenSent,
    ) -> ResponseFuture<S, B>
    where
        S: Service<Request<B>, Response = Response<ResBody>> + Clone,
        B: ReplayableBody,
    {
        let tokens = self.config.tokens_for(request.extensions());
        self.config.warned_origins.report(request.uri(), tokens, reason);
        ResponseFuture::new(State::WithoutToken { response: self.inner.call(request), reason })
    }

    /// Fails a request that must not be sent.
    #[cold]
    fn refuse<B, ResBody>(
        &mut self,
        request: Request<B>,
        kind: TokenErrorKind,
    ) -> ResponseFuture<S, B>
    where
        S: Service<Request<B>, Response = Response<ResBody>> + Clone,
        B: ReplayableBody,
    {
        replace_with_unready(&mut self.inner);
        // The error of a request that names no tokens must not show the label of the layer's
        // tokens.
        let tokens = match kind {
            TokenErrorKind::NoTokens => None,
            _ => self.config.tokens_for(request.extensions()),
        };
        let label = tokens.and_then(|tokens| tokens.credentials().label_if_set());
        let error = TokenError::new(kind, "").with_label(label);
        let error = match Origin::from_uri(request.uri()) {
            Some(api) => error.with_api(api),
            None => error,
        };
        metrics::failed_request(&error, &tokens.and_then(Tokens::metric_label));
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
