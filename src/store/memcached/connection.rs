//! Sends one command at a time over a connection.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use super::address::{Address, Stream};
use super::command::{Answer, Command, Head};
use super::failure::Failure;

/// The maximum length of the first line of an answer. A valid line is shorter than 100 bytes.
const MAX_LINE: u64 = 1024;

pub(super) struct Connection {
    stream: BufReader<Box<dyn Stream>>,
    /// The number of commands sent.
    number: u64,
}

impl Connection {
    pub(super) async fn open(address: &Address) -> Result<Self, Failure> {
        let stream = address.connect().await.map_err(Failure::Connect)?;
        Ok(Self { stream: BufReader::new(stream), number: 0 })
    }

    /// Sends a command and returns its answer.
    ///
    /// If this future fails or is dropped early, the connection may return the answer of another
    /// command and must not be used again.
    pub(super) async fn send(&mut self, command: &Command<'_>) -> Result<Answer, Failure> {
        self.number += 1;
        let bytes = command.encode(self.number);
        self.stream.write_all(&bytes).await.map_err(Failure::Lost)?;
        self.stream.flush().await.map_err(Failure::Lost)?;
        drop(bytes);

        let line = self.line().await?;
        let answer = match command.decode(&line, self.number)? {
            Head::Item(mut item, length) => {
                item.value = self.value(length).await?;
                Answer::Item(item)
            }
            Head::Complete(answer) => answer,
        };
        if self.stream.buffer().is_empty() { Ok(answer) } else { Err(Failure::WrongAnswer) }
    }

    /// Reads the first line of an answer without its line break.
    async fn line(&mut self) -> Result<String, Failure> {
        let mut line = Vec::new();
        let mut bounded = (&mut self.stream).take(MAX_LINE);
        bounded.read_until(b'\n', &mut line).await.map_err(Failure::Lost)?;
        if line.is_empty() {
            return Err(Failure::Lost(io::ErrorKind::UnexpectedEof.into()));
        }
        if line.last() != Some(&b'\n') && bounded.limit() > 0 {
            return Err(Failure::Truncated);
        }
        let line = line.strip_suffix(b"\r\n").ok_or(Failure::Malformed)?;
        String::from_utf8(line.to_vec()).map_err(|_| Failure::Malformed)
    }

    /// Reads a value and its line break.
    async fn value(&mut self, length: usize) -> Result<Vec<u8>, Failure> {
        // The buffer grows with the received data, because the announced length may be wrong.
        let mut value = Vec::new();
        let mut bounded = (&mut self.stream).take(length as u64 + 2);
        bounded.read_to_end(&mut value).await.map_err(Failure::Lost)?;
        if bounded.limit() > 0 {
            return Err(Failure::Truncated);
        }
        if !value.ends_with(b"\r\n") {
            return Err(Failure::Malformed);
        }
        value.truncate(length);
        Ok(value)
    }
}
