//! Reads files and responses that may have no end.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use bytes::Bytes;
use http_body::Body;
use http_body_util::{BodyExt, Limited};
use tower::BoxError;

/// The most MiB that are read of a file or a response. An endless one would fill the memory.
pub(crate) const MAX_MIB: usize = 64;

const MAX_BYTES: usize = MAX_MIB * 1024 * 1024;

/// Says what happens to the body of a response.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    Body,
    Nothing,
}

/// Reads a file.
pub(crate) fn file(path: &Path) -> io::Result<Vec<u8>> {
    to_end(File::open(path)?)
}

/// Reads to the end.
pub(crate) fn to_end(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_BYTES {
        return Err(io::Error::other(format!("is larger than {MAX_MIB} MiB")));
    }
    Ok(bytes)
}

/// Reads a body to its end, and returns it unless `keep` discards it.
pub(crate) async fn body<B>(body: B, keep: Keep) -> Result<Bytes, BoxError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let mut body = std::pin::pin!(Limited::new(body, MAX_BYTES));
    if keep == Keep::Body {
        return Ok(body.collect().await?.to_bytes());
    }
    while let Some(frame) = body.frame().await {
        frame?;
    }
    Ok(Bytes::new())
}
