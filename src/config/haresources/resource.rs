//! One resource of a group: `192.168.2.110/24/eth0`, `ldirectord::web.cf`, `Filesystem::a::b`.
//!
//! Used for the words of haresources and for the resource strings of pairbeat.toml alike.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use super::program::{Program, program};
use crate::cluster::Monitor;
use crate::config::diag::{Faults, Word};
use crate::config::sync;
use crate::config::value::{self, INTERFACE_LEN_MAX};
use crate::config::{Address, Environment, MAIL_PROGRAM, Mail, Resource, ResourceKind};
use crate::names::DirectorName;

/// Longest start and stop of a resource where nothing else is said.
pub(crate) const ACTION_TIMEOUT: Duration = Duration::from_secs(60);

/// How a program is looked after where nothing else is said.
pub(super) const MONITOR: Monitor = Monitor {
    interval: Duration::from_secs(10),
    timeout: Duration::from_secs(20),
    restarts: 3,
    decay: Duration::from_secs(600),
    wary: true,
};

/// What a mail is about where nothing is said, as in Heartbeat.
const MAIL_SUBJECT: &str = "Resource Group";
/// What is built in, for suggestions.
pub(super) const BUILT_IN: &[&str] =
    &["IPaddr", "IPaddr2", "IPv6addr", "LVSSyncDaemonSwap", "MailTo", "SendArp", "ldirectord"];

/// What reading a resource needs.
pub(crate) struct Context<'c, 's> {
    /// Holds `resource.d`.
    pub(crate) directory: &'c Path,
    /// Where scripts are looked up.
    pub(crate) environment: &'c dyn Environment,
    /// Of the file that is being read.
    pub(crate) faults: &'c mut Faults<'s>,
}

/// Reads one resource; `None` when it is no good, which is then a fault.
pub(crate) fn parse(word: Word<'_>, context: &mut Context<'_, '_>) -> Option<Resource> {
    let text = word.text;
    if is_address(text) {
        return address(word, context.faults).map(|it| plain(text, ResourceKind::Address(it)));
    }
    let (name, args) = match word.split_once("::") {
        Some((name, args)) => (name, Some(args)),
        None => (word, None),
    };
    match name.text {
        "IPaddr" | "IPaddr2" => {
            let Some(args) = args else {
                let message = format!("`{}` needs an address", name.text);
                let help = format!("`{}::192.168.2.110/24/eth0`", name.text);
                context.faults.fault(word.span(), message).help(help);
                return None;
            };
            address(args, context.faults).map(|it| plain(text, ResourceKind::Address(it)))
        }
        "LVSSyncDaemonSwap" => {
            sync::parse(word, args, context.faults).map(|it| plain(text, ResourceKind::Sync(it)))
        }
        "ldirectord" => {
            director(word, args, context.faults).map(|it| plain(text, ResourceKind::Director(it)))
        }
        "IPv6addr" => {
            six(word, args, context.faults).map(|it| plain(text, ResourceKind::Address(it)))
        }
        "SendArp" => {
            announced(word, args, context.faults).map(|it| plain(text, ResourceKind::Announce(it)))
        }
        "MailTo" => mail(word, args, context).map(|it| plain(text, ResourceKind::Mail(it))),
        _ => program(word, (name, args), context).map(|it| watched(text, it)),
    }
}

/// A built-in resource.
pub(crate) fn plain(text: &str, kind: ResourceKind) -> Resource {
    Resource {
        text: text.to_owned(),
        start_timeout: ACTION_TIMEOUT,
        stop_timeout: ACTION_TIMEOUT,
        monitor: None,
        kind,
    }
}

/// A program.
pub(crate) fn watched(text: &str, program: Program) -> Resource {
    Resource {
        text: text.to_owned(),
        start_timeout: program.start_timeout,
        stop_timeout: program.stop_timeout,
        monitor: Some(program.monitor),
        kind: ResourceKind::Script(program.script),
    }
}

/// An address on its own: Heartbeat's four numbers with dots, or an IPv6 address.
fn is_address(text: &str) -> bool {
    let ip = text.split('/').next().unwrap_or_default();
    let dotted = ip.split('.').count() == 4
        && ip.split('.').all(|part| part.starts_with(|c: char| c.is_ascii_digit()));
    dotted || (ip.contains(':') && ip.parse::<IpAddr>().is_ok())
}

/// `ip[/mask[/nic[:label]][/broadcast]]`, or `ip/mask/broadcast`.
pub(crate) fn address(word: Word<'_>, faults: &mut Faults<'_>) -> Option<Address> {
    let pieces = word.pieces("/");
    let [ip, rest @ ..] = pieces.as_slice() else { return None };
    let vip = vip(*ip, faults);
    let (prefix, rest) = match rest.split_first() {
        Some((mask, rest)) => (Some(*mask), rest),
        None => (None, rest),
    };
    let starts_with_digit = |word: &Word<'_>| word.text.starts_with(|c: char| c.is_ascii_digit());
    let (nic, broadcast, extra) = match rest {
        [] => (None, None, None),
        [third] if starts_with_digit(third) => (None, Some(*third), None),
        [nic] => (Some(*nic), None, None),
        [nic, broadcast] => (Some(*nic), Some(*broadcast), None),
        [nic, broadcast, extra, ..] => (Some(*nic), Some(*broadcast), Some(*extra)),
    };
    if let Some(extra) = extra {
        faults
            .fault(extra.span(), "too many parts in an address")
            .help("`IP/PREFIX/INTERFACE[:LABEL][/BROADCAST]`");
    }
    let before = faults.count();
    let prefix = prefix.and_then(|mask| self::prefix(mask, vip, faults));
    let (interface, label) = nic.map_or((None, None), |nic| interface(nic, vip, faults));
    let broadcast = broadcast.and_then(|word| self::broadcast(word, vip, faults));
    let good = extra.is_none() && faults.count() == before;
    vip.filter(|_| good).map(|ip| Address { ip, prefix, interface, label, broadcast })
}

/// `IP/PREFIX` with interface, label (`eth0:web`) and broadcast address apart.
pub(crate) fn plain_address(
    word: Word<'_>,
    [nic, label, broadcast]: [Option<Word<'_>>; 3],
    faults: &mut Faults<'_>,
) -> Option<Address> {
    let before = faults.count();
    let (ip, mask) = match word.split_once("/") {
        Some((ip, mask)) => (ip, Some(mask)),
        None => (word, None),
    };
    let ip = vip(ip, faults);
    let prefix = mask.and_then(|mask| prefix(mask, ip, faults));
    if let Some(nic) = nic.filter(|nic| !value::is_interface(nic.text)) {
        faults.fault(nic.span(), format!("`{}` is no interface name", nic.text));
    }
    let nic = nic.map(|nic| nic.text.to_owned());
    if let Some(label) = label.filter(|label| !label.text.contains(':')) {
        let message = format!("`{}` is no label", label.text);
        faults.fault(label.span(), message).help("interface, colon, name: `eth0:web`");
        return None;
    }
    let labelled = label.map(|label| interface(label, ip, faults));
    if let (Some(label), Some((Some(of), _)), Some(nic)) = (label, &labelled, &nic)
        && of != nic
    {
        let message = format!("the label of an address on {nic} begins with it");
        faults.fault(label.span(), message).help(format!("`{nic}:web`"));
    }
    let broadcast = broadcast.and_then(|word| self::broadcast(word, ip, faults));
    let label = labelled.and_then(|(_, label)| label);
    let interface = nic;
    let good = faults.count() == before;
    ip.filter(|_| good).map(|ip| Address { ip, prefix, interface, label, broadcast })
}

fn vip(word: Word<'_>, faults: &mut Faults<'_>) -> Option<IpAddr> {
    let Ok(ip) = word.text.parse::<IpAddr>() else {
        let message = format!("`{}` is not an IP address", word.text);
        faults.fault(word.span(), message);
        return None;
    };
    if let Some(what) = value::unfit_vip(ip) {
        faults.fault(word.span(), format!("{what} can't be a virtual IP"));
        return None;
    }
    Some(ip)
}

fn prefix(word: Word<'_>, vip: Option<IpAddr>, faults: &mut Faults<'_>) -> Option<u8> {
    let max = value::prefix_max(vip?);
    let prefix = value::prefix(word.text, max);
    if prefix.is_none() {
        let message = format!("`{}` is not a netmask", word.text);
        let help = format!("a prefix length of 1 to {max}, for example `24`");
        faults.fault(word.span(), message).help(help);
    }
    prefix
}

fn interface(
    word: Word<'_>,
    vip: Option<IpAddr>,
    faults: &mut Faults<'_>,
) -> (Option<String>, Option<String>) {
    let (nic, label) = match word.split_once(":") {
        Some((nic, label)) => (nic, Some(label)),
        None => (word, None),
    };
    if !value::is_interface(nic.text) {
        let message = format!("`{}` is no interface name", nic.text);
        let help = format!("at most {INTERFACE_LEN_MAX} bytes, as `ip link` shows it");
        faults.fault(nic.span(), message).help(help);
        return (None, None);
    }
    let Some(label) = label else { return (Some(nic.text.to_owned()), None) };
    if vip.is_some_and(|ip| ip.is_ipv6()) {
        faults.fault(label.span(), "an IPv6 address has no label");
    } else if label.text.is_empty() || word.text.len() > INTERFACE_LEN_MAX {
        let message = format!("`{}` is no label", word.text);
        let help = format!("interface and label together have at most {INTERFACE_LEN_MAX} bytes");
        faults.fault(word.span(), message).help(help);
    }
    (Some(nic.text.to_owned()), Some(word.text.to_owned()))
}

fn broadcast(word: Word<'_>, vip: Option<IpAddr>, faults: &mut Faults<'_>) -> Option<Ipv4Addr> {
    if vip?.is_ipv6() {
        faults.fault(word.span(), "an IPv6 address has no broadcast address");
        return None;
    }
    let broadcast = word.text.parse().ok();
    if broadcast.is_none() {
        faults.fault(word.span(), format!("`{}` is not a broadcast address", word.text));
    }
    broadcast
}

fn director(
    word: Word<'_>,
    file: Option<Word<'_>>,
    faults: &mut Faults<'_>,
) -> Option<DirectorName> {
    // Without an argument ldirectord reads ldirectord.cf.
    let file = file.map_or((word, "ldirectord.cf"), |file| (file, file.text));
    match DirectorName::new(file.1) {
        Ok(name) => Some(name),
        Err(error) => {
            faults.fault(file.0.span(), error.to_string());
            None
        }
    }
}

/// `SendArp::IP/INTERFACE`.
fn announced(word: Word<'_>, args: Option<Word<'_>>, faults: &mut Faults<'_>) -> Option<Address> {
    let parts = args.and_then(|args| args.split_once("/"));
    let Some((ip, nic)) = parts else {
        let help = "`SendArp::192.168.2.110/eth0`";
        faults.fault(word.span(), "`SendArp` needs an address and its interface").help(help);
        return None;
    };
    let ip = vip(ip, faults)?;
    let (interface, _) = interface(nic, Some(ip), faults);
    let address = Address { ip, prefix: None, interface, label: None, broadcast: None };
    address.interface.is_some().then_some(address)
}

/// `IPv6addr::IP[/PREFIX[/INTERFACE]]`.
fn six(word: Word<'_>, args: Option<Word<'_>>, faults: &mut Faults<'_>) -> Option<Address> {
    let address = args.and_then(|args| address(args, faults));
    if address.as_ref().is_some_and(|it| it.ip.is_ipv4()) || args.is_none() {
        let help = "`IPv6addr::2001:db8::110/64/eth0`";
        faults.fault(word.span(), "`IPv6addr` needs an IPv6 address").help(help);
        return None;
    }
    address
}

/// `MailTo::ADDRESS,ADDRESS[::SUBJECT]`.
fn mail(word: Word<'_>, args: Option<Word<'_>>, context: &mut Context<'_, '_>) -> Option<Mail> {
    let (to, subject) = match args.map(|args| (args, args.split_once("::"))) {
        Some((_, Some((to, subject)))) => (to, subject.text),
        Some((to, None)) => (to, MAIL_SUBJECT),
        None => (word.part(0..0), MAIL_SUBJECT),
    };
    let to: Vec<String> = to.text.split(',').map(str::to_owned).collect();
    let fit = |it: &String| {
        !it.is_empty()
            && !it.starts_with('-')
            && !it.contains(|c: char| c.is_whitespace() || c.is_control())
    };
    if !to.iter().all(fit) || subject.contains(char::is_control) {
        let help = "`MailTo::root@example.org::SUBJECT`";
        context.faults.fault(word.span(), "`MailTo` needs an address").help(help);
        return None;
    }
    if !context.environment.executable(Path::new(MAIL_PROGRAM)) {
        let help = "every mail system brings it, for example postfix or msmtp-mta";
        let message = format!("there is no {MAIL_PROGRAM}, so no mail can be sent");
        context.faults.warn(word.span(), message).help(help);
    }
    Some(Mail { to, subject: subject.to_owned() })
}
