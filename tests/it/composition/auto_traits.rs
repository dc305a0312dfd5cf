use std::cell::Cell;
use std::future::Future;
use std::marker::{PhantomData, PhantomPinned};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::StatusCode;
use http_body_util::Full;
use tokio::task::LocalSet;
use tower::util::BoxCloneService;
use tower::{BoxError, Service, ServiceExt, service_fn};
use tower_oauth2::cache::{TokenCacheBuilder, TokenChanges, TokenStatus};
use tower_oauth2::client_auth::{ClientAssertion, TokenRequestParts};
use tower_oauth2::metadata::{Metadata, MetadataBuilder, WellKnown};
use tower_oauth2::replay::{
    Drain, DrainFuture, DrainLayer, DrainedBody, KeptBody, NotReplayed, ReplayBody, ReplayPolicy,
    Replayable, ReplayableLayer, Replayed,
};
use tower_oauth2::service::{
    ErrorResponseFuture, ResponseFuture, TokenErrorResponse, TokenErrorResponseLayer,
};
use tower_oauth2::source::{Backoff, Cause, TokenRetry};
use tower_oauth2::store::{MemoryStore, StoredTokens, StoredValue, TokenStoreLayer};
use tower_oauth2::{
    AccessToken, CachedToken, ClientAuth, ConfigError, Credentials, NoToken, OAuth2, OAuth2Layer,
    Origins, Secret, TokenCache, TokenEndpoint, TokenError, TokenErrorKind, TokenRequest, Tokens,
};

use super::{HttpMock, HttpRequest, HttpResponse, layer_over, put, send};
use crate::support::{ScriptedSource, credentials, hour};

fn send_sync_clone<T: Send + Sync + Clone + Unpin + 'static>() {}
fn send_sync<T: Send + Sync + 'static>() {}
fn send_only<T: Send + 'static>() {}
fn error<T: std::error::Error + Send + Sync + 'static>() {}
fn future<T: Future + Send + 'static>() {}

#[cfg(feature = "jwt")]
#[test]
fn keys_are_send_sync_and_clone() {
    send_sync_clone::<tower_oauth2::jwt::Algorithm>();
    send_sync_clone::<tower_oauth2::client_auth::ClientSecretJwt>();
    send_sync_clone::<tower_oauth2::jwt::KeyFile>();
    send_sync_clone::<tower_oauth2::jwt::Audience>();
    send_sync_clone::<tower_oauth2::source::SelfSigned>();
    send_sync_clone::<tower_oauth2::jwt::SignedJwt>();
    send_sync_clone::<tower_oauth2::jwt::SigningKey>();
}

#[test]
fn public_types_have_their_auto_traits() {
    send_sync_clone::<AccessToken>();
    send_sync_clone::<Backoff>();
    send_sync_clone::<Cause>();
    send_sync_clone::<ClientAssertion>();
    send_sync_clone::<ClientAuth>();
    send_sync_clone::<Credentials>();
    send_sync_clone::<ConfigError>();
    send_sync_clone::<MemoryStore>();
    send_sync_clone::<Metadata>();
    send_sync_clone::<MetadataBuilder>();
    send_sync_clone::<NoToken>();
    send_sync_clone::<NotReplayed>();
    send_sync_clone::<OAuth2<HttpMock>>();
    send_sync_clone::<OAuth2Layer>();
    send_sync_clone::<Origins>();
    send_sync_clone::<Drain<HttpMock>>();
    send_sync_clone::<DrainLayer>();
    send_sync_clone::<Replayable<HttpMock>>();
    send_sync_clone::<ReplayableLayer>();
    send_sync_clone::<Replayed>();
    send_sync_clone::<ReplayPolicy>();
    send_sync_clone::<Secret>();
    send_sync_clone::<StoredTokens<HttpMock>>();
    send_sync_clone::<TokenStoreLayer>();
    send_sync_clone::<StoredValue>();
    send_sync_clone::<TokenCache>();
    send_sync_clone::<Tokens>();
    send_sync_clone::<CachedToken>();
    send_sync_clone::<TokenStatus>();
    send_sync_clone::<TokenError>();
    send_sync_clone::<TokenErrorKind>();
    send_sync_clone::<TokenErrorResponse<HttpMock>>();
    send_sync_clone::<TokenErrorResponseLayer>();
    send_sync_clone::<TokenRequest>();
    send_sync_clone::<TokenRetry>();
    send_sync_clone::<WellKnown>();
    send_sync::<TokenRequestParts>();
    send_sync::<TokenChanges>();
    send_only::<KeptBody<Full<Bytes>>>();
    send_only::<DrainedBody<Full<Bytes>>>();
    send_only::<ReplayBody<Full<Bytes>>>();
    send_only::<TokenCacheBuilder>();
    // The boxed HTTP client need not be `Sync`.
    send_only::<TokenEndpoint>();
    error::<ConfigError>();
    error::<TokenError>();
    future::<ResponseFuture<HttpMock, Full<Bytes>>>();
    future::<DrainFuture<ResponseFuture<HttpMock, Full<Bytes>>, Full<Bytes>>>();
    future::<ErrorResponseFuture<ResponseFuture<HttpMock, Full<Bytes>>>>();
    future::<<StoredTokens<ScriptedSource> as Service<TokenRequest>>::Future>();
    future::<<TokenEndpoint as Service<TokenRequest>>::Future>();
}

// A handle is cloned into requests, and a service keeps a token.
#[test]
fn handles_and_cached_tokens_are_small() {
    let word = size_of::<usize>();
    assert!(size_of::<Tokens>() <= 4 * word);
    assert_eq!(size_of::<CachedToken>(), word);
    assert_eq!(size_of::<Option<CachedToken>>(), word);
}

#[cfg(feature = "encryption")]
#[test]
fn encrypted_stores_are_send_sync_and_clone() {
    use tower_oauth2::store::{EncryptedStore, EncryptionKey};
    send_sync_clone::<EncryptionKey>();
    send_sync_clone::<EncryptedStore<MemoryStore>>();
}

#[test]
fn the_service_can_be_boxed_and_futures_of_tokens_spawned() {
    let tokens = Tokens::new(credentials(), ScriptedSource::tokens(hour));
    let api = service_fn(|_: HttpRequest| async { Ok::<_, BoxError>(HttpResponse::default()) });
    let _boxed: BoxCloneService<HttpRequest, HttpResponse, BoxError> =
        BoxCloneService::new(layer_over(tokens.clone()).layer(api));
    fn is_send<T: Send + 'static>(_: T) {}
    is_send(async move {
        let _ = (tokens.get().await, tokens.warm().await, tokens.changes().next().await);
    });
}

/// A source that is `Send` but not `Sync`.
#[derive(Clone)]
struct NotSync {
    inner: ScriptedSource,
    _cell: PhantomData<Cell<()>>,
}

impl Service<TokenRequest> for NotSync {
    type Response = AccessToken;
    type Error = BoxError;
    type Future = <ScriptedSource as Service<TokenRequest>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: TokenRequest) -> Self::Future {
        self.inner.call(request)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_is_not_sync_serves_many_threads() {
    let source = ScriptedSource::tokens(hour);
    let not_sync = NotSync { inner: source.clone(), _cell: PhantomData };
    let tokens = Tokens::new(credentials(), not_sync);
    let api = service_fn(|_: HttpRequest| async { Ok::<_, BoxError>(HttpResponse::default()) });
    let stack = layer_over(tokens).layer(api);
    let all: Vec<_> = (0..50).map(|_| tokio::spawn(stack.clone().oneshot(put()))).collect();
    for one in all {
        assert_eq!(one.await.unwrap().unwrap().status(), StatusCode::OK);
    }
    assert_eq!(source.count(), 1);
}

/// An API whose futures are neither `Send` nor `Unpin`. Returns a 401 to the first request and a
/// 200 to others.
#[derive(Clone)]
struct Immobile {
    seen: Rc<Cell<usize>>,
}

struct ImmobileFuture {
    address: Cell<usize>,
    status: StatusCode,
    _pin: PhantomPinned,
    _local: Rc<Cell<usize>>,
}

impl Service<HttpRequest> for Immobile {
    type Response = HttpResponse;
    type Error = BoxError;
    type Future = ImmobileFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: HttpRequest) -> ImmobileFuture {
        let n = self.seen.replace(self.seen.get() + 1);
        ImmobileFuture {
            address: Cell::new(0),
            status: if n == 0 { StatusCode::UNAUTHORIZED } else { StatusCode::OK },
            _pin: PhantomPinned,
            _local: self.seen.clone(),
        }
    }
}

impl Future for ImmobileFuture {
    type Output = Result<HttpResponse, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let here = std::ptr::from_ref(&*self) as usize;
        if self.address.replace(here) == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        assert_eq!(self.address.get(), here);
        let mut response = HttpResponse::default();
        *response.status_mut() = self.status;
        Poll::Ready(Ok(response))
    }
}

#[tokio::test]
async fn futures_that_are_neither_send_nor_unpin_can_be_replayed() {
    let seen = Rc::new(Cell::new(0));
    let api = Immobile { seen: seen.clone() };
    let source = ScriptedSource::tokens(hour);
    let tokens = Tokens::new(credentials(), source.clone());
    let stack = layer_over(tokens).layer(api);
    LocalSet::new()
        .run_until(async move {
            let sent = tokio::task::spawn_local(async move { send(&mut stack.clone()).await });
            let response = sent.await.unwrap().unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(response.extensions().get(), Some(&Replayed::Yes));
        })
        .await;
    assert_eq!((seen.get(), source.count()), (2, 2));
}
