//! The RADIUS check: Access-Request with PAP, and Access-Accept (RFC 2865).
//!
//! The request carries a Message-Authenticator (RFC 3579 section 3.2), which servers demand since
//! one could be forged without; the answer's authenticator is always compared, and its
//! Message-Authenticator where it has one.

use std::net::IpAddr;

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};

use super::datagram::Conversation;
use super::{Run, random};
use crate::lvs::check::{CheckFailure, shown};
use crate::lvs::exchange::RadiusCheck;

/// Code, identifier, length and authenticator.
const HEADER: usize = 20;
/// Where the authenticator is.
const AUTHENTICATOR: usize = 4;

const ACCESS_REQUEST: u8 = 1;
const ACCESS_ACCEPT: u8 = 2;
const ACCESS_REJECT: u8 = 3;
const ACCESS_CHALLENGE: u8 = 11;

const USER_NAME: u8 = 1;
const USER_PASSWORD: u8 = 2;
const NAS_IP_ADDRESS: u8 = 4;
const REPLY_MESSAGE: u8 = 18;
const MESSAGE_AUTHENTICATOR: u8 = 80;
const NAS_IPV6_ADDRESS: u8 = 95;

/// Asks until the server answers.
pub(super) async fn check(check: &RadiusCheck, run: &Run<'_>) -> Result<(), CheckFailure> {
    let conversation = Conversation::open(run).await?;
    let [identifier] = random()?;
    let asked = Asked { check, identifier, authenticator: random()? };
    let request = asked.bytes(conversation.local()?)?;
    conversation.ask(&request, |answer| asked.judge(answer)).await
}

/// One request.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) check: &'a RadiusCheck,
    pub(super) identifier: u8,
    /// Of the request; the answer's is made from it.
    pub(super) authenticator: [u8; 16],
}

impl Asked<'_> {
    fn bytes(&self, nas: IpAddr) -> Result<Vec<u8>, CheckFailure> {
        let mut attributes = Vec::new();
        // First of all, as servers that fear a forger want it.
        put(&mut attributes, MESSAGE_AUTHENTICATOR, &[0; 16])?;
        put(&mut attributes, USER_NAME, self.check.login.as_bytes())?;
        put(&mut attributes, USER_PASSWORD, &self.hidden_password())?;
        match nas {
            IpAddr::V4(it) => put(&mut attributes, NAS_IP_ADDRESS, &it.octets())?,
            IpAddr::V6(it) => put(&mut attributes, NAS_IPV6_ADDRESS, &it.octets())?,
        }
        let mut packet = self.packet(ACCESS_REQUEST, &attributes)?;
        let sum = self.message_sum(&packet);
        if let Some(place) = packet.get_mut(HEADER + 2..HEADER + 18) {
            place.copy_from_slice(&sum);
        }
        Ok(packet)
    }

    /// A packet under the request's identifier and authenticator.
    fn packet(&self, code: u8, attributes: &[u8]) -> Result<Vec<u8>, CheckFailure> {
        let len = u16::try_from(HEADER + attributes.len());
        let len = len.map_err(|_| CheckFailure::Local("the request is too long".to_owned()))?;
        let head = [&[code, self.identifier][..], &len.to_be_bytes(), &self.authenticator];
        Ok([&head.concat(), attributes].concat())
    }

    fn secret(&self) -> &[u8] {
        self.check.secret.reveal().as_bytes()
    }

    /// RFC 2865 section 5.2: blocks of 16 bytes, each under the sum of the secret and the block
    /// before.
    fn hidden_password(&self) -> Vec<u8> {
        let password = self.check.password.reveal().as_bytes();
        let mut before: [u8; 16] = self.authenticator;
        let mut hidden = Vec::new();
        let blocks = password.len().div_ceil(16).max(1);
        let mut bytes = password.iter().copied().chain(std::iter::repeat(0));
        for _ in 0..blocks {
            let mut block: [u8; 16] =
                Md5::new().chain_update(self.secret()).chain_update(before).finalize().into();
            for (byte, clear) in block.iter_mut().zip(&mut bytes) {
                *byte ^= clear;
            }
            hidden.extend(block);
            before = block;
        }
        hidden
    }

    /// RFC 3579 section 3.2, over a packet whose own place of it is zero.
    fn message_sum(&self, packet: &[u8]) -> [u8; 16] {
        match Hmac::<Md5>::new_from_slice(self.secret()) {
            Ok(sum) => sum.chain_update(packet).finalize().into_bytes().into(),
            // Keys of any length will do.
            Err(_) => [0; 16],
        }
    }

    /// What a datagram says; `None` where it does not answer this request.
    pub(super) fn judge(&self, datagram: &[u8]) -> Option<Result<(), CheckFailure>> {
        let answer = match Answer::of(datagram) {
            Ok(answer) => answer,
            Err(what) => return Some(Err(CheckFailure::Protocol(what.to_owned()))),
        };
        if answer.identifier != self.identifier {
            return None;
        }
        if let Err(what) = self.proven(&answer) {
            return Some(Err(CheckFailure::Protocol(what.to_owned())));
        }
        let words = || {
            let text = answer.attribute(REPLY_MESSAGE).map(|(_, text)| shown(text));
            text.map(|text| format!(": {text}")).unwrap_or_default()
        };
        Some(match answer.code {
            ACCESS_ACCEPT => Ok(()),
            ACCESS_REJECT => Err(CheckFailure::Login(format!("Access-Reject{}", words()))),
            ACCESS_CHALLENGE => Err(CheckFailure::Login(format!("Access-Challenge{}", words()))),
            code => Err(CheckFailure::Protocol(format!("RADIUS code {code}"))),
        })
    }

    /// Whether somebody with the secret has answered this very request.
    fn proven(&self, answer: &Answer<'_>) -> Result<(), &'static str> {
        const WRONG: &str = "the answer is signed with another secret";
        let head = answer.packet.get(..AUTHENTICATOR).unwrap_or_default();
        let sum: [u8; 16] = Md5::new()
            .chain_update(head)
            .chain_update(self.authenticator)
            .chain_update(answer.attributes)
            .chain_update(self.secret())
            .finalize()
            .into();
        let theirs = answer.packet.get(AUTHENTICATOR..HEADER).unwrap_or_default();
        if theirs != sum {
            return Err(WRONG);
        }
        let Some((at, theirs)) = answer.attribute(MESSAGE_AUTHENTICATOR) else { return Ok(()) };
        let mut packet = [head, &self.authenticator, answer.attributes].concat();
        let Some(place) = packet.get_mut(HEADER + at..HEADER + at + 16) else { return Err(WRONG) };
        place.fill(0);
        if theirs == self.message_sum(&packet) { Ok(()) } else { Err(WRONG) }
    }
}

fn put(attributes: &mut Vec<u8>, kind: u8, value: &[u8]) -> Result<(), CheckFailure> {
    let len = u8::try_from(value.len() + 2);
    let len = len.map_err(|_| CheckFailure::Local("the login is too long".to_owned()))?;
    attributes.extend([kind, len]);
    attributes.extend(value);
    Ok(())
}

/// A packet whose lengths agree.
#[derive(Debug)]
struct Answer<'a> {
    code: u8,
    identifier: u8,
    packet: &'a [u8],
    attributes: &'a [u8],
}

impl<'a> Answer<'a> {
    fn of(datagram: &'a [u8]) -> Result<Self, &'static str> {
        let Some([code, identifier, high, low, ..]) = datagram.first_chunk::<HEADER>() else {
            return Err("shorter than a RADIUS packet");
        };
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        // What is behind the length is padding (RFC 2865 section 3).
        let packet = datagram.get(..len).ok_or("a RADIUS packet that is cut off")?;
        let attributes = packet.get(HEADER..).ok_or("a RADIUS packet shorter than its header")?;
        let answer = Self { code: *code, identifier: *identifier, packet, attributes };
        let mut at = 0;
        while let Some(rest) = attributes.get(at..).filter(|rest| !rest.is_empty()) {
            let Some((_, len)) = attribute(rest) else {
                return Err("a RADIUS attribute that is cut off");
            };
            at += len;
        }
        Ok(answer)
    }

    /// The first attribute of this type: where its value begins, and the value.
    fn attribute(&self, wanted: u8) -> Option<(usize, &'a [u8])> {
        let mut at = 0;
        loop {
            let rest = self.attributes.get(at..)?;
            let (kind, len) = attribute(rest)?;
            if kind == wanted {
                return Some((at + 2, rest.get(2..len)?));
            }
            at += len;
        }
    }
}

/// Type and length of the attribute with which the bytes begin.
fn attribute(bytes: &[u8]) -> Option<(u8, usize)> {
    let [kind, len, ..] = *bytes else { return None };
    let len = usize::from(len);
    (len >= 2 && len <= bytes.len()).then_some((kind, len))
}
