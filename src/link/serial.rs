//! Serial links: a null modem cable between the nodes, or anything that looks like one.
//!
//! A line is slow: it takes a beat when the one before is out, and the newest one then; those in
//! between are left out as a whole. Nothing here waits. What the line may have sent of a frame
//! when it broke is ended by the delimiter that every frame begins with.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::Duration;

use crate::config::Serial;
use crate::link::{Buffer, Traffic};
use crate::names::LinkId;
use crate::sys::clock;
use crate::sys::tty::{Tty, TtyError};
use crate::time::Instant;
use crate::wire::line::{self, Decoder};
use crate::wire::session::Arrival;

/// Bytes taken from the kernel in one call; what it holds of a terminal.
const READ_LEN: usize = 4096;
/// Calls for one frame: a line that brings noise without end must end our turn, too.
const READS_MAX: usize = 16;
/// How often a lost line is tried again, in an ioctl or two.
const RETRY: Duration = Duration::from_secs(1);
/// From one look at a line that takes nothing to the next.
const LOOK: Duration = Duration::from_millis(50);
/// After this time without progress a line is called stuck: far longer than its buffer lasts.
const STUCK: Duration = Duration::from_secs(5);
/// Bits on the line for a byte: start, eight, stop.
const BITS: u64 = 10;

/// Why a serial link can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It could not be opened.
    #[error("{device}")]
    Open {
        /// The device.
        device: String,
        /// Why.
        #[source]
        error: TtyError,
    },
    /// It was open.
    #[error("{device}: the line has gone")]
    Lost {
        /// The device.
        device: String,
        /// As the kernel words it.
        #[source]
        source: io::Error,
    },
}

impl OpenError {
    /// Whether it will not pass by itself.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Open { error, .. } => match error {
                TtyError::NoTty | TtyError::Forbidden | TtyError::Speed(_) => true,
                TtyError::Absent | TtyError::Taken | TtyError::Other(_) => false,
            },
            Self::Lost { .. } => false,
        }
    }
}

/// One serial link.
#[derive(Debug)]
pub struct SerialLink {
    id: LinkId,
    device: PathBuf,
    baud: u32,
    state: State,
    waiting: Waiting,
    traffic: Traffic,
    /// Of lines that are closed by now.
    broken: u64,
}

#[derive(Debug)]
enum State {
    Open(Line),
    Closed { fault: OpenError, next: Instant },
}

#[derive(Debug)]
struct Line {
    tty: Tty,
    decoder: Decoder,
    input: Box<[u8; READ_LEN]>,
    /// What of the input has not been decoded.
    rest: std::ops::Range<usize>,
    /// What the kernel has not taken of a frame.
    unsent: Vec<u8>,
    /// When the line will have sent what it has.
    free: Instant,
    /// When it last took something, or had nothing to take.
    moved: Instant,
}

/// Frames that the line has no room for yet.
#[derive(Debug, Default)]
struct Waiting {
    /// Pieces of the beat under way.
    pieces: VecDeque<Vec<u8>>,
    /// The newest beat behind it.
    next: Vec<Vec<u8>>,
}

impl Waiting {
    /// Whether another beat had to make room.
    fn push(&mut self, beat: Vec<Vec<u8>>) -> bool {
        if self.pieces.is_empty() {
            self.pieces = beat.into();
            return false;
        }
        !std::mem::replace(&mut self.next, beat).is_empty()
    }

    fn pop(&mut self) -> Option<Vec<u8>> {
        if self.pieces.is_empty() {
            self.pieces = std::mem::take(&mut self.next).into();
        }
        self.pieces.pop_front()
    }

    fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.next.is_empty()
    }
}

/// One datagram of a farewell, for a process that opens the line itself.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Farewell {
    /// The line.
    pub device: PathBuf,
    /// Its speed.
    pub baud: u32,
    /// As it goes over the line.
    pub bytes: Vec<u8>,
}

/// Sends a farewell over a line that nobody has open. Closing it waits until it is sent: at 9600 baud
/// some 0.3 s, and 1.5 s at most.
///
/// # Errors
/// As the kernel words it; also when the line does not take all of it at once.
pub fn say(word: &Farewell) -> io::Result<()> {
    let mut tty = Tty::open(&word.device, word.baud).map_err(io::Error::other)?;
    if tty.write(&word.bytes)? == word.bytes.len() {
        return Ok(());
    }
    tty.discard();
    Err(io::ErrorKind::WouldBlock.into())
}

impl SerialLink {
    /// Opens a line, or remembers why not.
    pub fn open(id: LinkId, serial: &Serial, now: Instant) -> Self {
        let mut link = Self {
            id,
            device: serial.device.clone(),
            baud: serial.baud.get(),
            state: State::Closed {
                fault: OpenError::Open { device: String::new(), error: TtyError::Absent },
                next: now,
            },
            waiting: Waiting::default(),
            traffic: Traffic::default(),
            broken: 0,
        };
        link.refresh(now);
        link
    }

    /// Its number.
    pub fn id(&self) -> LinkId {
        self.id
    }

    /// Why it can't be used.
    pub fn fault(&self) -> Option<&OpenError> {
        match &self.state {
            State::Open(_) => None,
            State::Closed { fault, .. } => Some(fault),
        }
    }

    /// For poll(2).
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.state {
            State::Open(line) => Some(line.tty.as_fd()),
            State::Closed { .. } => None,
        }
    }

    /// What has gone through it.
    pub fn traffic(&self) -> Traffic {
        let broken = match &self.state {
            State::Open(line) => line.decoder.broken(),
            State::Closed { .. } => 0,
        };
        Traffic { broken: self.broken + broken, ..self.traffic.clone() }
    }

    /// A datagram as something that another process can send.
    pub fn farewell(&self, bytes: &[u8]) -> Farewell {
        let (device, baud) = (self.device.clone(), self.baud);
        Farewell { device, baud, bytes: line::encode(bytes) }
    }

    /// Takes the pieces of a beat. They are sent as soon as the line is free; where it is not
    /// until the next beat comes, they are left out.
    pub fn send(&mut self, pieces: &[Vec<u8>], now: Instant) {
        let State::Open(open) = &self.state else {
            self.traffic.failed += 1;
            return;
        };
        if open.is_stuck(now) {
            self.traffic.failure = Some("the line takes no bytes".to_owned());
        }
        let beat = pieces.iter().map(|piece| line::encode(piece)).collect();
        self.traffic.left_out += u64::from(self.waiting.push(beat));
        self.pump(now);
    }

    /// The next datagram that has come in: when, and how long it is.
    pub fn receive(&mut self, buffer: &mut Buffer) -> Option<(Arrival, usize)> {
        let State::Open(line) = &mut self.state else { return None };
        match line.receive(buffer) {
            Ok(len) => Some((Arrival { link: self.id, at: clock::now() }, len?)),
            Err(error) => {
                self.lose(error);
                None
            }
        }
    }

    /// When [`SerialLink::refresh`] is to be called.
    pub fn refresh_at(&self) -> Instant {
        match &self.state {
            State::Closed { next, .. } => *next,
            State::Open(line) if line.unsent.is_empty() && self.waiting.is_empty() => {
                Instant::NEVER
            }
            State::Open(line) => line.free,
        }
    }

    /// Sends what waits, and opens the line where it is closed, when the time has come.
    pub fn refresh(&mut self, now: Instant) {
        if now < self.refresh_at() {
            return;
        }
        if let State::Closed { .. } = &self.state {
            self.state = match Tty::open(&self.device, self.baud) {
                Ok(tty) => State::Open(Line::new(tty, now)),
                Err(error) => {
                    let device = self.device.display().to_string();
                    let fault = OpenError::Open { device, error };
                    State::Closed { fault, next: now.plus(RETRY) }
                }
            };
        }
        self.pump(now);
    }

    fn pump(&mut self, now: Instant) {
        let State::Open(line) = &mut self.state else { return };
        match line.pump(&mut self.waiting, self.baud, now) {
            Ok(0) => {}
            Ok(sent) => {
                self.traffic.sent += sent;
                self.traffic.failure = None;
            }
            Err(error) => self.lose(error),
        }
    }

    fn lose(&mut self, source: io::Error) {
        self.broken = self.traffic().broken;
        if let State::Open(line) = &self.state {
            line.tty.discard();
        }
        self.waiting = Waiting::default();
        let device = self.device.display().to_string();
        let next = clock::now().plus(RETRY);
        self.state = State::Closed { fault: OpenError::Lost { device, source }, next };
    }
}

impl Drop for SerialLink {
    /// The last beats must get out, unless the line is stuck: closing waits for them.
    fn drop(&mut self) {
        let State::Open(line) = &mut self.state else { return };
        while let Some(frame) = self.waiting.pop() {
            line.unsent.extend(frame);
        }
        let all = line.tty.write(&line.unsent).ok() == Some(line.unsent.len());
        if !all && !line.unsent.is_empty() || line.is_stuck(clock::now()) {
            line.tty.discard();
        }
    }
}

impl Line {
    fn new(tty: Tty, now: Instant) -> Self {
        Self {
            tty,
            decoder: Decoder::default(),
            input: Box::new([0; READ_LEN]),
            rest: 0..0,
            unsent: Vec::new(),
            free: now,
            moved: now,
        }
    }

    fn is_stuck(&self, now: Instant) -> bool {
        now.since(self.moved) > STUCK
    }

    /// The length of the next datagram; `None` when there is none.
    fn receive(&mut self, buffer: &mut Buffer) -> io::Result<Option<usize>> {
        for _ in 0..READS_MAX {
            let mut rest = self.input.get(self.rest.clone()).unwrap_or_default();
            let found = self.decoder.next(&mut rest).and_then(|datagram| {
                buffer.get_mut(..datagram.len())?.copy_from_slice(datagram);
                Some(datagram.len())
            });
            self.rest.start = self.rest.end - rest.len();
            if found.is_some() {
                return Ok(found);
            }
            match self.tty.read(self.input.as_mut_slice()) {
                Ok(len) => self.rest = 0..len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Gives the line what it can bear; how many datagrams that were.
    fn pump(&mut self, waiting: &mut Waiting, baud: u32, now: Instant) -> io::Result<u64> {
        let mut sent = 0;
        loop {
            if self.unsent.is_empty() && waiting.is_empty() {
                self.moved = now;
                return Ok(sent);
            }
            if now < self.free {
                return Ok(sent);
            }
            if self.unsent.is_empty() {
                // Behind a bridge that is slower than it says, or held by the other end.
                let queued = self.tty.unsent();
                if queued > 0 {
                    self.free = now.plus(time_for(queued, baud).max(LOOK));
                    return Ok(sent);
                }
                self.unsent = waiting.pop().unwrap_or_default();
            }
            let taken = match self.tty.write(&self.unsent) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                result => result?,
            };
            self.unsent.drain(..taken.min(self.unsent.len()));
            if taken > 0 {
                self.moved = now;
            }
            self.free = now.plus(time_for(taken, baud));
            if self.unsent.is_empty() {
                sent += 1;
            } else {
                self.free = self.free.max(now.plus(LOOK));
            }
        }
    }
}

/// How long a line is busy with so many bytes.
fn time_for(bytes: usize, baud: u32) -> Duration {
    let bits = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(BITS);
    Duration::from_nanos(bits.saturating_mul(1_000_000_000) / u64::from(baud.max(1)))
}

#[cfg(test)]
mod tests;
