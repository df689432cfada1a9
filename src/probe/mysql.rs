//! The MySQL and MariaDB check: a login, one query, and a row of its answer.
//!
//! By hand, protocol 10: `mysql_native_password`, and `caching_sha2_password`, for which the
//! password itself may have to be sent and which is therefore spoken within TLS where the server
//! has it. TLS is with anybody. Nothing of a row is read but its first byte.

use sha1::Sha1;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use zeroize::Zeroizing;

use super::wire::Wire;
use super::{Deadline, Phase, Run, no_tls, tcp, tls};
use crate::lvs::check::{CheckFailure, shown};
use crate::lvs::exchange::{Authority, SqlCheck, Tls};

/// Longest packet that is read whole, in bytes: greeting, login, the description of a column.
const PACKET_MAX: usize = 64 * 1024;
/// Most columns of an answer; servers have at most 4096.
const COLUMNS_MAX: u64 = 4096;
/// Most steps of a login: a change of the method, its data, and the end.
const STEPS_MAX: usize = 8;

/// Capabilities, `CLIENT_...` of the protocol.
const LONG_PASSWORD: u32 = 1;
const CONNECT_WITH_DB: u32 = 8;
const PROTOCOL_41: u32 = 0x200;
const SSL: u32 = 0x800;
const TRANSACTIONS: u32 = 0x2000;
const SECURE_CONNECTION: u32 = 0x8000;
const PLUGIN_AUTH: u32 = 0x8_0000;

/// `utf8mb4_general_ci`, which MySQL and MariaDB both have.
const CHARSET: u8 = 45;
/// What a client says that it takes; no row is read anyway.
const CLIENT_PACKET_MAX: u32 = 1 << 24;
const COM_QUERY: u8 = 3;

const NATIVE: &str = "mysql_native_password";
const CACHING_SHA2: &str = "caching_sha2_password";

/// Connects and asks.
pub(super) async fn check(check: &SqlCheck, run: &Run<'_>) -> Result<(), CheckFailure> {
    let mut talk = Talk::new(tcp::connect(run.target, run).await?, run.deadline);
    let greeting = run.bound(Phase::Answer, talk.greeting()).await?;
    let offered = greeting.capabilities & SSL != 0;
    let wanted = check.tls.is_some() || greeting.plugin == CACHING_SHA2;
    let mut login = Login { check, greeting, encrypted: false };
    let tls = match (offered, &check.tls) {
        (false, Some(_)) => return Err(no_tls()),
        (true, tls) if wanted => tls.clone().unwrap_or_else(|| Tls::by(Authority::Anybody)),
        _ => return run.bound(Phase::Answer, login.exchange(talk)).await,
    };
    run.bound(Phase::Answer, talk.say(&login.head(SSL))).await?;
    login.encrypted = true;
    let sequence = talk.sequence;
    let stream = talk.wire.into_stream();
    let stream = stream.ok_or_else(|| invalid("more than a greeting before TLS"))?;
    let stream = tls::handshake(stream, &tls, None, run).await?;
    let talk = Talk { sequence, ..Talk::new(stream, run.deadline) };
    run.bound(Phase::Answer, login.exchange(talk)).await
}

/// The same over a stream that is not encrypted later: for replay.
pub(super) async fn plain<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    check: &SqlCheck,
    deadline: Deadline,
) -> Result<(), CheckFailure> {
    let mut talk = Talk::new(stream, deadline);
    let greeting = talk.greeting().await?;
    Login { check, greeting, encrypted: false }.exchange(talk).await
}

/// Packets over a connection.
struct Talk<S> {
    wire: Wire<S>,
    /// Of the next packet, whoever sends it.
    sequence: u8,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<S> {
    fn new(stream: S, deadline: Deadline) -> Self {
        Self { wire: Wire::new(stream, deadline), sequence: 0 }
    }

    async fn say(&mut self, packet: &[u8]) -> Result<(), CheckFailure> {
        let len = u32::try_from(packet.len()).ok().filter(|len| *len < CLIENT_PACKET_MAX - 1);
        let Some(len) = len else {
            return Err(CheckFailure::Local("the query is too long".to_owned()));
        };
        let [a, b, c, _] = len.to_le_bytes();
        let bytes = Zeroizing::new([&[a, b, c, self.sequence], packet].concat());
        self.sequence = self.sequence.wrapping_add(1);
        self.wire.say(&bytes).await
    }

    /// The length of the next packet.
    async fn head(&mut self) -> Result<usize, CheckFailure> {
        let [a, b, c, sequence] = self.wire.array().await?;
        self.sequence = sequence.wrapping_add(1);
        let len = u32::from_le_bytes([a, b, c, 0]);
        if len == 0 {
            return Err(invalid("an empty packet"));
        }
        Ok(usize::try_from(len).unwrap_or(usize::MAX))
    }

    async fn hear(&mut self) -> Result<Vec<u8>, CheckFailure> {
        let len = self.head().await?;
        if len > PACKET_MAX {
            return Err(CheckFailure::TooLarge(PACKET_MAX));
        }
        self.wire.exactly(len).await
    }

    async fn greeting(&mut self) -> Result<Greeting, CheckFailure> {
        let packet = self.hear().await?;
        if let [0xff, rest @ ..] = packet.as_slice() {
            return Err(CheckFailure::Answer(refusal(rest).1));
        }
        Greeting::of(&packet).ok_or_else(|| invalid("not the greeting of MySQL"))
    }
}

/// What a server says first.
#[derive(Debug)]
struct Greeting {
    capabilities: u32,
    /// Mixed into the password.
    seed: Vec<u8>,
    /// Method of login.
    plugin: String,
}

impl Greeting {
    fn of(packet: &[u8]) -> Option<Self> {
        let [10, rest @ ..] = packet else { return None };
        let (_version, rest) = text(rest)?;
        let (_thread, rest) = rest.split_at_checked(4)?;
        let (first, rest) = rest.split_at_checked(8)?;
        let [0, low, below, _charset, _, _, high, above, len, rest @ ..] = rest else {
            return None;
        };
        let capabilities = u32::from_le_bytes([*low, *below, *high, *above]);
        if capabilities & PROTOCOL_41 == 0 || capabilities & SECURE_CONNECTION == 0 {
            return None;
        }
        let (_reserved, rest) = rest.split_at_checked(10)?;
        let second = usize::from(*len).saturating_sub(8).max(13);
        let (second, rest) = rest.split_at_checked(second)?;
        // A NUL ends it.
        let second = second.split_last().map(|(_, seed)| seed)?;
        let plugin =
            if capabilities & PLUGIN_AUTH == 0 { NATIVE.as_bytes() } else { text(rest)?.0 };
        let plugin = String::from_utf8_lossy(plugin).into_owned();
        Some(Self { capabilities, seed: [first, second].concat(), plugin })
    }
}

/// A login under way.
struct Login<'a> {
    check: &'a SqlCheck,
    greeting: Greeting,
    encrypted: bool,
}

impl Login<'_> {
    /// What both the request for TLS and the login begin with.
    fn head(&self, more: u32) -> Vec<u8> {
        let mut capabilities =
            LONG_PASSWORD | PROTOCOL_41 | TRANSACTIONS | SECURE_CONNECTION | PLUGIN_AUTH | more;
        if self.check.database.is_some() {
            capabilities |= CONNECT_WITH_DB;
        }
        let head = [&capabilities.to_le_bytes()[..], &CLIENT_PACKET_MAX.to_le_bytes()];
        [&head.concat()[..], &[CHARSET], &[0; 23]].concat()
    }

    /// Logs in and asks.
    async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        mut talk: Talk<S>,
    ) -> Result<(), CheckFailure> {
        self.run(&mut talk).await?;
        talk.sequence = 0;
        talk.say(&[&[COM_QUERY], self.check.query.as_bytes()].concat()).await?;
        row(&mut talk).await
    }

    async fn run<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        talk: &mut Talk<S>,
    ) -> Result<(), CheckFailure> {
        let tls = if self.encrypted { SSL } else { 0 };
        // A method of which we know nothing is changed by the server, if it can.
        let known = matches!(self.greeting.plugin.as_str(), NATIVE | CACHING_SHA2);
        let mut plugin = if known { self.greeting.plugin.clone() } else { NATIVE.to_owned() };
        let proof = self.proof(&plugin, &self.greeting.seed)?;
        let mut packet = self.head(tls);
        packet.extend(self.check.login.as_bytes());
        packet.push(0);
        packet.push(u8::try_from(proof.len()).unwrap_or_default());
        packet.extend(proof);
        if let Some(database) = &self.check.database {
            packet.extend(database.as_bytes());
            packet.push(0);
        }
        packet.extend(plugin.as_bytes());
        packet.push(0);
        talk.say(&packet).await?;
        for _ in 0..STEPS_MAX {
            let packet = talk.hear().await?;
            match packet.as_slice() {
                [0, ..] => return Ok(()),
                [0xff, rest @ ..] => return Err(login_refusal(rest)),
                [0xfe, rest @ ..] => {
                    let change = text(rest).ok_or_else(|| invalid("an old login"))?;
                    let (name, seed) = change;
                    plugin = String::from_utf8_lossy(name).into_owned();
                    let seed = seed.strip_suffix(&[0]).unwrap_or(seed);
                    talk.say(&self.proof(&plugin, seed)?).await?;
                }
                // The server knows the password already, or wants it.
                [1, 3] if plugin == CACHING_SHA2 => {}
                [1, 4] if plugin == CACHING_SHA2 => self.send_password(talk).await?,
                _ => return Err(invalid("no answer to a login")),
            }
        }
        Err(invalid("a login without an end"))
    }

    fn password(&self) -> &[u8] {
        self.check.password.as_ref().map_or(&[], |it| it.reveal().as_bytes())
    }

    /// That we know the password, without the password.
    fn proof(&self, plugin: &str, seed: &[u8]) -> Result<Vec<u8>, CheckFailure> {
        match plugin {
            _ if self.password().is_empty() => Ok(Vec::new()),
            NATIVE => Ok(native(self.password(), seed)),
            CACHING_SHA2 => Ok(caching_sha2(self.password(), seed)),
            other => {
                let other = shown(other.as_bytes());
                Err(CheckFailure::Answer(format!("it wants a login by {other}")))
            }
        }
    }

    async fn send_password<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        talk: &mut Talk<S>,
    ) -> Result<(), CheckFailure> {
        if !self.encrypted {
            let words = "it wants the password itself, and has no TLS to send it in";
            return Err(CheckFailure::Answer(words.to_owned()));
        }
        let password = Zeroizing::new([self.password(), &[0]].concat());
        talk.say(&password).await
    }
}

/// `SHA1(password) XOR SHA1(seed, SHA1(SHA1(password)))`.
fn native(password: &[u8], seed: &[u8]) -> Vec<u8> {
    let once = Sha1::digest(password);
    let mixed = Sha1::new().chain_update(seed).chain_update(Sha1::digest(once)).finalize();
    once.iter().zip(mixed).map(|(a, b)| a ^ b).collect()
}

/// `SHA256(password) XOR SHA256(SHA256(SHA256(password)), seed)`.
fn caching_sha2(password: &[u8], seed: &[u8]) -> Vec<u8> {
    let once = Sha256::digest(password);
    let mixed = Sha256::new().chain_update(Sha256::digest(once)).chain_update(seed).finalize();
    once.iter().zip(mixed).map(|(a, b)| a ^ b).collect()
}

/// Until the first row, or the end.
async fn row<S: AsyncRead + AsyncWrite + Unpin>(talk: &mut Talk<S>) -> Result<(), CheckFailure> {
    let packet = talk.hear().await?;
    let columns = match packet.as_slice() {
        [0xff, rest @ ..] => return Err(CheckFailure::Answer(refusal(rest).1)),
        // Without rows: what it has changed counts, as for ldirectord.
        [0, rest @ ..] => {
            return match number(rest) {
                Some(1..) => Ok(()),
                Some(0) => Err(CheckFailure::Answer("no row".to_owned())),
                None => Err(invalid("an end that can't be read")),
            };
        }
        packet => number(packet).filter(|columns| (1..=COLUMNS_MAX).contains(columns)),
    };
    let columns = columns.ok_or_else(|| invalid("no answer to a query"))?;
    for _ in 0..columns {
        talk.hear().await?;
    }
    match talk.hear().await?.as_slice() {
        [0xfe, rest @ ..] if rest.len() < 8 => {}
        _ => return Err(invalid("columns without an end")),
    }
    let len = talk.head().await?;
    match talk.wire.array().await? {
        [0xff] if len <= PACKET_MAX => {
            let rest = talk.wire.exactly(len - 1).await?;
            Err(CheckFailure::Answer(refusal(&rest).1))
        }
        [0xfe] if len < 9 => Err(CheckFailure::Answer("no row".to_owned())),
        _ => Ok(()),
    }
}

/// Up to a NUL, and what stands behind it.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    Some((bytes.get(..end)?, bytes.get(end + 1..)?))
}

/// A number in one to nine bytes.
fn number(bytes: &[u8]) -> Option<u64> {
    let (first, rest) = bytes.split_first()?;
    let len = match first {
        0..=0xfa => return Some(u64::from(*first)),
        0xfc => 2,
        0xfd => 3,
        0xfe => 8,
        _ => return None,
    };
    let digits = rest.get(..len)?;
    Some(digits.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// Code and words of an error, behind its first byte.
fn refusal(rest: &[u8]) -> (u16, String) {
    let [low, high, words @ ..] = rest else { return (0, "an error".to_owned()) };
    let code = u16::from_le_bytes([*low, *high]);
    // `#` and a SQLSTATE of five characters.
    let words =
        if words.first() == Some(&b'#') { words.get(6..).unwrap_or_default() } else { words };
    (code, format!("{code} {}", shown(words)))
}

/// 1044 to 1046 and 1698 are about who may do what; anything else is trouble of the server's own.
fn login_refusal(rest: &[u8]) -> CheckFailure {
    match refusal(rest) {
        (1044 | 1045 | 1251 | 1698 | 3118, words) => CheckFailure::Login(words),
        (_, words) => CheckFailure::Answer(words),
    }
}

fn invalid(what: &str) -> CheckFailure {
    CheckFailure::Protocol(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by the reference formulas with another implementation of the digests.
    #[test]
    fn the_password_is_mixed_with_the_seed_as_servers_expect_it() {
        let seed: Vec<u8> = (1..=20).collect();
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        assert_eq!(hex(&native(b"pw", &seed)), "b0df30c74af91ea34514aaab203bd4b707f86375");
        assert_eq!(
            hex(&caching_sha2(b"pw", &seed)),
            "71192ff0ec98fcb2cbaf7de6f3958c02e20756c534e7f907f65ae0c1125dac26"
        );
    }
}
