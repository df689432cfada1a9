//! SIP: OPTIONS, which a server answers whoever asks (RFC 3261 section 11).

use std::net::SocketAddr;

use super::datagram::Conversation;
use super::lines::{Lines, REPLIES};
use super::{Phase, Run, garbage, own_address, tcp};
use crate::lvs::check::{CheckFailure, shown};
use crate::lvs::exchange::{SipCheck, Transport};

/// Asks, and wants 200.
pub(super) async fn check(check: &SipCheck, run: &Run<'_>) -> Result<(), CheckFailure> {
    match check.transport {
        Transport::Tcp => over_tcp(check, run).await,
        Transport::Udp => over_udp(check, run).await,
    }
}

async fn over_udp(check: &SipCheck, run: &Run<'_>) -> Result<(), CheckFailure> {
    let server = Conversation::open(run).await?;
    let question = question(check, "UDP", server.socket()?)?;
    server.ask(question.as_bytes(), judge).await
}

/// What a datagram says; `None`: more comes.
pub(super) fn judge(answer: &[u8]) -> Option<Result<(), CheckFailure>> {
    let line = answer.split(|byte| *byte == b'\r' || *byte == b'\n').next();
    match is_final(line.unwrap_or_default()) {
        Ok(true) => Some(Ok(())),
        Ok(false) => None,
        Err(failure) => Some(Err(failure)),
    }
}

async fn over_tcp(check: &SipCheck, run: &Run<'_>) -> Result<(), CheckFailure> {
    let stream = tcp::connect(run.target, run).await?;
    let own = stream.local_addr().map_err(|error| CheckFailure::Local(error.to_string()))?;
    let mut lines = Lines::new(Box::new(stream), REPLIES, run.deadline);
    lines.say(&question(check, "TCP", own)?, Phase::Answer).await?;
    answered(&mut lines).await
}

/// Reads answers until the last one.
pub(super) async fn answered(lines: &mut Lines) -> Result<(), CheckFailure> {
    // Provisional answers have headers and an empty line behind them.
    while !is_final(&lines.line(Phase::Answer).await?)? {
        while !lines.line(Phase::Answer).await?.is_empty() {}
    }
    Ok(())
}

/// Whether a status line is the last word, and well; 1xx says that more comes.
fn is_final(line: &[u8]) -> Result<bool, CheckFailure> {
    let mut words = line.split(|byte| *byte == b' ');
    let is_sip = words.next() == Some(b"SIP/2.0");
    match words.next() {
        Some(b"200") if is_sip => Ok(true),
        Some([b'1', b'0'..=b'9', b'0'..=b'9']) if is_sip => Ok(false),
        Some([b'2'..=b'6', b'0'..=b'9', b'0'..=b'9']) if is_sip => {
            Err(CheckFailure::Answer(shown(line)))
        }
        _ => Err(garbage(line)),
    }
}

/// The request. Branch, tag and Call-ID are new each time, so that no server takes it for a
/// repeated one.
fn question(check: &SipCheck, carrier: &str, own: SocketAddr) -> Result<String, CheckFailure> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| CheckFailure::Local(error.to_string()))?;
    let id = format!("{:016x}", u64::from_be_bytes(bytes));
    let user = &check.user.clone().unwrap_or_else(own_address);
    Ok(format!(
        "OPTIONS sip:{user} SIP/2.0\r\n\
         Via: SIP/2.0/{carrier} {own};rport;branch=z9hG4bK{id}\r\n\
         Max-Forwards: 70\r\n\
         To: <sip:{user}>\r\n\
         From: <sip:{user}>;tag={id}\r\n\
         Call-ID: {id}\r\n\
         CSeq: 1 OPTIONS\r\n\
         Contact: <sip:{user}>\r\n\
         Accept: application/sdp\r\n\
         Content-Length: 0\r\n\r\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_200_is_well_and_1xx_is_not_the_last_word() {
        assert_eq!(is_final(b"SIP/2.0 200 OK"), Ok(true));
        assert_eq!(is_final(b"SIP/2.0 100 Trying"), Ok(false));
        let refused = CheckFailure::Answer("SIP/2.0 404 Not Found".to_owned());
        assert_eq!(is_final(b"SIP/2.0 404 Not Found"), Err(refused));
        for line in ["", "SIP/2.0", "SIP/3.0 200 OK", "SIP/2.0 2000", "SIP/2.0 20", "200"] {
            let failure = is_final(line.as_bytes()).unwrap_err();
            assert!(matches!(failure, CheckFailure::Protocol(_)), "{line}: {failure}");
        }
    }
}
