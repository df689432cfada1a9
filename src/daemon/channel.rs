//! Typed messages between our own processes, over one end of a socket pair.
//!
//! A frame is a length (four bytes, big-endian) and that many bytes of JSON. Both sides are the
//! same binary, so there is no version. What the messages mean is known to their users:
//! `daemon::checker` and the core, the core and the supervisor. Nothing here decides anything or
//! ends a process; a broken frame is an error value.

use std::io;
use std::marker::PhantomData;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as StdUnixStream;

use bytes::{Buf, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

/// Longest frame, in bytes, without its length. The largest message is a list of
/// [`CHECKS_MAX`](crate::lvs::check::CHECKS_MAX) checks: this leaves 1.6 kB for each, where half a
/// kilobyte is usual.
pub const FRAME_MAX: usize = 16 * 1024 * 1024;

/// Bytes of the length in front of a frame.
const LENGTH: usize = size_of::<u32>();

/// Why a message could not be sent or received.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The socket failed.
    #[error("cannot use the channel to the other process")]
    Io(#[source] io::Error),
    /// The other process ended in the middle of a frame.
    #[error("the channel closed in the middle of a message")]
    Truncated,
    /// A length over [`FRAME_MAX`]. Received: the stream cannot be trusted any more, every later
    /// `recv` says the same. Sent: nothing went out.
    #[error("message of {0} bytes, more than {FRAME_MAX}")]
    Oversized(usize),
    /// A whole frame that is not the expected message; the next frame may be well.
    #[error("a message that cannot be read")]
    Malformed(#[source] serde_json::Error),
    /// A message of ours that has no JSON form.
    #[error("a message that cannot be written")]
    Unwritable(#[source] serde_json::Error),
}

impl ChannelError {
    /// Whether the other process has ended with messages unread or half sent: the same as a closed
    /// channel, for whoever ends with it (unix(7): ECONNRESET, EPIPE).
    pub fn is_hang_up(&self) -> bool {
        match self {
            Self::Truncated => true,
            Self::Io(error) => {
                matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
            }
            Self::Oversized(_) | Self::Malformed(_) | Self::Unwritable(_) => false,
        }
    }
}

/// Both directions of a channel: `Out` is what this process says, `In` what it hears.
#[derive(Debug)]
pub struct Channel<Out, In> {
    sender: Sender<Out>,
    receiver: Receiver<In>,
}

impl<Out: Serialize, In: DeserializeOwned> Channel<Out, In> {
    /// A channel over a connected socket.
    pub fn new(stream: UnixStream) -> Self {
        let (read, write) = stream.into_split();
        Self {
            sender: Sender { socket: write, buffer: BytesMut::new(), message: PhantomData },
            receiver: Receiver { socket: read, buffer: BytesMut::new(), message: PhantomData },
        }
    }

    /// Sends one message, see [`Sender::send`].
    ///
    /// # Errors
    /// As [`Sender::send`].
    pub async fn send(&mut self, message: &Out) -> Result<(), ChannelError> {
        self.sender.send(message).await
    }

    /// The next message, see [`Receiver::recv`].
    ///
    /// # Errors
    /// As [`Receiver::recv`].
    pub async fn recv(&mut self) -> Result<Option<In>, ChannelError> {
        self.receiver.recv().await
    }

    /// The two directions, for a process that must be able to hear while it says something.
    pub fn split(self) -> (Sender<Out>, Receiver<In>) {
        (self.sender, self.receiver)
    }
}

/// The sending direction of a channel.
#[derive(Debug)]
pub struct Sender<Out> {
    socket: OwnedWriteHalf,
    /// Frames that are not yet in the socket; the first one may be partly there.
    buffer: BytesMut,
    message: PhantomData<fn(Out)>,
}

impl<Out: Serialize> Sender<Out> {
    /// Puts one message behind those that wait, without sending. The caller bounds how many wait.
    ///
    /// # Errors
    /// [`ChannelError::Oversized`] or [`ChannelError::Unwritable`]; then nothing was put there.
    pub fn queue(&mut self, message: &Out) -> Result<(), ChannelError> {
        let frame = serde_json::to_vec(message).map_err(ChannelError::Unwritable)?;
        let length = frame_length(frame.len())?;
        self.buffer.extend_from_slice(&length.to_be_bytes());
        self.buffer.extend_from_slice(&frame);
        Ok(())
    }

    /// Whether something waits.
    pub fn is_waiting(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Sends what waits. May be dropped at any await point: the rest goes out with the next call.
    ///
    /// # Errors
    /// [`ChannelError::Io`].
    pub async fn flush(&mut self) -> Result<(), ChannelError> {
        while self.buffer.has_remaining() {
            let sent = self.socket.write_buf(&mut self.buffer).await.map_err(ChannelError::Io)?;
            if sent == 0 {
                return Err(ChannelError::Io(io::ErrorKind::WriteZero.into()));
            }
        }
        // The one large frame of a start should not stay allocated for ever.
        self.buffer = BytesMut::new();
        Ok(())
    }

    /// [`queue`](Self::queue) and [`flush`](Self::flush). May be dropped at any await point.
    ///
    /// # Errors
    /// Any of the two.
    pub async fn send(&mut self, message: &Out) -> Result<(), ChannelError> {
        self.queue(message)?;
        self.flush().await
    }
}

/// The receiving direction of a channel.
#[derive(Debug)]
pub struct Receiver<In> {
    socket: OwnedReadHalf,
    buffer: BytesMut,
    message: PhantomData<fn() -> In>,
}

impl<In: DeserializeOwned> Receiver<In> {
    /// The next message; `None` when the other side has closed between two messages. May be
    /// dropped at any await point without loss.
    ///
    /// # Errors
    /// Any but [`ChannelError::Unwritable`].
    pub async fn recv(&mut self) -> Result<Option<In>, ChannelError> {
        loop {
            if let Some(frame) = next_frame(&mut self.buffer)? {
                return serde_json::from_slice(&frame).map(Some).map_err(ChannelError::Malformed);
            }
            let received =
                self.socket.read_buf(&mut self.buffer).await.map_err(ChannelError::Io)?;
            match (received, self.buffer.is_empty()) {
                (0, true) => return Ok(None),
                (0, false) => return Err(ChannelError::Truncated),
                _ => {}
            }
        }
    }
}

/// The channel end that our parent gave us as standard input, to be used inside a tokio runtime.
///
/// # Errors
/// Where standard input is no connected socket, as in a process that was started by hand.
pub fn from_stdin() -> io::Result<UnixStream> {
    from_fd(&io::stdin())
}

/// As [`from_stdin`], for any descriptor; duplicates it.
///
/// # Errors
/// Where it is no connected socket.
pub fn from_fd(fd: &impl AsFd) -> io::Result<UnixStream> {
    let stream = StdUnixStream::from(fd.as_fd().try_clone_to_owned()?);
    stream.peer_addr()?;
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

fn frame_length(length: usize) -> Result<u32, ChannelError> {
    if length > FRAME_MAX {
        return Err(ChannelError::Oversized(length));
    }
    u32::try_from(length).map_err(|_| ChannelError::Oversized(length))
}

/// Takes the first frame out of the buffer when it is there in full. An oversized one stays, so
/// that the stream is never read from the wrong place.
fn next_frame(buffer: &mut BytesMut) -> Result<Option<Bytes>, ChannelError> {
    let Some((length, rest)) = buffer.split_first_chunk::<LENGTH>() else {
        return Ok(None);
    };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if length > FRAME_MAX {
        return Err(ChannelError::Oversized(length));
    }
    if rest.len() < length {
        buffer.reserve(LENGTH + length - buffer.len());
        return Ok(None);
    }
    buffer.advance(LENGTH);
    Ok(Some(buffer.split_to(length).freeze()))
}

#[cfg(test)]
mod tests;
