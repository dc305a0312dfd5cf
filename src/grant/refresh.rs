use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::sleep;
use tower::{BoxError, Layer, Service, ServiceExt};
use tracing::Instrument;

use crate::error::{ConfigError, TokenError, TokenErrorKind};
use crate::refresh_token::{RefreshToken, Turn};
use crate::request::TokenRequest;
use crate::token::AccessToken;

/// How long an exchange goes on that nobody waits for any more.
const GRACE: Duration = Duration::from_secs(60);

/// How often one exchange is made again because another refresh token was set meanwhile.
const MOST_REPEATS: u32 = 3;

/// Asks with a user's refresh token, where the credentials have one, and keeps the one that comes in its place (RFC 6749
/// section 6). What is asked with other credentials goes through as it is.
///
/// An exchange runs in a task of its own: a caller that is dropped or times out does not lose a rotated
/// token. A caller that is dropped before its turn asks for nothing, and an exchange that nobody waits for any more is given up
/// after 60 seconds.
///
/// Its place is right around the token endpoint. [`RetryLayer`](tower::retry::RetryLayer) goes outside of it, as a second
/// try is to begin with the refresh token of then; so does [`StoreLayer`](crate::StoreLayer), where access tokens are found
/// under the refresh token's name. A refresh token is never put into a store.
///
/// # Errors
///
/// A [`TokenError`]. An [`error`](TokenError::error) of `invalid_grant` means that the user has to authorize
/// again; it is not transient, so a cache asks again only now and then, or at once after
/// [`RefreshToken::set`].
///
/// # Example
///
/// One cache for many users:
///
/// ```
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use bytes::Bytes;
/// use tower::{BoxError, ServiceBuilder, service_fn};
/// use tower_oauth2::{
///     ClientAuth, ClientCredentials, RefreshToken, RefreshTokenLayer, RotatedToken, TokenCache,
///     TokenEndpoint,
/// };
///
/// async fn persist(rotated: RotatedToken) -> std::io::Result<()> {
///     // update users set refresh_token = {rotated.secret()} where id = {rotated.name()}
///     # let _ = rotated;
///     Ok(())
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// # let http = service_fn(|_: Request<Full<Bytes>>| async {
/// #     let body = r#"{"access_token":"t","refresh_token":"r2"}"#;
/// #     Ok::<_, BoxError>(Response::new(Full::<Bytes>::from(body)))
/// # });
/// let source =
///     ServiceBuilder::new().layer(RefreshTokenLayer::new()).service(TokenEndpoint::new(http));
///
/// let auth = ClientAuth::client_secret_basic("client-id", "s3cr3t");
/// let own = ClientCredentials::new("https://auth.example.com/token", auth)?;
/// let tokens = TokenCache::new(own.clone(), source);
///
/// // Or in a request's extensions.
/// let alf = own.refresh_token(RefreshToken::new("user 17", "from-when-alf-authorized", persist));
/// assert_eq!(tokens.get_for(&alf).await?.secret(), "t");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct RefreshTokenLayer;

impl RefreshTokenLayer {
    /// The layer. There is nothing to set.
    pub fn new() -> Self {
        Self
    }
}

impl<S> Layer<S> for RefreshTokenLayer {
    type Service = Refresh<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Refresh { inner }
    }
}

/// Asks with refresh tokens; made by a [`RefreshTokenLayer`].
#[derive(Clone)]
pub struct Refresh<S> {
    inner: S,
}

impl<S> Refresh<S> {
    /// The service inside.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service inside.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The service inside.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S> Service<TokenRequest> for Refresh<S>
where
    S: Service<TokenRequest, Response = AccessToken> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError> + Send,
{
    type Response = AccessToken;
    type Error = TokenError;
    type Future = Pin<Box<dyn Future<Output = Result<AccessToken, TokenError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // The inner service is made ready when it is this request's turn: nothing is held until then.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: TokenRequest) -> Self::Future {
        let inner = self.inner.clone();
        let Some(token) = request.credentials().refresh_token_to_use().cloned() else {
            return Box::pin(ask(inner, request));
        };
        Box::pin(async move {
            let Ok(runtime) = Handle::try_current() else {
                return Err(TokenError::new(TokenErrorKind::NoRuntime, ""));
            };
            let (caller, outcome) = oneshot::channel();
            runtime.spawn(serve(inner, request, token, caller).in_current_span());
            let interrupted = |_| Err(TokenError::new(TokenErrorKind::Interrupted, ""));
            outcome.await.unwrap_or_else(interrupted)
        })
    }
}

/// Waits for its turn for as long as the caller does, and then sees the exchange through.
async fn serve<S>(
    inner: S,
    request: TokenRequest,
    token: RefreshToken,
    mut caller: oneshot::Sender<Result<AccessToken, TokenError>>,
) where
    S: Service<TokenRequest, Response = AccessToken> + Clone,
    S::Error: Into<BoxError>,
{
    let outcome = {
        let Some(turn) = until(caller.closed(), token.turn()).await else {
            return;
        };
        if caller.is_closed() {
            return;
        }
        let left = async {
            caller.closed().await;
            sleep(GRACE).await;
        };
        until(left, exchange(inner, &request, &token, &turn)).await
    };
    if let Some(outcome) = outcome {
        // Nobody may be there any more.
        let _ = caller.send(outcome);
    }
}

/// One exchange, from a refresh token that is persisted to the next.
async fn exchange<S>(
    inner: S,
    request: &TokenRequest,
    token: &RefreshToken,
    turn: &Turn<'_>,
) -> Result<AccessToken, TokenError>
where
    S: Service<TokenRequest, Response = AccessToken> + Clone,
    S::Error: Into<BoxError>,
{
    token.save(turn).await?;
    let mut repeats = 0;
    loop {
        let used = token.present(turn);
        let asked = ask_with(inner.clone(), request, used.secret()).await;
        if token.has_changed_since(&used) && repeats < MOST_REPEATS {
            repeats += 1;
            continue;
        }
        let issued = asked?;
        token.rotate(turn, &used, issued.refresh_token());
        token.save(turn).await?;
        return Ok(issued.without_refresh_token());
    }
}

async fn ask_with<S>(
    inner: S,
    request: &TokenRequest,
    refresh_token: &str,
) -> Result<AccessToken, TokenError>
where
    S: Service<TokenRequest, Response = AccessToken>,
    S::Error: Into<BoxError>,
{
    let unusable = |why| {
        let error = ConfigError::new("refresh token", why);
        Err(TokenError::with_source(TokenErrorKind::ClientAuthentication, error.into()))
    };
    if refresh_token.is_empty() {
        return unusable("is empty");
    }
    if request.credentials().has_another_grant() {
        // Whose token that brings, nobody could tell.
        return unusable("can not go with another grant");
    }
    let request = request.clone().with_refresh_token(refresh_token);
    ask(inner, request).await.map_err(|error| match error.error() {
        Some("invalid_grant") => error
            .with_note("the refresh token is of no use any more")
            .with_advice("the user has to authorize again"),
        _ => error,
    })
}

async fn ask<S>(inner: S, request: TokenRequest) -> Result<AccessToken, TokenError>
where
    S: Service<TokenRequest, Response = AccessToken>,
    S::Error: Into<BoxError>,
{
    inner.oneshot(request).await.map_err(|error| TokenError::from_source(error.into()))
}

/// What `work` comes to, unless `end` comes first.
async fn until<T>(end: impl Future<Output = ()>, work: impl Future<Output = T>) -> Option<T> {
    let (mut end, mut work) = (pin!(end), pin!(work));
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => end.as_mut().poll(cx).map(|()| None),
    })
    .await
}

impl<S: fmt::Debug> fmt::Debug for Refresh<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refresh").field("inner", &self.inner).finish()
    }
}
