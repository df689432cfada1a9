//! How the director's packets come to a real server, and what takes the inner ones out of them.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::lvs::model::{Checksum, Forwarding};

/// How the director's packets come: its `forwarding`, as far as it concerns who gets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Forwarding", into = "Forwarding")]
pub enum Mode {
    /// As they are, on the LAN (LVS-DR).
    Gate,
    /// In a tunnel: IP in IP (RFC 2003), IPv6 in IPv6 (RFC 2473), or one in the other (LVS-TUN).
    Ipip,
    /// The same, in UDP to this port (generic UDP encapsulation).
    Gue {
        /// 1 or more.
        port: u16,
    },
    /// In a tunnel of generic routing encapsulation (RFC 2784).
    Gre {
        /// With a checksum. A tunnel device takes packets with one, or those without.
        checksum: bool,
    },
}

/// A way of forwarding that asks nothing of a real server but a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` sends to the real server's own address, so nothing is to be prepared for it; \
     gate, ipip, gue, gue:PORT, gre or gre,csum"
)]
pub struct NoMode(Forwarding);

impl TryFrom<Forwarding> for Mode {
    type Error = NoMode;

    /// Which checksum a packet of GUE has is the director's business: all are taken.
    fn try_from(forwarding: Forwarding) -> Result<Self, NoMode> {
        Ok(match forwarding {
            Forwarding::Gate => Self::Gate,
            Forwarding::Ipip => Self::Ipip,
            Forwarding::Gue { port, .. } => Self::Gue { port },
            Forwarding::Gre { checksum } => Self::Gre { checksum },
            Forwarding::Masq | Forwarding::FullNat { .. } | Forwarding::Local => {
                return Err(NoMode(forwarding));
            }
        })
    }
}

impl From<Mode> for Forwarding {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Gate => Self::Gate,
            Mode::Ipip => Self::Ipip,
            Mode::Gue { port } => Self::Gue { port, checksum: Checksum::None },
            Mode::Gre { checksum } => Self::Gre { checksum },
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Forwarding::from(*self).fmt(f)
    }
}

/// The address family of a packet that carries another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outer {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Outer {
    /// That of an address.
    pub fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::Ipv4 } else { Self::Ipv6 }
    }
}

impl fmt::Display for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        })
    }
}

/// A UDP port of this machine that takes GUE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receiver {
    /// Of these packets.
    pub over: Outer,
    /// Its number.
    pub port: u16,
}

impl fmt::Display for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UDP port {} over {}", self.port, self.over)
    }
}

/// A kind of tunnel device that takes packets from every sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tunnel {
    /// IPv4 in IPv4.
    Ipip,
    /// IPv6 in IPv6.
    Ip6tnl,
    /// IPv6 in IPv4.
    Sit,
    /// IPv4 or IPv6 in IPv6: the kernel's own device takes IPv6 only.
    AnyInIp6,
    /// GRE in IPv4.
    Gre,
    /// GRE in IPv6.
    Ip6gre,
    /// GRE with checksums in IPv4: the kernel's own device takes those without.
    GreChecksum,
    /// GRE with checksums in IPv6.
    Ip6greChecksum,
}

impl Tunnel {
    /// The usual device: the one that the kernel has for all senders, or one of ours beside it.
    pub fn device(self) -> &'static str {
        match self {
            Self::Ipip => "tunl0",
            Self::Ip6tnl => "ip6tnl0",
            Self::Sit => "sit0",
            Self::AnyInIp6 => "pairbeat-ip6tnl",
            Self::Gre => "gre0",
            Self::Ip6gre => "ip6gre0",
            Self::GreChecksum => "pairbeat-gre",
            Self::Ip6greChecksum => "pairbeat-ip6gre",
        }
    }
}

/// Where one virtual IP is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// How packets for it come.
    pub mode: Mode,
    /// The interface that has it.
    pub interface: String,
    /// What they come in, where that is of the other address family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<Outer>,
}

impl Place {
    /// The usual place: the loopback, or the tunnel device that takes packets from every director.
    /// `over` is what a tunnel's outer packets are of; `None`: of the virtual IP's family.
    pub fn usual(mode: Mode, over: Option<Outer>, vip: IpAddr) -> Self {
        let over = over.filter(|over| mode != Mode::Gate && *over != Outer::of(vip));
        let mut place = Self { mode, interface: "lo".to_owned(), over };
        if let Some(tunnel) = place.tunnel(vip) {
            tunnel.device().clone_into(&mut place.interface);
        }
        place
    }

    /// The device that packets for this virtual IP come out of; `None`: they come as they are.
    pub fn tunnel(&self, vip: IpAddr) -> Option<Tunnel> {
        let (outer, inner) = (self.outer(vip), Outer::of(vip));
        Some(match (self.mode, outer, inner) {
            (Mode::Gate, _, _) => return None,
            (Mode::Ipip | Mode::Gue { .. }, Outer::Ipv4, Outer::Ipv4) => Tunnel::Ipip,
            (Mode::Ipip | Mode::Gue { .. }, Outer::Ipv4, Outer::Ipv6) => Tunnel::Sit,
            (Mode::Ipip | Mode::Gue { .. }, Outer::Ipv6, Outer::Ipv4) => Tunnel::AnyInIp6,
            (Mode::Ipip | Mode::Gue { .. }, Outer::Ipv6, Outer::Ipv6) => Tunnel::Ip6tnl,
            (Mode::Gre { checksum: false }, Outer::Ipv4, _) => Tunnel::Gre,
            (Mode::Gre { checksum: false }, Outer::Ipv6, _) => Tunnel::Ip6gre,
            (Mode::Gre { checksum: true }, Outer::Ipv4, _) => Tunnel::GreChecksum,
            (Mode::Gre { checksum: true }, Outer::Ipv6, _) => Tunnel::Ip6greChecksum,
        })
    }

    /// The port that takes the director's packets, with GUE.
    pub fn receiver(&self, vip: IpAddr) -> Option<Receiver> {
        match self.mode {
            Mode::Gue { port } => Some(Receiver { over: self.outer(vip), port }),
            Mode::Gate | Mode::Ipip | Mode::Gre { .. } => None,
        }
    }

    fn outer(&self, vip: IpAddr) -> Outer {
        self.over.unwrap_or_else(|| Outer::of(vip))
    }
}

/// `gue:6080 on tunl0`, `ipip over IPv6 on pairbeat-ip6tnl`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.mode.fmt(f)?;
        if let Some(over) = self.over {
            write!(f, " over {over}")?;
        }
        write!(f, " on {}", self.interface)
    }
}

#[cfg(test)]
mod tests;
