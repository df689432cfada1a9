//! Talking in lines: one reader with limits for all protocols of text.
//!
//! Whatever a server sends, no more of it is kept than [`Limits`] says, and nothing is waited for
//! longer than the check's [`Deadline`].

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::stream::Stream;
use super::{Deadline, Phase, Run, garbage, tls};
use crate::lvs::check::{CheckFailure, shown};
use crate::lvs::exchange::Tls;

/// How much of an answer is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Longest line in bytes, its end not counted.
    pub(super) line: usize,
    /// Most lines of a whole conversation.
    pub(super) lines: usize,
    /// Most bytes of a whole conversation.
    pub(super) total: usize,
}

/// For protocols with commands and replies. The longest lines are the capabilities of IMAP servers
/// (RFC 9051, appendix on RFC 7162: clients take 8192 octets); the most lines are answers to EHLO
/// and welcome texts of FTP servers.
pub(super) const REPLIES: Limits = Limits { line: 8192, lines: 500, total: 64 * 1024 };

/// How much is asked of the kernel at a time.
const CHUNK: usize = 4096;

/// How long a server is given to answer a QUIT: the verdict stands by then, and the only thing that
/// could be gained is a tidy line in its log.
const FAREWELL: Duration = Duration::from_millis(300);

/// A conversation in lines.
pub(super) struct Lines {
    stream: Box<dyn Stream>,
    limits: Limits,
    deadline: Deadline,
    /// What has come and is no line yet, or a line that nobody has asked for.
    buffer: Vec<u8>,
    /// How much of it is known to be without a line feed.
    searched: usize,
    lines: usize,
    total: usize,
}

/// A reply that begins with a number (RFC 5321, 959, 3977).
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) code: u16,
    /// Its last line.
    pub(super) line: Vec<u8>,
}

impl Reply {
    /// What the server says, as a reason for being down.
    pub(super) fn refusal(&self) -> CheckFailure {
        CheckFailure::Answer(shown(&self.line))
    }

    /// 2xx: done.
    pub(super) fn is_positive(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// The reply, if its code is this one.
    pub(super) fn expect(self, code: u16) -> Result<Self, CheckFailure> {
        if self.code == code { Ok(self) } else { Err(self.refusal()) }
    }
}

impl Lines {
    pub(super) fn new(stream: Box<dyn Stream>, limits: Limits, deadline: Deadline) -> Self {
        let (buffer, searched) = (Vec::new(), 0);
        Self { stream, limits, deadline, buffer, searched, lines: 0, total: 0 }
    }

    /// Goes on in TLS, after the server has taken the command for it. What it has said behind that
    /// answer could be anybody's.
    pub(super) async fn start_tls(
        self,
        tls: &Tls,
        host: Option<&str>,
        run: &Run<'_>,
    ) -> Result<Self, CheckFailure> {
        if !self.buffer.is_empty() {
            return Err(CheckFailure::Protocol("more than an answer before TLS".to_owned()));
        }
        let stream = tls::handshake(self.stream, tls, host, run).await?;
        Ok(Self { stream: Box::new(stream), ..self })
    }

    /// Sends a text as it is.
    pub(super) async fn say(&mut self, text: &str, phase: Phase) -> Result<(), CheckFailure> {
        let (stream, deadline) = (&mut self.stream, self.deadline);
        let sent = async {
            stream.write_all(text.as_bytes()).await?;
            stream.flush().await
        };
        let sent =
            async { sent.await.map_err(|error| tls::stream_failure(&error, phase, deadline)) };
        deadline.bound(phase, sent).await
    }

    /// Closes our half.
    pub(super) async fn finish(&mut self, phase: Phase) -> Result<(), CheckFailure> {
        let (stream, deadline) = (&mut self.stream, self.deadline);
        let closed = async {
            stream.shutdown().await.map_err(|error| tls::stream_failure(&error, phase, deadline))
        };
        deadline.bound(phase, closed).await
    }

    /// The next line without its end. A protocol of text has no NUL in it.
    pub(super) async fn line(&mut self, phase: Phase) -> Result<Vec<u8>, CheckFailure> {
        let (line, is_whole) = self.piece(phase).await?.ok_or(CheckFailure::Closed)?;
        if line.contains(&0) {
            return Err(CheckFailure::Protocol("NUL in a line".to_owned()));
        }
        if is_whole { Ok(line) } else { Err(CheckFailure::Closed) }
    }

    /// The next line without its end, or what came before the server closed; `None` after that.
    pub(super) async fn text(&mut self, phase: Phase) -> Result<Option<Vec<u8>>, CheckFailure> {
        Ok(self.piece(phase).await?.map(|(line, _)| line))
    }

    /// The next line, and whether it has its line end.
    async fn piece(&mut self, phase: Phase) -> Result<Option<(Vec<u8>, bool)>, CheckFailure> {
        if self.lines == self.limits.lines {
            return Err(CheckFailure::TooManyLines(self.limits.lines));
        }
        loop {
            let unread = self.buffer.get(self.searched..).unwrap_or_default();
            if let Some(at) = unread.iter().position(|byte| *byte == b'\n') {
                let rest = self.buffer.split_off(self.searched + at + 1);
                let mut line = std::mem::replace(&mut self.buffer, rest);
                self.searched = 0;
                self.lines += 1;
                line.pop();
                line.pop_if(|byte| *byte == b'\r');
                return self.short(line).map(|line| Some((line, true)));
            }
            self.searched = self.buffer.len();
            if self.searched > self.limits.line {
                return Err(CheckFailure::TooLarge(self.limits.line));
            }
            if !self.fill(phase).await? {
                self.lines += 1;
                self.searched = 0;
                let line = std::mem::take(&mut self.buffer);
                return Ok(Some((line, false)).filter(|(line, _)| !line.is_empty()));
            }
        }
    }

    fn short(&self, line: Vec<u8>) -> Result<Vec<u8>, CheckFailure> {
        let max = self.limits.line;
        if line.len() > max { Err(CheckFailure::TooLarge(max)) } else { Ok(line) }
    }

    /// Reads some more; `false` when the server has closed.
    async fn fill(&mut self, phase: Phase) -> Result<bool, CheckFailure> {
        let mut chunk = [0; CHUNK];
        let (stream, deadline) = (&mut self.stream, self.deadline);
        let some = async {
            let read = stream.read(&mut chunk).await;
            read.map_err(|error| tls::stream_failure(&error, phase, deadline))
        };
        let count = deadline.bound(phase, some).await?;
        self.total += count;
        if self.total > self.limits.total {
            return Err(CheckFailure::TooLarge(self.limits.total));
        }
        self.buffer.extend_from_slice(chunk.get(..count).unwrap_or_default());
        Ok(count > 0)
    }

    /// All that comes until the server closes.
    pub(super) async fn rest(&mut self, phase: Phase) -> Result<Vec<u8>, CheckFailure> {
        while self.fill(phase).await? {}
        self.searched = 0;
        Ok(std::mem::take(&mut self.buffer))
    }

    /// A reply with a number. One of several lines has a `-` behind the number of the first, and
    /// ends with a line that begins with the same number and a blank (RFC 959 section 4.2).
    pub(super) async fn reply(&mut self, phase: Phase) -> Result<Reply, CheckFailure> {
        let first = self.line(phase).await?;
        let code = code(&first).ok_or_else(|| garbage(&first))?;
        match first.get(3) {
            None | Some(b' ') => return Ok(Reply { code, line: first }),
            Some(b'-') => (),
            Some(_) => return Err(garbage(&first)),
        }
        loop {
            let line = self.line(phase).await?;
            if self::code(&line) == Some(code) && matches!(line.get(3), None | Some(b' ')) {
                return Ok(Reply { code, line });
            }
        }
    }

    /// Says goodbye, and waits a moment for an answer; what comes of it does not matter.
    pub(super) async fn farewell(mut self, text: &str) {
        let moment = tokio::time::Instant::now() + FAREWELL;
        self.deadline.at = self.deadline.at.min(moment);
        if self.say(text, Phase::Answer).await.is_ok() {
            let _ = self.line(Phase::Answer).await;
        }
    }
}

/// The number that a reply begins with.
fn code(line: &[u8]) -> Option<u16> {
    let digits = line.get(..3).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
