//! A connection over which a check speaks in messages: bounded, with the errors in words.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

use super::{Deadline, Phase};
use crate::lvs::check::CheckFailure;

/// Most bytes that a server may say in one check: what stands before a query's first row, for the
/// widest tables.
const SAID_MAX: usize = 1024 * 1024;

/// Bytes that are read at once.
const BUFFER: usize = 4096;

/// Both directions of a connection.
#[derive(Debug)]
pub(super) struct Wire<S> {
    stream: BufReader<S>,
    deadline: Deadline,
    said: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) fn new(stream: S, deadline: Deadline) -> Self {
        Self { stream: BufReader::with_capacity(BUFFER, stream), deadline, said: 0 }
    }

    /// What is below, for TLS. `None` where more was read than belongs to this layer.
    pub(super) fn into_stream(self) -> Option<S> {
        self.stream.buffer().is_empty().then(|| self.stream.into_inner())
    }

    fn failure(&self, error: &io::Error) -> CheckFailure {
        self.deadline.failure(Phase::Answer, error)
    }

    pub(super) async fn say(&mut self, bytes: &[u8]) -> Result<(), CheckFailure> {
        let said = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        said.await.map_err(|error| self.failure(&error))
    }

    /// The next `len` bytes, for which room is made only when they may come.
    pub(super) async fn exactly(&mut self, len: usize) -> Result<Vec<u8>, CheckFailure> {
        self.said = self.said.saturating_add(len);
        if self.said > SAID_MAX {
            return Err(CheckFailure::TooLarge(SAID_MAX));
        }
        let mut bytes = vec![0; len];
        let read = self.stream.read_exact(&mut bytes).await;
        read.map_err(|error| self.failure(&error))?;
        Ok(bytes)
    }

    /// The next ones as an array.
    pub(super) async fn array<const N: usize>(&mut self) -> Result<[u8; N], CheckFailure> {
        let bytes = self.exactly(N).await?;
        Ok(bytes.first_chunk().copied().unwrap_or([0; N]))
    }
}
