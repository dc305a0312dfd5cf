//! One connection: a command, its answer, the next command.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use super::address::{Address, Stream};
use super::failure::Failure;
use super::wire::{Answer, Command, Head};

/// The longest first line of an answer is below 100 bytes, an error's not much longer.
const LONGEST_LINE: u64 = 1024;

pub(super) struct Connection {
    stream: BufReader<Box<dyn Stream>>,
    /// How many commands were sent.
    number: u64,
}

impl Connection {
    pub(super) async fn open(address: &Address) -> Result<Self, Failure> {
        let stream = address.connect().await.map_err(Failure::Connect)?;
        Ok(Self { stream: BufReader::new(stream), number: 0 })
    }

    /// Dropped half-way or failed, the connection is out of step and must not be used again.
    pub(super) async fn exchange(&mut self, command: &Command<'_>) -> Result<Answer, Failure> {
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
            Head::Alone(answer) => answer,
        };
        if self.stream.buffer().is_empty() { Ok(answer) } else { Err(Failure::OutOfStep) }
    }

    async fn line(&mut self) -> Result<String, Failure> {
        let mut line = Vec::new();
        let mut bounded = (&mut self.stream).take(LONGEST_LINE);
        bounded.read_until(b'\n', &mut line).await.map_err(Failure::Lost)?;
        if line.is_empty() {
            return Err(Failure::Lost(io::ErrorKind::UnexpectedEof.into()));
        }
        if line.last() != Some(&b'\n') && bounded.limit() > 0 {
            return Err(Failure::BrokenOff);
        }
        let line = line.strip_suffix(b"\r\n").ok_or(Failure::Malformed)?;
        String::from_utf8(line.to_vec()).map_err(|_| Failure::Malformed)
    }

    async fn value(&mut self, length: usize) -> Result<Vec<u8>, Failure> {
        // Grows with what arrives, not with what is announced.
        let mut value = Vec::new();
        let mut bounded = (&mut self.stream).take(length as u64 + 2);
        bounded.read_to_end(&mut value).await.map_err(Failure::Lost)?;
        if bounded.limit() > 0 {
            return Err(Failure::BrokenOff);
        }
        if !value.ends_with(b"\r\n") {
            return Err(Failure::Malformed);
        }
        value.truncate(length);
        Ok(value)
    }
}
