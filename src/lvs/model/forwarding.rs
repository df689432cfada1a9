//! How packets get to a real server.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// UDP port of a GUE tunnel where nothing else is said (IANA: `gue`).
pub const GUE_PORT: u16 = 6080;

/// Forwarding method: ldirectord's words, and two more kinds of tunnels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Forwarding {
    /// Direct routing: the MAC is rewritten, nothing else.
    Gate,
    /// NAT.
    Masq,
    /// NAT that gives the client's packets another source as well, so that the answers come back here
    /// wherever the real server is. To IPVS it is NAT; the source is nftables' work
    /// (`lvs::translation`).
    FullNat {
        /// The source; `None`: the address of the interface that the packet leaves by.
        source: Option<IpAddr>,
    },
    /// IP in IP.
    Ipip,
    /// Generic UDP encapsulation: spreads over the paths and queues of a network by its ports.
    Gue {
        /// Where the real server listens (`ip fou add port PORT gue`); 1 or more.
        port: u16,
        /// What the outer packet's checksum is of.
        checksum: Checksum,
    },
    /// Generic routing encapsulation (RFC 2784).
    Gre {
        /// With a checksum over the whole packet.
        checksum: bool,
    },
    /// Delivered on this machine. Never asked for; where the address is the kernel's own it
    /// delivers so whatever the method, and may say so in a dump (6.1 was seen to report the
    /// method that was asked for).
    Local,
}

/// The checksum of a GUE packet (ipvsadm(8), `--tun-csum`, `--tun-remcsum`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Checksum {
    /// None: the inner packet has its own.
    None,
    /// That of UDP, over everything.
    Whole,
    /// The inner packet's, moved to the outer one.
    Remote,
}

impl Forwarding {
    /// Full NAT with a source that nobody knows, and nobody can ask for.
    pub const STRAY: Self = Self::FullNat { source: Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) };

    /// Whether the real server's address takes the place of the virtual one; then the port may
    /// change, too.
    pub fn is_nat(self) -> bool {
        matches!(self, Self::Masq | Self::FullNat { .. })
    }

    /// Whether the source is translated, too.
    pub fn is_full_nat(self) -> bool {
        matches!(self, Self::FullNat { .. })
    }

    /// Whether packets travel inside of others.
    pub fn is_tunnel(self) -> bool {
        matches!(self, Self::Ipip | Self::Gue { .. } | Self::Gre { .. })
    }
}

/// `gate`, `masq`, `fullnat`, `fullnat:10.0.0.9`, `ipip`, `gue:6080`, `gue:6080,csum`, `gue:6080,remcsum`, `gre`, `gre,csum`.
impl fmt::Display for Forwarding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gate => f.write_str("gate"),
            Self::Masq => f.write_str("masq"),
            Self::FullNat { source: None } => f.write_str("fullnat"),
            Self::FullNat { source: Some(source) } => write!(f, "fullnat:{source}"),
            Self::Ipip => f.write_str("ipip"),
            Self::Gue { port, checksum } => {
                let checksum = match checksum {
                    Checksum::None => "",
                    Checksum::Whole => ",csum",
                    Checksum::Remote => ",remcsum",
                };
                write!(f, "gue:{port}{checksum}")
            }
            Self::Gre { checksum } => f.write_str(if *checksum { "gre,csum" } else { "gre" }),
            Self::Local => f.write_str("local"),
        }
    }
}

/// Not a forwarding method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "gate, masq, fullnat, fullnat:ADDRESS, ipip, gue, gue:PORT or gre; behind gue and gre `,csum`, \
     behind gue `,remcsum`"
)]
pub struct NotForwarding;

impl FromStr for Forwarding {
    type Err = NotForwarding;

    /// As printed; the port of `gue` may be missing.
    fn from_str(text: &str) -> Result<Self, NotForwarding> {
        if let Some(source) = text.strip_prefix("fullnat:") {
            let source = source.parse().map_err(|_| NotForwarding)?;
            return Ok(Self::FullNat { source: Some(source) });
        }
        let (kind, checksum) = match text.split_once(',') {
            None => (text, Checksum::None),
            Some((kind, "csum")) => (kind, Checksum::Whole),
            Some((kind, "remcsum")) => (kind, Checksum::Remote),
            Some(_) => return Err(NotForwarding),
        };
        let gue = kind.strip_prefix("gue").map(|rest| (rest, rest.strip_prefix(':')));
        Ok(match (kind, checksum, gue) {
            ("gate", Checksum::None, _) => Self::Gate,
            ("masq", Checksum::None, _) => Self::Masq,
            ("fullnat", Checksum::None, _) => Self::FullNat { source: None },
            ("ipip", Checksum::None, _) => Self::Ipip,
            ("local", Checksum::None, _) => Self::Local,
            ("gre", Checksum::None, _) => Self::Gre { checksum: false },
            ("gre", Checksum::Whole, _) => Self::Gre { checksum: true },
            (_, checksum, Some(("", _))) => Self::Gue { port: GUE_PORT, checksum },
            (_, checksum, Some((_, Some(port)))) => {
                let port = port.parse().ok().filter(|port| *port > 0).ok_or(NotForwarding)?;
                Self::Gue { port, checksum }
            }
            _ => return Err(NotForwarding),
        })
    }
}

impl TryFrom<String> for Forwarding {
    type Error = NotForwarding;

    fn try_from(text: String) -> Result<Self, NotForwarding> {
        text.parse()
    }
}

impl From<Forwarding> for String {
    fn from(value: Forwarding) -> Self {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_method_reads_back_as_it_is_printed() {
        for text in [
            "gate",
            "masq",
            "fullnat",
            "fullnat:10.0.0.9",
            "fullnat:2001:db8::9",
            "ipip",
            "gue:6080",
            "gue:1,csum",
            "gue:9,remcsum",
            "gre",
            "gre,csum",
        ] {
            assert_eq!(text.parse::<Forwarding>().unwrap().to_string(), text);
        }
        assert_eq!("gue,csum".parse::<Forwarding>().unwrap().to_string(), "gue:6080,csum");
        for text in [
            "",
            "nat",
            "gate,csum",
            "gre,remcsum",
            "gue:0",
            "gue:70000",
            "gue6080",
            "gue:",
            "fullnat:",
            "fullnat:eth0",
            "fullnat,csum",
        ] {
            assert_eq!(text.parse::<Forwarding>(), Err(NotForwarding), "{text}");
        }
    }
}
