//! FTP: a login, and a file or a listing over a connection of its own (RFC 959, RFC 2428).

use std::net::{Ipv4Addr, SocketAddr};

use regex::bytes::Regex;

use super::lines::{Limits, Lines, REPLIES};
use super::stream::open;
use super::{Phase, Run, garbage, http, own_address, tcp};
use crate::lvs::check::{CheckFailure, shown_without};
use crate::lvs::exchange::{FtpCheck, Login};

/// Of a file or a listing: as much as of a page of HTTP.
const FILE_MAX: usize = 1024 * 1024;

/// Logs in, fetches, looks.
pub(super) async fn check(check: &FtpCheck, run: &Run<'_>) -> Result<(), CheckFailure> {
    let pattern = run.context.receive(check.receive.as_deref())?;
    let mut lines = Lines::new(open(run, None, None).await?, REPLIES, run.deadline);
    let port = begin(&check.login, run.target.is_ipv6(), &mut lines).await?;
    let bytes = fetch(check, SocketAddr::new(run.target.ip(), port), run, &mut lines).await?;
    judge(&bytes, pattern)?;
    lines.farewell("QUIT\r\n").await;
    Ok(())
}

/// Logs in, and learns the port of the second connection.
pub(super) async fn begin(
    login: &Login,
    ipv6: bool,
    lines: &mut Lines,
) -> Result<u16, CheckFailure> {
    let mut greeting = lines.reply(Phase::Greeting).await?;
    // 120: ready in so many minutes, and then 220.
    while greeting.code == 120 {
        greeting = lines.reply(Phase::Greeting).await?;
    }
    greeting.expect(220)?;
    log_in(login, lines).await?;
    say(lines, "TYPE I").await?.expect(200)?;
    passive(ipv6, lines).await
}

fn judge(bytes: &[u8], pattern: Option<&Regex>) -> Result<(), CheckFailure> {
    match pattern {
        Some(pattern) if !http::is_match(pattern, bytes) => {
            Err(CheckFailure::NoMatch(pattern.as_str().to_owned()))
        }
        _ => Ok(()),
    }
}

async fn say(lines: &mut Lines, command: &str) -> Result<super::lines::Reply, CheckFailure> {
    lines.say(&format!("{command}\r\n"), Phase::Answer).await?;
    lines.reply(Phase::Answer).await
}

async fn log_in(login: &Login, lines: &mut Lines) -> Result<(), CheckFailure> {
    let password = &login.password;
    lines.say(&format!("USER {}\r\n", login.name), Phase::Login).await?;
    let mut reply = lines.reply(Phase::Login).await?;
    if reply.code == 331 {
        let mut command = match password.reveal() {
            "" => format!("PASS {}\r\n", own_address()),
            password => format!("PASS {password}\r\n"),
        };
        let sent = lines.say(&command, Phase::Login).await;
        zeroize::Zeroize::zeroize(&mut command);
        sent?;
        reply = lines.reply(Phase::Login).await?;
    }
    // 202: a password was not needed.
    if matches!(reply.code, 230 | 202) {
        Ok(())
    } else {
        Err(CheckFailure::Login(shown_without(&reply.line, password)))
    }
}

/// Where the server waits for the second connection. The address that it names is not used: it is
/// the one we talk to, or somebody else's business.
async fn passive(extended: bool, lines: &mut Lines) -> Result<u16, CheckFailure> {
    let (command, code) = if extended { ("EPSV", 229) } else { ("PASV", 227) };
    let reply = say(lines, command).await?.expect(code)?;
    let text = String::from_utf8_lossy(&reply.line);
    let port = if extended { extended_port(&text) } else { passive_port(&text) };
    port.ok_or_else(|| garbage(&reply.line))
}

/// `227 ... h1,h2,h3,h4,p1,p2 ...`: the numbers may stand in brackets, or not (RFC 1123 section
/// 4.1.2.6).
fn passive_port(text: &str) -> Option<u16> {
    let rest = text.get(3..)?;
    let begin = rest.find(|c: char| c.is_ascii_digit())?;
    let numbers = rest.get(begin..)?;
    let end = numbers.find(|c: char| !c.is_ascii_digit() && c != ',').unwrap_or(numbers.len());
    let numbers: Option<Vec<u8>> =
        numbers.get(..end)?.split(',').map(|number| number.parse().ok()).collect();
    let [a, b, c, d, high, low] = numbers?[..] else { return None };
    let _: Ipv4Addr = [a, b, c, d].into();
    Some(u16::from_be_bytes([high, low])).filter(|port| *port > 0)
}

/// `229 ... (|||port|)`, with any separator.
fn extended_port(text: &str) -> Option<u16> {
    let inside = text.split_once('(')?.1.split_once(')')?.0;
    let separator = inside.chars().next()?;
    let parts: Vec<&str> = inside.split(separator).collect();
    let [_, _, _, port, _] = parts[..] else { return None };
    port.parse().ok().filter(|port| *port > 0)
}

/// The file, or the listing where no file is named.
async fn fetch(
    check: &FtpCheck,
    data: SocketAddr,
    run: &Run<'_>,
    lines: &mut Lines,
) -> Result<Vec<u8>, CheckFailure> {
    let command = match &check.path {
        Some(path) => format!("RETR {path}"),
        None => "LIST".to_owned(),
    };
    lines.say(&format!("{command}\r\n"), Phase::Answer).await?;
    let limits = Limits { line: FILE_MAX, lines: usize::MAX, total: FILE_MAX };
    let mut file = Lines::new(Box::new(tcp::connect(data, run).await?), limits, run.deadline);
    let begun = lines.reply(Phase::Answer).await?;
    if !matches!(begun.code, 125 | 150) {
        return Err(begun.refusal());
    }
    let bytes = file.rest(Phase::Answer).await?;
    let ended = lines.reply(Phase::Answer).await?;
    if ended.is_positive() { Ok(bytes) } else { Err(ended.refusal()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_port_is_read_as_servers_write_it() {
        for (text, port) in [
            ("227 Entering Passive Mode (10,0,0,1,156,64).", Some(40_000)),
            ("227 Entering Passive Mode 10,0,0,1,0,21", Some(21)),
            ("227 =10,0,0,1,1,0", Some(256)),
            ("227 (10,0,0,1,0,0)", None),
            ("227 (10,0,0,1,1)", None),
            ("227 (10,0,0,1,1,2,3)", None),
            ("227 (10,0,0,256,1,2)", None),
            ("227 nothing", None),
            ("227", None),
        ] {
            assert_eq!(passive_port(text), port, "{text}");
        }
        for (text, port) in [
            ("229 Entering Extended Passive Mode (|||6446|)", Some(6446)),
            ("229 (!!!1!)", Some(1)),
            ("229 (|||0|)", None),
            ("229 (|||65536|)", None),
            ("229 ()", None),
            ("229 (|||)", None),
            ("229", None),
        ] {
            assert_eq!(extended_port(text), port, "{text}");
        }
    }
}
