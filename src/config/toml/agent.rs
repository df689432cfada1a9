//! `agent = { port = 9000 }`, or `agent = { command = [...] }`: who says how much of its weight a real
//! server can carry. In a director, a service or a real server; the nearest counts as a whole.

use std::net::IpAddr;

use crate::config::diag::Span;
use crate::config::toml::check;
use crate::config::toml::walk::{Item, Walk};
use crate::lvs::agent::AgentCheck;
use crate::lvs::check::CheckKind;
use crate::lvs::model::{Agent, ServiceKey};
use crate::lvs::program::{ProgramCheck, Told};

/// What is written of an agent.
#[derive(Debug, Clone)]
pub(super) struct Written<'d> {
    address: Option<IpAddr>,
    port: Option<u16>,
    send: Option<&'d str>,
    command: Option<Vec<&'d str>>,
}

impl Written<'_> {
    /// The agent of a server.
    pub(super) fn build(&self, key: &ServiceKey, server: (IpAddr, u16)) -> Agent {
        let address = self.address.unwrap_or(server.0);
        if let Some([program, args @ ..]) = self.command.as_deref() {
            let told = Told::Environment { service: format!("{key:#}") };
            let args = args.iter().map(|&arg| arg.to_owned()).collect();
            let program = ProgramCheck { program: (*program).to_owned(), args, told };
            let check = CheckKind::Agent(AgentCheck::Program(program));
            return Agent { check, address, port: self.port.unwrap_or(server.1) };
        }
        let send = self.send.map(str::to_owned);
        let check = CheckKind::Agent(AgentCheck::Tcp { send });
        Agent { check, address, port: self.port.unwrap_or(0) }
    }
}

pub(super) fn read<'d>(item: Item<'d>, walk: &mut Walk<'_>) -> Option<Written<'d>> {
    let mut fields = item.fields(walk)?;
    let written = Written {
        address: fields.take("address").and_then(|item| check::elsewhere(item, walk)),
        port: fields.take("port").and_then(|item| item.port(walk)),
        send: fields.take("send").and_then(|item| item.text(walk)).map(|word| word.text),
        command: fields.take("command").and_then(|item| check::command(item, walk)),
    };
    let span = fields.span;
    fields.finish(walk);
    usable(written, span, walk)
}

fn usable<'d>(written: Written<'d>, span: Span, walk: &mut Walk<'_>) -> Option<Written<'d>> {
    let message = match (&written.command, written.port, written.send) {
        (None, None, _) => "an agent needs a `port` or a `command`",
        (Some(_), _, Some(_)) => "to a program nothing is sent",
        _ => return Some(written),
    };
    let help = "`agent = { port = 9000 }`, `agent = { command = [\"/usr/local/bin/load\"] }`";
    walk.missing(span, message, help);
    None
}
