//! `ping`, `ping6`, `ping_group`, `deadping`, `stonith`, `stonith_host`.
//!
//! The parameters of a fencing device are secret: no diagnostic shows their line.

use std::net::IpAddr;
use std::path::Path;

use crate::config::diag::{Mark, Word, lines};
use crate::config::ha_cf::Reader;
use crate::config::outside::{
    DraftFence, FENCE_TIMEOUT, FenceDevice, FenceKind, FenceParams, PING_MEMBERS_MAX, PingNode,
    Whom, is_program,
};
use crate::config::source::Source;
use crate::config::{Family, value};
use crate::keys::Secret;
use crate::names::NodeName;

/// What stands before the name of a program below `plugins/external`.
const EXTERNAL: &str = "external/";

impl<'a> Reader<'a> {
    /// Each value is a ping node of its own.
    pub(super) fn ping(&mut self, directive: Word<'a>, args: &[Word<'a>], family: Family) {
        if args.is_empty() {
            self.faults.fault(directive.span(), format!("`{}` has no value", directive.text));
        }
        for word in args {
            let Some(ip) = self.ping_address(*word, family) else { continue };
            self.ping_node(*word, vec![ip]);
        }
    }

    pub(super) fn ping_group(&mut self, directive: Word<'a>, args: &[Word<'a>]) {
        let [name, members @ ..] = args else {
            self.faults.fault(directive.span(), "`ping_group` has no name");
            return;
        };
        if members.is_empty() || members.len() > PING_MEMBERS_MAX {
            let message = format!("a ping group has 1 to {PING_MEMBERS_MAX} addresses");
            self.faults.fault(name.span(), message).help("`ping_group uplinks 10.0.0.1 10.0.0.2`");
            return;
        }
        let mut ips: Vec<IpAddr> = Vec::new();
        for word in members {
            match self.ping_address(*word, Family::V4) {
                Some(ip) if ips.contains(&ip) => {
                    self.faults.warn(word.span(), format!("{ip} is given twice"));
                }
                found => ips.extend(found),
            }
        }
        if !ips.is_empty() {
            self.ping_node(*name, ips);
        }
    }

    fn ping_node(&mut self, name: Word<'a>, members: Vec<IpAddr>) {
        match NodeName::new(name.text) {
            Ok(node) => {
                let at = self.faults.mark(name.span());
                self.outside.ping_nodes.push((PingNode { name: node, members }, at));
            }
            Err(error) => drop(self.faults.fault(name.span(), error.to_string())),
        }
    }

    fn ping_address(&mut self, word: Word<'a>, family: Family) -> Option<IpAddr> {
        let found = word.text.parse().ok().or_else(|| self.environment.host(word.text, family));
        let Some(ip) = found else {
            let message = format!("`{}` is neither an address nor a known host", word.text);
            self.faults.fault(word.span(), message);
            return None;
        };
        if let Some(what) = value::unfit_vip(ip) {
            self.faults.fault(word.span(), format!("{what} says nothing about the network"));
            return None;
        }
        Some(ip)
    }

    pub(super) fn deadping(&mut self, directive: Word<'a>, args: &[Word<'a>]) {
        let Some(word) = self.one(directive, args) else { return };
        let Some(time) = self.time_value(word) else { return };
        self.outside.deadping = Some((time, self.faults.mark(word.span())));
    }

    /// `stonith TYPE CONFIGFILE`: one device for whichever node is the peer.
    pub(super) fn stonith(&mut self, directive: Word<'a>, args: &[Word<'a>]) {
        let [kind, file, ..] = args else {
            let help = "`stonith external/ipmi /etc/ha.d/stonith.conf`";
            self.faults.fault(directive.span(), "`stonith` needs a type and a file").help(help);
            return;
        };
        let Some(params) = self.stonith_file(*file) else { return };
        let at = self.faults.mark(kind.span());
        self.fence(*kind, params, Whom::Peer, at);
    }

    /// The first line that says something is the parameters, as stonith(8) reads the file.
    fn stonith_file(&mut self, file: Word<'a>) -> Option<Secret> {
        let source = match Source::open(Path::new(file.text), self.environment) {
            Ok(source) => source,
            Err(error) => {
                let message = format!("`{}`: {}", file.text, error.message);
                self.faults.fault(file.span(), message);
                return None;
            }
        };
        if source.mode & 0o066 != 0 {
            let help = format!("`chmod 600 {}`", file.text);
            let message = "others may read or write this file, which has a password in it";
            self.faults.warn(file.span(), message).help(help);
        }
        let says = |line: &Word<'_>| !line.text.is_empty() && !line.text.starts_with('#');
        let params = lines(&source.text).map(|line| line.trim()).find(says);
        if params.is_none() {
            let message = format!("no parameters in `{}`", file.text);
            self.faults.fault(file.span(), message);
        }
        params.map(|line| Secret::new(line.text))
    }

    /// `stonith_host HOST TYPE PARAMS`: what HOST uses, or `*` for both.
    pub(super) fn stonith_host(&mut self, directive: Word<'a>, args: &[Word<'a>], line: Word<'a>) {
        let [host, kind, rest @ ..] = args else {
            let help = "`stonith_host * external/ipmi PARAMETERS`";
            let message = "`stonith_host` needs a host, a type and parameters";
            let fault = self.faults.fault(directive.span(), message);
            fault.help(help);
            fault.conceal();
            return;
        };
        let mut at = self.faults.mark(kind.span());
        at.excerpt = None;
        let params = rest.first().map_or("", |first| {
            line.text.get(first.start.saturating_sub(line.start)..).unwrap_or_default().trim()
        });
        let whom = match host.text {
            "*" => Whom::Peer,
            name => match NodeName::new(name) {
                Ok(node) => {
                    Whom::User(node, Mark { excerpt: None, ..self.faults.mark(host.span()) })
                }
                Err(error) => {
                    self.faults.fault(host.span(), error.to_string()).conceal();
                    return;
                }
            },
        };
        self.fence(*kind, Secret::new(params), whom, at);
    }

    fn fence(&mut self, kind: Word<'a>, params: Secret, whom: Whom, at: Mark) {
        let (kind, name) = match kind.text.strip_prefix(EXTERNAL) {
            Some(name) => (FenceKind::External, name),
            None => (FenceKind::StonithPlugin, kind.text),
        };
        if !is_program(name) {
            self.faults.extend([at.fault(format!("`{name}` is no type of a fencing device"))]);
            return;
        }
        let params = FenceParams::Positional(params);
        let (name, timeout) = (name.to_owned(), FENCE_TIMEOUT);
        let device = FenceDevice { kind, name, params, timeout, node: None };
        self.outside.fence.push(DraftFence { device, whom, at });
    }
}
