//! The DNS check: one question, and one of its records in the answer.
//!
//! Over UDP or TCP (RFC 1035 section 4.2). Without EDNS, for old servers stumble over it; an answer
//! that does not fit is judged by what is in it. The format itself is the crate's; what it takes
//! is bounded here, before it is asked.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use regex::bytes::Regex;
use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::datagram::Conversation;
use super::{Phase, Run, random, tcp};
use crate::lvs::check::CheckFailure;
use crate::lvs::exchange::{DnsCheck, DnsRecord, Transport};

/// Header of a message, RFC 1035 section 4.1.1.
const HEADER: usize = 12;
/// Fewest bytes of an entry behind the header: a question for the root.
const ENTRY_MIN: usize = 5;

/// Asks and judges.
pub(super) async fn check(check: &DnsCheck, run: &Run<'_>) -> Result<(), CheckFailure> {
    let pattern = run.context.receive(check.receive.as_deref())?;
    let asked = Asked { check, pattern, id: u16::from_be_bytes(random()?) };
    let question = asked.bytes()?;
    match check.transport {
        Transport::Udp => {
            let conversation = Conversation::open(run).await?;
            conversation.ask(&question, |answer| asked.judge(answer)).await
        }
        Transport::Tcp => over_tcp(&asked, &question, run).await,
    }
}

/// The same with two bytes of length before each message (RFC 1035 section 4.2.2).
async fn over_tcp(asked: &Asked<'_>, question: &[u8], run: &Run<'_>) -> Result<(), CheckFailure> {
    let mut stream = tcp::connect(run.target, run).await?;
    let failure = |error| run.deadline.failure(Phase::Answer, &error);
    let exchange = async {
        let len = u16::try_from(question.len()).unwrap_or(u16::MAX).to_be_bytes();
        stream.write_all(&[&len, question].concat()).await.map_err(failure)?;
        loop {
            let len = stream.read_u16().await.map_err(failure)?;
            let mut answer = vec![0; usize::from(len)];
            stream.read_exact(&mut answer).await.map_err(failure)?;
            if let Some(verdict) = asked.judge(&answer) {
                return verdict;
            }
        }
    };
    run.bound(Phase::Answer, exchange).await
}

/// One question and what its answer must have.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) check: &'a DnsCheck,
    pub(super) pattern: Option<&'a Regex>,
    pub(super) id: u16,
}

impl Asked<'_> {
    fn bytes(&self) -> Result<Vec<u8>, CheckFailure> {
        let local = |error: simple_dns::SimpleDnsError| CheckFailure::Local(error.to_string());
        let mut packet = Packet::new_query(self.id);
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
        let name = Name::new(&self.check.name).map_err(local)?;
        let class = QCLASS::CLASS(CLASS::IN);
        packet.questions.push(Question::new(name, self.kind(), class, false));
        packet.build_bytes_vec().map_err(local)
    }

    fn kind(&self) -> QTYPE {
        QTYPE::TYPE(match self.check.record {
            DnsRecord::A => TYPE::A,
            DnsRecord::Aaaa => TYPE::AAAA,
            DnsRecord::Cname => TYPE::CNAME,
            DnsRecord::Mx => TYPE::MX,
            DnsRecord::Ns => TYPE::NS,
            DnsRecord::Ptr => TYPE::PTR,
            DnsRecord::Soa => TYPE::SOA,
            DnsRecord::Srv => TYPE::SRV,
            DnsRecord::Txt => TYPE::TXT,
        })
    }

    /// What a message says; `None` where it does not answer this question.
    pub(super) fn judge(&self, message: &[u8]) -> Option<Result<(), CheckFailure>> {
        let invalid = |what: &str| Some(Err(CheckFailure::Protocol(what.to_owned())));
        if let Err(what) = bounded(message) {
            return invalid(what);
        }
        let Ok(answer) = Packet::parse(message) else {
            return invalid("a DNS message that can't be read");
        };
        if answer.id() != self.id {
            return None;
        }
        if !answer.has_flags(PacketFlag::RESPONSE) {
            return invalid("a question for an answer");
        }
        match answer.rcode() {
            RCODE::NoError if !self.is_asked(&answer) => invalid("the answer to another question"),
            RCODE::NoError => Some(self.records(&answer)),
            code => Some(Err(CheckFailure::Answer(in_words(code).to_owned()))),
        }
    }

    fn is_asked(&self, answer: &Packet<'_>) -> bool {
        let [question] = answer.questions.as_slice() else { return false };
        question.qtype == self.kind()
            && question.qname.to_string().eq_ignore_ascii_case(&self.check.name)
    }

    fn records(&self, answer: &Packet<'_>) -> Result<(), CheckFailure> {
        let kind = self.kind();
        let mut found = answer.answers.iter().filter(|record| record.match_qtype(kind)).peekable();
        if found.peek().is_none() {
            let cut = answer.has_flags(PacketFlag::TRUNCATION);
            let why = if cut { "the answer is truncated" } else { "no such record" };
            return Err(CheckFailure::Answer(format!("{why} ({})", self.check.record.word())));
        }
        let (Some(pattern), Some(text)) = (self.pattern, &self.check.receive) else {
            return Ok(());
        };
        if found.any(|record| pattern.is_match(text_of(&record.rdata).as_bytes())) {
            return Ok(());
        }
        Err(CheckFailure::NoMatch(text.clone()))
    }
}

/// Whether what the header announces can be in the message at all: room is made for all of it.
fn bounded(message: &[u8]) -> Result<(), &'static str> {
    let Some((header, rest)) = message.split_first_chunk::<HEADER>() else {
        return Err("shorter than a DNS header");
    };
    let [.., a, b, c, d, e, f, g, h] = *header;
    let announced: usize = [[a, b], [c, d], [e, f], [g, h]]
        .into_iter()
        .map(|count| usize::from(u16::from_be_bytes(count)))
        .sum();
    if announced.saturating_mul(ENTRY_MIN) > rest.len() {
        return Err("a DNS header that announces more than there is");
    }
    Ok(())
}

/// A record as in a zone file, names without a dot at their end.
fn text_of(data: &RData<'_>) -> String {
    match data {
        RData::A(it) => Ipv4Addr::from(it.address).to_string(),
        RData::AAAA(it) => Ipv6Addr::from(it.address).to_string(),
        RData::CNAME(it) => it.0.to_string(),
        RData::NS(it) => it.0.to_string(),
        RData::PTR(it) => it.0.to_string(),
        RData::MX(it) => format!("{} {}", it.preference, it.exchange),
        RData::SOA(it) => format!(
            "{} {} {} {} {} {} {}",
            it.mname, it.rname, it.serial, it.refresh, it.retry, it.expire, it.minimum
        ),
        RData::SRV(it) => format!("{} {} {} {}", it.priority, it.weight, it.port, it.target),
        RData::TXT(it) => {
            let mut text = String::new();
            for (key, value) in it.iter_raw() {
                let blank = if text.is_empty() { "" } else { " " };
                let _ = write!(text, "{blank}{}", String::from_utf8_lossy(key));
                if let Some(value) = value {
                    let _ = write!(text, "={}", String::from_utf8_lossy(value));
                }
            }
            text
        }
        _ => String::new(),
    }
}

/// The names that dig(1) has for them.
fn in_words(code: RCODE) -> &'static str {
    match code {
        RCODE::NoError => "NOERROR",
        RCODE::FormatError => "FORMERR",
        RCODE::ServerFailure => "SERVFAIL",
        RCODE::NameError => "NXDOMAIN",
        RCODE::NotImplemented => "NOTIMP",
        RCODE::Refused => "REFUSED",
        RCODE::NOTAUTH => "NOTAUTH",
        _ => "an unusual error code",
    }
}
