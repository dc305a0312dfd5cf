use std::fmt;
use std::task::{Context, Poll};

use http::{Request, Response};
use tonic::body::Body;
use tonic::transport::Channel;
use tower::{BoxError, Layer, Service};

use super::future::ChannelFuture;
use super::into_tonic::IntoTonic;
use crate::cache::Tokens;
use crate::oauth2::{OAuth2, OAuth2Layer, add_tokens};
use crate::replay::{Replayable, ReplayableLayer};

/// Sends each gRPC call with a valid token, and resends it after a rejection.
///
/// Generated clients take it instead of a [`Channel`]. A clone is cheap, and shares the connection
/// and the tokens.
///
/// A call is resent after the gRPC status `UNAUTHENTICATED` in the headers of the response, that
/// is, if the server refused the call before it began, and after the responses that the layer's
/// [policy](crate::OAuth2Layer::replay_policy) names: any HTTP 401, by default. With
/// [`ReplayPolicy::never`](crate::replay::ReplayPolicy::never), no call is resent. The messages of
/// a call are remembered as they are sent, up to [a limit](Self::replay_limit).
///
/// If no token is available, the call ends with a [`tonic::Status`] whose source is the
/// [`TokenError`](crate::TokenError). [`TokenError::find_in`](crate::TokenError::find_in) finds it:
///
/// | status | when |
/// |---|---|
/// | `UNAUTHENTICATED` | the token endpoint refuses the credentials (401, 403, `invalid_client`, `invalid_grant`, `unauthorized_client`, `access_denied`), or the API has rejected each new token |
/// | `UNAVAILABLE` | the token endpoint is down, slow or overloaded, or does not answer as one; a secret could not be read; a custom source failed; and during the back-off after these |
/// | `DEADLINE_EXCEEDED` | the timeout of the call ended while it waited for a token |
/// | `FAILED_PRECONDITION` | something has to be corrected first: other error codes such as `invalid_scope`, an endpoint or a token that cannot be used, plain HTTP, a call without tokens |
/// | `INTERNAL` | the call is made outside of a tokio runtime with a timer |
///
/// Errors of the channel are unchanged.
///
/// # Example
///
/// ```no_run
/// use tonic::transport::Endpoint;
/// use tonic_health::pb::HealthCheckRequest;
/// use tonic_health::pb::health_client::HealthClient;
/// use tower_oauth2::grpc::AuthorizedChannel;
/// use tower_oauth2::{BoxError, OAuth2Layer, Origins, Tokens};
///
/// async fn check(tokens: Tokens) -> Result<(), BoxError> {
///     let channel = Endpoint::new("https://api.example.com")?.connect_lazy();
///     let layer = OAuth2Layer::new(tokens, Origins::only("https://api.example.com")?);
///     let mut health = HealthClient::new(AuthorizedChannel::new(channel, layer));
///     health.check(HealthCheckRequest::default()).await?;
///     Ok(())
/// }
/// # let _ = check;
/// ```
///
/// [`Channel`]: https://docs.rs/tonic/latest/tonic/transport/struct.Channel.html
/// [`tonic::Status`]: https://docs.rs/tonic/latest/tonic/struct.Status.html
#[derive(Clone)]
pub struct AuthorizedChannel<C = Channel> {
    service: Replayable<OAuth2<IntoTonic<C>>>,
    /// The tokens of calls that name none.
    tokens: Option<Tokens>,
}

impl<C: Clone> AuthorizedChannel<C> {
    /// Creates a channel that sends the tokens of `layer` over `channel`.
    ///
    /// `channel` is a [`Channel`], or a service around one that takes [`tonic::body::Body`].
    ///
    /// [`Channel`]: https://docs.rs/tonic/latest/tonic/transport/struct.Channel.html
    /// [`tonic::body::Body`]: https://docs.rs/tonic/latest/tonic/body/struct.Body.html
    pub fn new(channel: C, layer: OAuth2Layer) -> Self {
        let service = layer.for_grpc().layer(IntoTonic(channel));
        Self { service: ReplayableLayer::new().layer(service), tokens: None }
    }

    /// Returns a channel that sends calls with `tokens`, such as those of a tenant.
    ///
    /// It shares the connection. A call that names its own tokens or [`NoToken`](crate::NoToken),
    /// with [`RequestExt`](crate::RequestExt) on a [`tonic::Request`], keeps them.
    ///
    /// # Example
    ///
    /// ```
    /// use tonic_health::pb::health_client::HealthClient;
    /// use tower_oauth2::Tokens;
    /// use tower_oauth2::grpc::AuthorizedChannel;
    ///
    /// fn client(channel: &AuthorizedChannel, tenant: &Tokens) -> HealthClient<AuthorizedChannel> {
    ///     HealthClient::new(channel.with_tokens(tenant))
    /// }
    /// # let _ = client;
    /// ```
    ///
    /// [`tonic::Request`]: https://docs.rs/tonic/latest/tonic/struct.Request.html
    #[must_use]
    pub fn with_tokens(&self, tokens: &Tokens) -> Self {
        Self { service: self.service.clone(), tokens: Some(tokens.clone()) }
    }

    /// Sets how many bytes of a call's messages are remembered for a resend.
    ///
    /// The default is 64 KiB ([`ReplayableLayer::DEFAULT_LIMIT`]).
    #[must_use]
    pub fn replay_limit(self, limit: usize) -> Self {
        let service = self.service.into_inner();
        Self { service: ReplayableLayer::new().limit(limit).layer(service), tokens: self.tokens }
    }
}

impl<C, ResBody> Service<Request<Body>> for AuthorizedChannel<C>
where
    C: Service<Request<Body>, Response = Response<ResBody>> + Clone,
    C::Error: Into<BoxError>,
{
    type Response = Response<ResBody>;
    type Error = BoxError;
    /// Resolves to the response, or to the status of a failed token request.
    type Future = ChannelFuture<C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> ChannelFuture<C> {
        let request = add_tokens(request, self.tokens.as_ref());
        ChannelFuture::new(self.service.call(request))
    }
}

impl<C: fmt::Debug> fmt::Debug for AuthorizedChannel<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let oauth2 = self.service.get_ref();
        f.debug_struct("AuthorizedChannel")
            .field("channel", &oauth2.get_ref().0)
            .field("tokens", &self.tokens.as_ref().or(oauth2.tokens()))
            .finish_non_exhaustive()
    }
}
