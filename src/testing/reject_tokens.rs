use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::util::one_or_many::OneOrMany;
use crate::util::sync::LockExt;

/// Lets the double of an API reject given tokens.
///
/// A request with one of these tokens in a header gets a 401 with `WWW-Authenticate: Bearer
/// error="invalid_token"` (RFC 6750 section 3.1), or `DPoP error="invalid_token"` for the scheme
/// `DPoP` (RFC 9449 section 7.1). The inner service does not receive it. Put this layer around the
/// API, inside an [`OAuth2Layer`](crate::OAuth2Layer). The response body of the API must implement
/// [`Default`], which is the body of the 401.
///
/// Clones, and the services that they make, share the tokens and the number of rejections.
///
/// # Example
///
/// ```
/// use std::convert::Infallible;
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use tower::{Layer, service_fn};
/// use tower_oauth2::testing::{RejectTokensLayer, ScriptedSource};
/// use tower_oauth2::{AccessToken, ClientAuth, Credentials, OAuth2Layer, Origins, Tokens};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let source = ScriptedSource::tokens(|n| AccessToken::new(format!("token-{n}")).unwrap());
/// let credentials = Credentials::new("https://auth.test/token", ClientAuth::none("id"))?;
/// let api = service_fn(|_: Request<Full<Bytes>>| async {
///     Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
/// });
///
/// let rejecting = RejectTokensLayer::new("token-1");
/// let layer = OAuth2Layer::new(Tokens::new(credentials, source), Origins::any());
/// let client = layer.layer(rejecting.layer(api));
///
/// let response = client.send(Request::get("https://api.test/").body(Full::default())?).await?;
/// assert_eq!(response.status(), 200);
/// assert_eq!(rejecting.rejections(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RejectTokensLayer {
    rejected: Arc<Mutex<Rejected>>,
}

#[derive(Default)]
struct Rejected {
    tokens: HashSet<String>,
    rejections: usize,
}

impl RejectTokensLayer {
    /// Creates a layer that rejects these tokens, or none if the list is empty.
    pub fn new(tokens: impl OneOrMany) -> Self {
        let tokens = tokens.into_texts().into_iter().collect();
        Self { rejected: Arc::new(Mutex::new(Rejected { tokens, rejections: 0 })) }
    }

    /// Rejects this token too, from now on.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_oauth2::testing::RejectTokensLayer;
    ///
    /// let rejecting = RejectTokensLayer::new("token-1");
    /// // Later in the test, the server revokes the next token:
    /// rejecting.reject("token-2");
    /// ```
    pub fn reject(&self, token: impl Into<String>) {
        self.rejected.lock_unpoisoned().tokens.insert(token.into());
    }

    /// Returns the number of requests that were rejected so far.
    pub fn rejections(&self) -> usize {
        self.rejected.lock_unpoisoned().rejections
    }

    /// Counts a rejection and returns its challenge, or `None` for other requests.
    fn challenge(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let mut rejected = self.rejected.lock_unpoisoned();
        // Each header is read, because a layer can send tokens in a custom header and without a
        // scheme.
        let scheme = headers.values().find_map(|value| {
            let value = value.to_str().ok()?;
            let (scheme, token) = value.split_once(' ').unwrap_or(("", value));
            rejected.tokens.contains(token).then_some(scheme)
        })?;
        rejected.rejections += 1;
        Some(HeaderValue::from_static(if scheme.eq_ignore_ascii_case("DPoP") {
            r#"DPoP error="invalid_token""#
        } else {
            r#"Bearer error="invalid_token""#
        }))
    }
}

impl<S> Layer<S> for RejectTokensLayer {
    type Service = RejectTokens<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RejectTokens { inner, layer: self.clone() }
    }
}

impl fmt::Debug for RejectTokensLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rejected = self.rejected.lock_unpoisoned();
        f.debug_struct("RejectTokensLayer")
            .field("tokens", &rejected.tokens.len())
            .field("rejections", &rejected.rejections)
            .finish()
    }
}

/// Rejects given tokens in requests to the inner service.
///
/// [`RejectTokensLayer`] makes it.
#[derive(Clone, Debug)]
pub struct RejectTokens<S> {
    inner: S,
    layer: RejectTokensLayer,
}

impl<S> RejectTokens<S> {
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

impl<S, B, ResBody> Service<Request<B>> for RejectTokens<S>
where
    S: Service<Request<B>, Response = Response<ResBody>>,
    ResBody: Default,
{
    type Response = Response<ResBody>;
    type Error = S::Error;
    /// Resolves to the response.
    type Future = RejectTokensFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let verdict = match self.layer.challenge(request.headers()) {
            Some(challenge) => Verdict::Rejected { challenge },
            None => Verdict::Accepted { response: self.inner.call(request) },
        };
        RejectTokensFuture { verdict }
    }
}

pin_project! {
    /// Resolves to the response of a [`RejectTokens`] service.
    #[derive(Debug)]
    pub struct RejectTokensFuture<F> {
        #[pin]
        verdict: Verdict<F>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = VerdictProj]
    enum Verdict<F> {
        Rejected { challenge: HeaderValue },
        Accepted { #[pin] response: F },
    }
}

impl<F, ResBody, E> Future for RejectTokensFuture<F>
where
    F: Future<Output = Result<Response<ResBody>, E>>,
    ResBody: Default,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().verdict.project() {
            VerdictProj::Accepted { response } => response.poll(cx),
            VerdictProj::Rejected { challenge } => {
                let mut response = Response::new(ResBody::default());
                *response.status_mut() = StatusCode::UNAUTHORIZED;
                response.headers_mut().insert(WWW_AUTHENTICATE, challenge.clone());
                Poll::Ready(Ok(response))
            }
        }
    }
}
