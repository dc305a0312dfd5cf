use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::sleep;
use tower::{BoxError, Service, ServiceExt};
use tracing::Instrument;

use crate::credentials::grant::RefreshToken;
use crate::credentials::request::TokenRequest;
use crate::error::{ConfigError, TokenError, TokenErrorKind};
use crate::token::AccessToken;
use crate::util::liveness::Liveness;
use crate::util::race::run_until;
use crate::util::takeover_lock::TakeoverGuard;

/// The time for which a refresh continues after its caller was dropped.
const GRACE: Duration = Duration::from_secs(60);

/// The maximum number of repetitions of a refresh whose refresh token was replaced during it.
const MAX_REPEATS: u32 = 3;

/// Requests tokens with refresh tokens, and keeps the rotated ones (RFC 6749 section 6).
///
/// Requests whose credentials have no refresh token pass through unchanged.
///
/// A refresh runs in its own task, so a caller that is dropped or times out does not lose a rotated
/// token. A caller that is dropped before it may use the refresh token sends nothing. A refresh
/// without a caller is given up after 60 seconds. A refresh whose runtime does not poll it delays
/// others by about a second. If it completes later, its rotated token is kept unless there is a
/// newer one.
#[derive(Clone)]
#[cfg_attr(not(races), allow(unreachable_pub, reason = "the races use it from outside"))]
pub struct Refresh<S> {
    inner: S,
}

#[cfg_attr(not(races), allow(unreachable_pub, reason = "the races use it from outside"))]
impl<S> Refresh<S> {
    /// Wraps a service that sends single token requests.
    pub fn new(inner: S) -> Self {
        Self { inner }
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
        let Some(token) = request.credentials().refresh_token().cloned() else {
            return Box::pin(send(inner, request));
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

/// Waits for the refresh token, and completes the refresh with or without its caller.
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
        // An error means that the caller was dropped.
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
            // The successor of the fetch requests a token instead (C3).
            return Err(interrupted());
        }
        let Some(used) = token.token_to_use(guard) else {
            guard.regain().await;
            continue;
        };
        let result = send_with(inner.clone(), request, used.secret()).await;
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

async fn send_with<S>(
    inner: S,
    request: &TokenRequest,
    refresh_token: &str,
) -> Result<AccessToken, TokenError>
where
    S: Service<TokenRequest, Response = AccessToken>,
    S::Error: Into<BoxError>,
{
    if refresh_token.is_empty() {
        let error = ConfigError::new("refresh token", "is empty");
        return Err(TokenError::with_source(TokenErrorKind::ClientAuthentication, error.into()));
    }
    let request = request.clone().with_refresh_token(refresh_token);
    send(inner, request).await
}

async fn send<S>(inner: S, request: TokenRequest) -> Result<AccessToken, TokenError>
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
        TokenRequest::new(credentials.grant(token.clone())).with_liveness(fetch.clone())
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
            let source = Refresh::new(endpoint);
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
