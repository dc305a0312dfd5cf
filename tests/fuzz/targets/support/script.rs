//! A body that follows a script, and a check of the data that bodies yield.
//!
//! The words are `d<n>` for a chunk of `n` bytes, `p` for a pending poll, `t` for trailers, and `e`
//! for an error. With `unknown`, the size hint is empty. With `unaware`, `is_end_stream` is always
//! false too.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tower::BoxError;

/// The maximum size of a script's data.
const MOST: usize = 256 * 1024;

/// The text of a script's error.
pub const BROKEN: &str = "the body broke off";

#[derive(Clone, Debug)]
enum Step {
    Data(Bytes),
    Pending,
    Trailers,
    Error,
}

#[derive(Clone, Debug, Default)]
pub struct Script {
    steps: VecDeque<Step>,
    is_unknown: bool,
    is_unaware: bool,
}

impl Script {
    pub fn read(text: &str) -> Self {
        let mut script = Self::default();
        let mut len = 0;
        for word in text.split_ascii_whitespace().take(64) {
            let (letter, number) = first(word);
            let step = match (letter, word) {
                (_, "unknown") => {
                    script.is_unknown = true;
                    continue;
                }
                (_, "unaware") => {
                    script.is_unaware = true;
                    continue;
                }
                ("d", _) => {
                    let more = number.parse().unwrap_or(1).min(MOST - len);
                    let data = (len..len + more).map(byte_at).collect::<Vec<_>>();
                    len += more;
                    Step::Data(data.into())
                }
                ("p", _) => Step::Pending,
                ("t", _) => Step::Trailers,
                ("e", _) => Step::Error,
                _ => continue,
            };
            let is_last = matches!(step, Step::Trailers | Step::Error);
            script.steps.push_back(step);
            if is_last {
                // No frame follows trailers or an error.
                break;
            }
        }
        script
    }

    /// Returns the number of bytes that are left.
    pub fn left(&self) -> usize {
        let data = self.steps.iter().map(|step| match step {
            Step::Data(data) => data.len(),
            _ => 0,
        });
        data.sum()
    }

    pub fn has_trailers(&self) -> bool {
        matches!(self.steps.back(), Some(Step::Trailers))
    }

    pub fn breaks(&self) -> bool {
        matches!(self.steps.back(), Some(Step::Error))
    }

    pub fn tells_its_size(&self) -> bool {
        !self.is_unknown
    }
}

/// Splits a word after its first character.
pub fn first(text: &str) -> (&str, &str) {
    text.split_at(text.chars().next().map_or(0, char::len_utf8))
}

/// Returns the byte at a position of every script's data.
fn byte_at(at: usize) -> u8 {
    (at ^ at >> 8).wrapping_mul(31) as u8
}

/// Returns `len` bytes of the script's data.
fn expected(from: usize, len: usize) -> impl Iterator<Item = u8> {
    (from..from + len).map(byte_at)
}

impl Body for Script {
    type Data = bytes::buf::Chain<Bytes, Bytes>;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, BoxError>>> {
        Poll::Ready(match self.steps.pop_front() {
            Some(Step::Pending) => return Poll::Pending,
            Some(Step::Data(mut data)) => {
                // The chunk has two parts, because a buffer need not be contiguous.
                let first = data.split_to(data.len() / 3);
                Some(Ok(Frame::data(first.chain(data))))
            }
            Some(Step::Trailers) => Some(Ok(Frame::trailers(trailers()))),
            Some(Step::Error) => Some(Err(BROKEN.into())),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        !self.is_unaware && self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_unknown { SizeHint::new() } else { SizeHint::with_exact(self.left() as u64) }
    }
}

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([("x-checksum".parse().unwrap(), "1".parse().unwrap())])
}

/// The data that a body has yielded.
#[derive(Debug, Default)]
pub struct Emitted {
    pub len: usize,
    pub has_trailers: bool,
    pub has_ended: bool,
    pub has_failed: bool,
}

impl Emitted {
    /// Checks the result of one poll: the script's data, and no early end.
    pub fn take(&mut self, look: Poll<Option<Result<Frame<Bytes>, BoxError>>>, script: &Script) {
        match look {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(frame))) => {
                assert!(!self.has_ended, "something follows the end");
                match frame.into_data() {
                    Ok(data) => {
                        assert!(!self.has_trailers, "data follow trailers");
                        assert!(self.len + data.len() <= script.left(), "more than there was");
                        assert!(data.iter().copied().eq(expected(self.len, data.len())));
                        self.len += data.len();
                    }
                    Err(frame) => {
                        assert_eq!(self.len, script.left(), "trailers come too early");
                        assert!(script.has_trailers() && !self.has_trailers);
                        assert_eq!(frame.into_trailers().unwrap(), trailers());
                        self.has_trailers = true;
                    }
                }
            }
            Poll::Ready(Some(Err(_))) => self.has_failed = true,
            Poll::Ready(None) => {
                // After an error, the body yields nothing more, and must not look complete.
                self.has_ended = true;
                assert!(self.has_failed || self.is_whole(script), "an end before the end");
            }
        }
    }

    pub fn is_whole(&self, script: &Script) -> bool {
        self.len == script.left() && self.has_trailers == script.has_trailers() && !script.breaks()
    }
}
