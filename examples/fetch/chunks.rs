//! A request body that is sent while it is read.

use std::io::{self, Cursor};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::Stream;
use http_body::{Body, Frame, SizeHint};
use tokio::fs::File;
use tokio::io::AsyncRead;
use tokio_util::io::ReaderStream;

use crate::options::Source;

const CHUNK: usize = 64 * 1024;

/// A body that is read in chunks.
pub(crate) struct Chunks {
    stream: ReaderStream<Pin<Box<dyn AsyncRead + Send>>>,
    /// The number of bytes that are left to send, if it is known.
    left: Option<u64>,
}

impl Chunks {
    pub(crate) async fn open(source: Source) -> io::Result<Self> {
        Ok(match source {
            Source::Text(text) => {
                let length = text.len() as u64;
                Self::new(Cursor::new(text), Some(length))
            }
            Source::File(path) => {
                let file = File::open(path).await?;
                let about = file.metadata().await?;
                // The length of a pipe or a device is unknown.
                Self::new(file, about.is_file().then_some(about.len()))
            }
            Source::Stdin => Self::new(tokio::io::stdin(), None),
        })
    }

    fn new(reader: impl AsyncRead + Send + 'static, left: Option<u64>) -> Self {
        Self { stream: ReaderStream::with_capacity(Box::pin(reader), CHUNK), left }
    }
}

impl Body for Chunks {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let chunk = ready!(Pin::new(&mut self.stream).poll_next(cx));
        if let (Some(left), Some(Ok(chunk))) = (&mut self.left, &chunk) {
            // The file may have grown. Then hyper reports the wrong length.
            *left = left.saturating_sub(chunk.len() as u64);
        }
        Poll::Ready(chunk.map(|chunk| chunk.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map(SizeHint::with_exact).unwrap_or_default()
    }
}
