//! The testkit's doubles, and layers and bodies in the states that these tests need.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use tokio::sync::Notify;
use tower_oauth2::replay::Replayed;
use tower_oauth2::{OAuth2Layer, Origins};
use tower_oauth2_testkit::tokens;

pub use tower_oauth2_testkit::body::{
    Broken, Fed, Hint, Pieces, Script, Splitting, Step, fed, hint,
};
pub use tower_oauth2_testkit::{Api, ScriptedSource, credentials, hour, property, settle};

/// Chunks of this size and more are counted, and smaller ones copied together.
pub const COUNTED: usize = 8 * 1024;

/// Returns a layer over `source` that has no token yet.
pub fn cold_layer(source: &ScriptedSource) -> OAuth2Layer {
    OAuth2Layer::new(tokens(source), Origins::any())
}

/// Returns a layer over `source` that has a token.
pub async fn warm_layer(source: &ScriptedSource) -> OAuth2Layer {
    let tokens = tokens(source);
    tokens.warm().await.unwrap();
    OAuth2Layer::new(tokens, Origins::any())
}

/// Creates a source that returns the first tokens at once, and others when notified.
pub fn notified_source(at_once: usize) -> (ScriptedSource, Arc<Notify>) {
    let bell = Arc::new(Notify::new());
    let ringing = bell.clone();
    let source = ScriptedSource::new(move |n, _| {
        let bell = bell.clone();
        async move {
            if n > at_once {
                bell.notified().await;
            }
            Ok(hour(n))
        }
    });
    (source, ringing)
}

/// Returns a response with this status and nothing else.
pub fn status(status: u16) -> Response<()> {
    Response::builder().status(status).body(()).unwrap()
}

pub fn put<B>(body: B) -> Request<B> {
    Request::put("https://api.test/things/1").body(body).unwrap()
}

pub fn replayed<B>(response: &Response<B>) -> Option<Replayed> {
    response.extensions().get().copied()
}

/// The result of polling a body.
pub type Look<D, E> = Poll<Option<Result<Frame<D>, E>>>;

/// Polls a body once.
pub fn look<B: Body + Unpin>(body: &mut B) -> Look<B::Data, B::Error> {
    Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()))
}

/// Reads the data of a body until it waits, ends or fails.
pub fn read<B: Body<Data = Bytes> + Unpin>(body: &mut B) -> Vec<u8> {
    let mut all = Vec::new();
    while let Poll::Ready(Some(Ok(frame))) = look(body) {
        all.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new()));
    }
    all
}
