//! A serial line as a way for bytes: raw, at one speed, for us alone, and never waited for.
//!
//! termios(3), ioctl_tty(2). Modem lines are ignored: a three-wire cable does.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::termios::{
    ControlModes, OptionalActions, QueueSelector, Termios, ioctl_tiocexcl, tcflush, tcgetattr,
    tcsetattr,
};

/// An open serial line.
#[derive(Debug)]
pub struct Tty(File);

/// Why a serial line can't be had.
#[derive(Debug, thiserror::Error)]
pub enum TtyError {
    /// No such device, or nothing behind it: not plugged in.
    #[error("there is no such device")]
    Absent,
    /// A file of another kind.
    #[error("this is no serial line")]
    NoTty,
    /// Another program has it.
    #[error("another program uses it")]
    Taken,
    /// May not open it.
    #[error("no permission to open it")]
    Forbidden,
    /// The driver does not do this speed.
    #[error("the device does not do {0} baud")]
    Speed(u32),
    /// Anything else.
    #[error("it can't be opened")]
    Other(#[source] io::Error),
}

impl Tty {
    /// Opens a line at a speed in baud: 8 bits, no parity, 1 stop bit, no flow control. What was
    /// sent and received before is thrown away.
    ///
    /// # Errors
    /// [`TtyError`]; nobody waits for a carrier.
    pub fn open(path: &Path, baud: u32) -> Result<Self, TtyError> {
        let kind = std::fs::metadata(path).map_err(opened)?.file_type();
        // Opening says something to a FIFO, and more to a device of another kind.
        if !std::os::unix::fs::FileTypeExt::is_char_device(&kind) {
            return Err(TtyError::NoTty);
        }
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        let mut options = File::options();
        let file = options.read(true).write(true).custom_flags(flags).open(path);
        let tty = Self(file.map_err(opened)?);
        let before = tcgetattr(&tty.0).map_err(|error| opened(error.into()))?;
        match rustix::fs::flock(&tty.0, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Err(TtyError::Taken),
            result => result.map_err(|error| TtyError::Other(error.into()))?,
        }
        // For those who don't look for locks; root may open it all the same.
        let _best_effort = ioctl_tiocexcl(&tty.0);
        tty.set(before, baud)?;
        tty.discard();
        Ok(tty)
    }

    fn set(&self, mut wanted: Termios, baud: u32) -> Result<(), TtyError> {
        let other = |error: Errno| TtyError::Other(error.into());
        wanted.make_raw();
        wanted.control_modes |= ControlModes::CLOCAL | ControlModes::CREAD;
        let unwanted = ControlModes::CRTSCTS | ControlModes::CSTOPB | ControlModes::HUPCL;
        wanted.control_modes -= unwanted;
        wanted.set_speed(baud).map_err(other)?;
        tcsetattr(&self.0, OptionalActions::Now, &wanted).map_err(other)?;
        let is = tcgetattr(&self.0).map_err(other)?;
        if is.output_speed() == baud { Ok(()) } else { Err(TtyError::Speed(baud)) }
    }

    /// Reads what there is.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when there is nothing; anything else: the line is gone.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer) {
            // As a line is after a hangup.
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            result => result,
        }
    }

    /// Writes as much as the kernel takes.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when that is nothing; anything else: the line is gone.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    /// How many bytes the kernel has not sent yet, as far as the driver knows.
    #[expect(unsafe_code, reason = "TIOCOUTQ has no safe wrapper among our crates")]
    pub fn unsent(&self) -> usize {
        let mut count: libc::c_int = 0;
        // SAFETY: the descriptor is open for the whole call, and the request writes one int, which
        // `count` is.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
        if result == 0 { usize::try_from(count).unwrap_or(0) } else { 0 }
    }

    /// Throws away what has not been read, and what has not been sent: closing waits for that.
    pub fn discard(&self) {
        let _nothing_there = tcflush(&self.0, QueueSelector::IOFlush);
    }
}

impl AsFd for Tty {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn opened(error: io::Error) -> TtyError {
    match Errno::from_io_error(&error) {
        // A port without hardware can be opened, and says EIO when asked.
        Some(Errno::NOENT | Errno::NOTDIR | Errno::NXIO | Errno::NODEV | Errno::IO) => {
            TtyError::Absent
        }
        Some(Errno::NOTTY) => TtyError::NoTty,
        Some(Errno::BUSY) => TtyError::Taken,
        Some(Errno::ACCESS | Errno::PERM) => TtyError::Forbidden,
        _ => TtyError::Other(error),
    }
}
