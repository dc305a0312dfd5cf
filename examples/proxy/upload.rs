//! Uploads whose content is generated while they are sent.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};
use http::Request;
use http::header::CONTENT_LENGTH;
use http::request::Builder;
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::task::JoinError;

use crate::support::api::Digest;
use crate::upstream::EARLY;

pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;
pub(crate) type Client = legacy::Client<HttpConnector, Body>;

const CHUNK: usize = 64 * 1024;

/// The bytes that [`Upload::in_two`] sends before it waits: as many as the proxy buffers.
pub(crate) const FIRST: usize = CHUNK;

/// An upload whose bytes differ from those of any other number.
#[derive(Clone, Copy)]
pub(crate) struct Upload {
    pub(crate) number: u32,
    pub(crate) mib: u64,
}

impl Upload {
    pub(crate) fn to(self, origin: &str) -> http::Result<Request<Body>> {
        let body = StreamBody::new(stream::iter(self.chunks()).map(frame));
        self.request(origin, "/upload").body(body.boxed_unsync())
    }

    fn request(self, origin: &str, path: &str) -> Builder {
        Request::post(format!("{origin}{path}"))
            .header(CONTENT_LENGTH, self.chunk_count() * CHUNK as u64)
    }

    /// Creates a request that sends [`FIRST`] bytes, and the rest once `ready` completes.
    pub(crate) fn in_two(
        self,
        origin: &str,
        ready: impl Future<Output = ()> + Send + 'static,
    ) -> http::Result<Request<Body>> {
        let mut chunks = self.chunks();
        let first = stream::iter(chunks.next());
        let rest = async move {
            ready.await;
            stream::iter(chunks)
        };
        let body = StreamBody::new(first.chain(rest.flatten_stream()).map(frame));
        self.request(origin, EARLY).body(body.boxed_unsync())
    }

    pub(crate) async fn digest(self) -> Result<Digest, JoinError> {
        tokio::task::spawn_blocking(move || Digest::of(self.chunks())).await
    }

    fn chunk_count(self) -> u64 {
        self.mib * 16
    }

    fn chunks(self) -> impl Iterator<Item = Bytes> + Send + 'static {
        (0..self.chunk_count()).map(move |chunk| {
            let mut bytes = vec![0x5a; CHUNK];
            bytes[..4].copy_from_slice(&self.number.to_be_bytes());
            bytes[8..16].copy_from_slice(&chunk.to_be_bytes());
            bytes.into()
        })
    }
}

fn frame(chunk: Bytes) -> Result<Frame<Bytes>, Infallible> {
    Ok(Frame::data(chunk))
}
