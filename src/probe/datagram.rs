//! One question over UDP, asked again while no answer comes: one lost packet is no verdict.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;

use tokio::net::UdpSocket;

use super::{Deadline, Phase, Run, tcp};
use crate::lvs::check::CheckFailure;
use crate::sys::datagram::hear_errors;

/// Times that a question is asked within one deadline, evenly spread.
const ASKED_MAX: u32 = 3;

/// Longest answer, in bytes: RADIUS's limit (RFC 2865 section 3), and four times what name servers
/// send without EDNS.
pub(super) const ANSWER_MAX: usize = 4096;

/// A socket of our own that hears only the server; its port is the kernel's choice, so nobody who
/// does not see the question can answer it.
#[derive(Debug)]
pub(super) struct Conversation {
    socket: UdpSocket,
    target: SocketAddr,
    deadline: Deadline,
}

impl Conversation {
    /// With the server of this run.
    pub(super) async fn open(run: &Run<'_>) -> Result<Self, CheckFailure> {
        let (target, deadline) = (run.target, run.deadline);
        let any = match target {
            SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        };
        let local = |error: io::Error| match run.source {
            Some(source) => tcp::unbound(source, &error),
            None => CheckFailure::Local(error.to_string()),
        };
        let socket = UdpSocket::bind((run.source.unwrap_or(any), 0)).await.map_err(local)?;
        hear_errors(socket.as_fd(), target.is_ipv6()).map_err(local)?;
        let failure = |error: io::Error| deadline.icmp(target, Phase::Connect, &error);
        socket.connect(target).await.map_err(failure)?;
        Ok(Self { socket, target, deadline })
    }

    /// The address and port from which we ask.
    pub(super) fn socket(&self) -> Result<SocketAddr, CheckFailure> {
        self.socket.local_addr().map_err(|error| CheckFailure::Local(error.to_string()))
    }

    /// The address from which we ask.
    pub(super) fn local(&self) -> Result<IpAddr, CheckFailure> {
        self.socket().map(|it| it.ip())
    }

    /// Asks until `judge` takes a datagram for the answer; those for which it says `None` are
    /// somebody else's.
    pub(super) async fn ask(
        &self,
        question: &[u8],
        judge: impl Fn(&[u8]) -> Option<Result<(), CheckFailure>>,
    ) -> Result<(), CheckFailure> {
        let pause = self.deadline.timeout / ASKED_MAX;
        let failure = |error: io::Error| self.failure(&error);
        let asking = async {
            for _ in 1..ASKED_MAX {
                self.socket.send(question).await.map_err(failure)?;
                if let Ok(verdict) = tokio::time::timeout(pause, self.hear(&judge)).await {
                    return verdict;
                }
            }
            // The last one waits for the rest of the deadline, whatever rounding left of it.
            self.socket.send(question).await.map_err(failure)?;
            self.hear(&judge).await
        };
        self.deadline.bound(Phase::Answer, asking).await
    }

    async fn hear(
        &self,
        judge: impl Fn(&[u8]) -> Option<Result<(), CheckFailure>>,
    ) -> Result<(), CheckFailure> {
        // One byte more, to know that there was more.
        let mut buffer = vec![0; ANSWER_MAX + 1];
        loop {
            let received = self.socket.recv(&mut buffer).await;
            let len = received.map_err(|error| self.failure(&error))?;
            if len > ANSWER_MAX {
                return Err(CheckFailure::TooLarge(ANSWER_MAX));
            }
            if let Some(verdict) = judge(buffer.get(..len).unwrap_or_default()) {
                return verdict;
            }
        }
    }

    fn failure(&self, error: &io::Error) -> CheckFailure {
        self.deadline.icmp(self.target, Phase::Answer, error)
    }
}
