//! The directives of ha.cf that make heartbeat links: `ucast`, `bcast`, `mcast`, `udpport`, `serial`,
//! `baud`.

use std::net::IpAddr;
use std::num::NonZeroU8;

use super::Reader;
use crate::config::diag::{Span, Word};
use crate::config::link::numbered;
use crate::config::{
    Baud, Cast, DraftLink, Family, Link, Medium, Multicast, MulticastGroup, Serial, TARGETS_MAX,
    UDP_PORT, Udp, value,
};
use crate::names::LinkName;

const DEVICE: &str = "`serial /dev/ttyS0`";

/// What was read of links, in the order of the file.
#[derive(Default)]
pub(super) struct Media<'a> {
    written: Vec<Written<'a>>,
    /// There was a link directive, good or faulty.
    tried: bool,
    udp_port: Option<u16>,
    baud: Option<Baud>,
}

/// One link directive; what `udpport` and `baud` say may still follow.
#[derive(Clone, Copy)]
enum Written<'a> {
    Ucast { interface: Word<'a>, peer: Word<'a>, ip: IpAddr },
    Bcast { interface: Word<'a> },
    Mcast { interface: Word<'a>, group: MulticastGroup, port: u16, ttl: NonZeroU8, looped: bool },
    Serial { device: Word<'a> },
}

impl Written<'_> {
    fn takes_port(&self) -> bool {
        matches!(self, Self::Ucast { .. } | Self::Bcast { .. })
    }
}

impl<'a> Reader<'a> {
    pub(super) fn udp_port(&mut self, directive: Word<'a>, args: &[Word<'a>]) {
        let Some(word) = self.one(directive, args) else { return };
        let Some(port) = self.port(word) else { return };
        if self.media.written.iter().any(Written::takes_port) {
            let message = "`udpport` stands behind a link and is used for it all the same";
            let help = "Heartbeat would not: put it above the first ucast or bcast line";
            self.faults.warn(directive.span(), message).help(help);
        }
        if self.media.udp_port.replace(port).is_some_and(|before| before != port) {
            let message = "`udpport` is given twice; this one counts for all links";
            self.faults.warn(directive.span(), message);
        }
    }

    fn port(&mut self, word: Word<'a>) -> Option<u16> {
        let port = word.text.parse::<u16>().ok().filter(|port| *port > 0);
        if port.is_none() {
            let message = format!("`{}` is not a UDP port", word.text);
            self.faults.fault(word.span(), message).help("1 to 65535; Heartbeat's is 694");
        }
        port
    }

    fn is_interface(&mut self, word: Word<'a>) -> bool {
        let good = value::is_interface(word.text);
        if !good {
            self.faults.fault(word.span(), format!("`{}` is no interface name", word.text));
        }
        good
    }

    pub(super) fn ucast(&mut self, directive: Word<'a>, args: &[Word<'a>], family: Family) {
        self.media.tried = true;
        let [interface, peer, rest @ ..] = args else {
            let message = format!("`{}` needs an interface and an address", directive.text);
            let help = format!("`{} eth1 ADDRESS-OF-THE-OTHER-NODE`", directive.text);
            self.faults.fault(directive.span(), message).help(help);
            return;
        };
        if let Some(extra) = rest.first() {
            self.faults.warn(extra.span(), "ignored: one address a line");
        }
        if !self.is_interface(*interface) {
            return;
        }
        let Some(ip) = self.target(*interface, *peer, family) else { return };
        let (interface, peer) = (*interface, *peer);
        self.media.written.push(Written::Ucast { interface, peer, ip });
    }

    fn target(&mut self, interface: Word<'a>, peer: Word<'a>, family: Family) -> Option<IpAddr> {
        let (address, zone) = match peer.split_once("%") {
            Some((address, zone)) => (address, Some(zone)),
            None => (peer, None),
        };
        if let Some(zone) = zone.filter(|zone| zone.text != interface.text) {
            self.faults.fault(zone.span(), format!("not the interface {}", interface.text));
        }
        let found = match address.text.parse::<IpAddr>() {
            Ok(ip) => Some(ip),
            Err(_) => self.environment.host(address.text, family),
        };
        let Some(ip) = found else {
            let message = format!("`{}` is neither an address nor a known host", address.text);
            self.faults.fault(address.span(), message);
            return None;
        };
        if !self.of_family(address, ip, family, ["ucast", "ucast6"]) {
            return None;
        }
        if let Some(what) = value::unfit_vip(ip).filter(|_| !ip.is_loopback()) {
            self.faults.fault(address.span(), format!("{what} is no unicast address"));
            return None;
        }
        Some(ip)
    }

    /// `directives`: the one for each family.
    fn of_family(
        &mut self,
        word: Word<'a>,
        ip: IpAddr,
        family: Family,
        directives: [&str; 2],
    ) -> bool {
        let [v4, v6] = directives;
        let (good, other) = match family {
            Family::V4 => (ip.is_ipv4(), v6),
            Family::V6 => (ip.is_ipv6(), v4),
        };
        if !good {
            let help = format!("`{other}` takes it");
            self.faults.fault(word.span(), "an address of the other family").help(help);
        }
        good
    }

    pub(super) fn bcast(&mut self, directive: Word<'a>, args: &[Word<'a>]) {
        self.media.tried = true;
        if args.is_empty() {
            let message = format!("`{}` needs an interface", directive.text);
            self.faults.fault(directive.span(), message).help("`bcast eth1`");
        }
        for interface in args {
            if self.is_interface(*interface) {
                self.media.written.push(Written::Bcast { interface: *interface });
            }
        }
    }

    pub(super) fn mcast(&mut self, directive: Word<'a>, args: &[Word<'a>], family: Family) {
        self.media.tried = true;
        let [interface, group, port, ttl, looped, rest @ ..] = args else {
            let message = format!("`{}` needs five values", directive.text);
            let help = match family {
                Family::V4 => "interface, group, port, TTL, loop: `mcast eth1 239.0.0.42 694 1 0`",
                Family::V6 => "interface, group, port, hops, loop: `mcast6 eth1 ff02::42 694 1 0`",
            };
            self.faults.fault(directive.span(), message).help(help);
            return;
        };
        if let Some(extra) = rest.first() {
            self.faults.warn(extra.span(), "ignored: one group a line");
        }
        let good = self.is_interface(*interface);
        let (group, port) = (self.group(*group, family), self.port(*port));
        let (ttl, looped) = (self.ttl(*ttl), self.looped(*looped));
        if let (true, Some(group), Some(port), Some(ttl), Some(looped)) =
            (good, group, port, ttl, looped)
        {
            let interface = *interface;
            self.media.written.push(Written::Mcast { interface, group, port, ttl, looped });
        }
    }

    fn group(&mut self, word: Word<'a>, family: Family) -> Option<MulticastGroup> {
        let group = word.text.parse().ok().and_then(MulticastGroup::new);
        let Some(group) = group else {
            self.faults
                .fault(word.span(), format!("`{}` is no multicast address", word.text))
                .help("224.0.0.0 to 239.255.255.255, or ff00::/8; one for each cluster of a LAN");
            return None;
        };
        self.of_family(word, group.ip(), family, ["mcast", "mcast6"]).then_some(group)
    }

    fn ttl(&mut self, word: Word<'a>) -> Option<NonZeroU8> {
        let ttl = word.text.parse().ok();
        if ttl.is_none() {
            self.faults
                .fault(word.span(), format!("`{}` is not a number of 1 to 255", word.text))
                .help("1 stays on this LAN; 0 would never leave this machine");
        }
        ttl
    }

    fn looped(&mut self, word: Word<'a>) -> Option<bool> {
        match word.text {
            "0" => Some(false),
            "1" => Some(true),
            text => {
                self.faults.fault(word.span(), format!("loop is 0 or 1, not `{text}`"));
                None
            }
        }
    }

    pub(super) fn serial(&mut self, directive: Word<'a>, args: &[Word<'a>]) {
        self.media.tried = true;
        if args.is_empty() {
            self.faults.fault(directive.span(), "`serial` needs a device").help(DEVICE);
        }
        for device in args {
            if device.text.starts_with('/') {
                self.media.written.push(Written::Serial { device: *device });
            } else {
                let message = format!("`{}` is no path of a device", device.text);
                self.faults.fault(device.span(), message).help(DEVICE);
            }
        }
    }

    pub(super) fn baud(&mut self, directive: Word<'a>, args: &[Word<'a>]) {
        let Some(word) = self.one(directive, args) else { return };
        let Some(baud) = word.text.parse().ok().and_then(Baud::new) else {
            let known = Baud::ALL.map(|baud| baud.get().to_string()).join(", ");
            let message = format!("`{}` is not one of {known}", word.text);
            self.faults.fault(word.span(), message);
            return;
        };
        if self.media.baud.replace(baud).is_some_and(|before| before != baud) {
            let message = "`baud` is given twice; this one counts for all lines";
            self.faults.warn(directive.span(), message);
        }
    }

    /// All links in the order of the file; `ucast` lines of one interface and family are one.
    pub(super) fn links(&mut self) -> Vec<DraftLink> {
        let port = self.media.udp_port.unwrap_or(UDP_PORT);
        let baud = self.media.baud.unwrap_or_default();
        let mut links: Vec<DraftLink> = Vec::new();
        for written in std::mem::take(&mut self.media.written) {
            let (interface, udp) = match written {
                Written::Serial { device } => {
                    let serial = Serial { device: device.text.into(), baud };
                    self.named(&mut links, device, device.text, Medium::Serial(serial));
                    continue;
                }
                Written::Ucast { interface, peer, ip } => {
                    if self.joins(&mut links, interface, (peer, ip)) {
                        continue;
                    }
                    let bound = Some(interface.text.to_owned());
                    let cast = Cast::Unicast { interface: bound, targets: vec![ip] };
                    (interface, Udp { port, cast })
                }
                Written::Bcast { interface } => {
                    let cast = Cast::Broadcast { interface: interface.text.to_owned() };
                    (interface, Udp { port, cast })
                }
                Written::Mcast { interface: word, group, port, ttl, looped } => {
                    let interface = word.text.to_owned();
                    let cast = Cast::Multicast(Multicast { interface, group, ttl, looped });
                    (word, Udp { port, cast })
                }
            };
            let same = |draft: &&DraftLink| draft.link.interface() == Some(interface.text);
            let name = numbered(interface.text, links.iter().filter(same).count());
            self.named(&mut links, interface, &name, Medium::Udp(udp));
        }
        if links.is_empty() && !self.media.tried {
            let help = "`bcast eth1`, `ucast eth1 ADDRESS-OF-THE-OTHER-NODE`, `serial /dev/ttyS0`, \
                        or an mcast line";
            self.faults.fault(Span::FILE, "no heartbeat link").help(help);
        }
        links
    }

    fn named(&mut self, links: &mut Vec<DraftLink>, word: Word<'a>, name: &str, medium: Medium) {
        match LinkName::new(name) {
            Err(error) => drop(self.faults.fault(word.span(), error.to_string())),
            Ok(name) => {
                let at = self.faults.mark(word.span());
                links.push(DraftLink { link: Link { name, medium }, at });
            }
        }
    }

    /// Whether there is a link that the address belongs to; it has it then.
    fn joins(
        &mut self,
        links: &mut [DraftLink],
        interface: Word<'a>,
        (peer, ip): (Word<'a>, IpAddr),
    ) -> bool {
        let found = links.iter_mut().find_map(|draft| match &mut draft.link.medium {
            Medium::Udp(Udp {
                cast: Cast::Unicast { interface: Some(bound), targets }, ..
            }) => {
                let v4 = targets.first().is_some_and(IpAddr::is_ipv4);
                (bound == interface.text && v4 == ip.is_ipv4()).then_some(targets)
            }
            Medium::Udp(_) | Medium::Serial(_) => None,
        });
        let Some(targets) = found else { return false };
        if targets.contains(&ip) {
            self.faults.warn(peer.span(), format!("{ip} is given twice"));
        } else if targets.len() >= TARGETS_MAX {
            let message = format!("over {TARGETS_MAX} addresses on one link");
            self.faults.fault(peer.span(), message);
        } else {
            targets.push(ip);
        }
        true
    }
}
