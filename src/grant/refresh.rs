use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::sleep;
use tower::{BoxError, Layer, Service, ServiceExt};
use tracing::Instrument;

use crate::credentials::request::TokenRequest;
use crate::error::{ConfigError, TokenError, TokenErrorKind};
use crate::refresh_token::RefreshToken;
use crate::token::AccessToken;
use crate::util::liveness::Liveness;
use crate::util::race::run_until;
use crate::util::takeover_lock::TakeoverGuard;

/// How long a refresh goes on after its caller is gone.
const GRACE: Duration = Duration::from_secs(60);

/// How often a refresh is repeated because its refresh token was replaced while it was in progress.
const MAX_REPEATS: u32 = 3;

/// Requests tokens with the refresh token of the credentials, and keeps the rotated one (RFC 6749
/// section 6).
///
/// Requests whose credentials have no refresh token pass through unchanged.
///
/// A refresh runs in its own task, so a caller that is dropped or times out does not lose a rotated
/// token. A caller that is dropped before its turn sends nothing. A refresh without a caller is
/// given up after 60 seconds. A refresh whose runtime does not poll it holds up others for about a
/// second. If it completes later, its rotated token is kept unless there is a newer one.
///
/// Place the layer right around the token endpoint. [`RetryLayer`](tower::retry::RetryLayer) goes
/// outside, because a second try has to begin with the current refresh token. So does
/// [`TokenStoreLayer`](crate::store::TokenStoreLayer), where access tokens are found under the refresh token's name.
/// Refresh tokens are never put into a store.
///
/// # Errors
///
/// Returns a [`TokenError`]. An [`error`](TokenError::error_code) of `invalid_grant` means that the user
/// has to authorize again. It is not transient, so a cache asks again only now and then, or at once
/// after [`RefreshToken::set`].
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
/// use tower_oauth2::{ClientAuth, Credentials, TokenCache, TokenEndpoint};
/// use tower_oauth2::grant::{RefreshToken, RotatedToken};
/// use tower_oauth2::source::RefreshTokenLayer;
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
/// let own = Credentials::new("https://auth.example.com/token", auth)?;
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
    /// Creates the layer.
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

/// Requests tokens with refresh tokens. Created by a [`RefreshTokenLayer`].
#[derive(Clone)]
pub struct Refresh<S> {
    inner: S,
}

impl<S> Refresh<S> {
    /// Returns a reference to the inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns a mutable reference to the inner service.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner service.
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
        // The inner service is made ready when this request may use the refresh token. Until then,
        // it would hold a reservation for nothing.
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
            outcome.await.unwrap_or_else(|_| Err(interrupted()))
        })
    }
}

/// Waits until the refresh token may be used, and then completes the refresh with or without its
/// caller.
async fn serve<S>(
    inner: S,
    request: TokenRequest,
    token: RefreshToken,
    mut caller: oneshot::Sender<Result<AccessToken, TokenError>>,
) where
    S: Service<TokenRequest, Response = AccessToken> + Clone,
    S::Error: Into<BoxError>,
{
    // This task goes on when the fetch has ended, so it shows its own signs of life.
    let liveness = Arc::new(Liveness::part_of(request.liveness()));
    let outcome = {
        let guard = run_until(caller.closed(), token.lock_for_use(&liveness)).await;
        let Some(mut guard) = guard.filter(|_| !caller.is_closed()) else {
            return;
        };
        let given_up = async {
            caller.closed().await;
            sleep(GRACE).await;
        };
        let refresh = refresh(inner, &request, &token, &mut guard);
        run_until(given_up, liveness.during(refresh)).await
    };
    if let Some(outcome) = outcome {
        // The caller may be gone.
        let _ = caller.send(outcome);
    }
}

/// Requests a token, and persists the current refresh token before and after.
async fn refresh<S>(
    inner: S,
    request: &TokenRequest,
    token: &RefreshToken,
    guard: &mut TakeoverGuard<'_>,
) -> Result<AccessToken, TokenError>
where
    S: Service<TokenRequest, Response = AccessToken> + Clone,
    S::Error: Into<BoxError>,
{
    let mut repeats = 0;
    loop {
        if !guard.is_superseded() {
            token.save(guard).await?;
        }
        if guard.is_superseded() {
            // Its successor requests a token in its place (C3).
            return Err(interrupted());
        }
        let Some(used) = token.token_to_use(guard) else {
            guard.regain().await;
            continue;
        };
        let result = ask_with(inner.clone(), request, used.secret()).await;
        let is_outdated = match &result {
            // A late response may have replaced the token too, but this one is newer.
            Ok(_) => token.was_set_since(&used),
            Err(_) => token.was_replaced_since(&used),
        };
        if is_outdated && repeats < MAX_REPEATS {
            repeats += 1;
            continue;
        }
        let issued = result?;
        token.rotate(guard, &used, issued.refresh_token());
        token.save(guard).await?;
        return Ok(issued.without_refresh_token());
    }
}

fn interrupted() -> TokenError {
    TokenError::new(TokenErrorKind::Interrupted, "")
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
        // It depends on the server for which of the two grants it would issue the token.
        return unusable("can not go with another grant");
    }
    let request = request.clone().with_refresh_token(refresh_token);
    ask(inner, request).await.map_err(|error| match error.error_code() {
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

impl<S: fmt::Debug> fmt::Debug for Refresh<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refresh").field("inner", &self.inner).finish()
    }
}

#[cfg(all(test, not(races)))]
mod tests {
    use tokio::time::Instant;
    use tower::service_fn;

    use super::*;
    use crate::client_auth::ClientAuth;
    use crate::credentials::Credentials;

    fn request(token: &RefreshToken, fetch: &Arc<Liveness>) -> TokenRequest {
        let auth = ClientAuth::client_secret_basic("client-id", "s3cr3t");
        let credentials = Credentials::new("https://auth.example.com/token", auth).unwrap();
        TokenRequest::new(credentials.refresh_token(token.clone())).with_liveness(fetch.clone())
    }

    // C3, G3
    #[tokio::test(start_paused = true)]
    async fn a_superseded_fetch_gives_way_at_once() {
        let token = RefreshToken::in_memory("alf", "r-0");
        let endpoint = service_fn(|request: TokenRequest| async move {
            let parameters = request.credentials().parameters();
            let mut values = parameters.iter().filter(|(name, _)| name == "refresh_token");
            let used = values.next().unwrap().1.clone();
            sleep(Duration::from_secs(10)).await;
            AccessToken::new(format!("with-{used}")).map(|token| token.with_refresh_token("r-1"))
        });
        let refresh = |fetch: &Arc<Liveness>| {
            let source = RefreshTokenLayer::new().layer(endpoint);
            tokio::spawn(source.oneshot(request(&token, fetch)))
        };
        let fetches = [(); 3].map(|()| Arc::new(Liveness::default()));
        let sending = refresh(&fetches[0]);
        sleep(Duration::from_secs(5)).await;
        let waiting = refresh(&fetches[1]);
        sleep(Duration::from_secs(1)).await;

        // Both have a successor.
        fetches[0].supersede();
        fetches[1].supersede();
        let start = Instant::now();
        let token = refresh(&fetches[2]).await.unwrap().unwrap();
        assert_eq!((token.secret(), start.elapsed()), ("with-r-0", Duration::from_secs(10)));
        assert_eq!(sending.await.unwrap().unwrap().secret(), "with-r-0");
        let error = waiting.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), TokenErrorKind::Interrupted);
    }
}
