//! `pairbeat real`: what operators order of real servers.

use std::net::IpAddr;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Deserialize;

use super::ask;
use super::events;
use super::exit::Code;
use super::out;
use crate::control::protocol::{Call, Ordered, RealOrder};
use crate::daemon::Paths;
use crate::lvs::director::{RealView, ServiceView};
use crate::lvs::model::{ServiceKey, WEIGHT_MAX};
use crate::lvs::overrides::{self, Command, Target};
use crate::status::Status;
use crate::sys::clock;

/// How often a drain is looked at, and the peer asked for.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Longest wait until the peer knows of an order: it hears it with one of the next beats.
const PEER_LIMIT: Duration = Duration::from_secs(3);

/// Which servers.
#[derive(Debug, Clone, Args)]
pub(super) struct Which {
    /// Its address, or ADDRESS:PORT; `[ADDRESS]:PORT` with IPv6
    #[arg(value_name = "SERVER", value_parser = overrides::server_of)]
    server: (IpAddr, Option<u16>),
    /// In this virtual service only: ADDRESS:PORT, udp:ADDRESS:PORT, fwm:NUMBER [default: in all
    /// that have it]
    #[arg(long, value_name = "SERVICE", value_parser = overrides::service)]
    service: Option<ServiceKey>,
}

impl Which {
    fn target(&self) -> Target {
        Target { service: self.service, address: self.server.0, port: self.server.1 }
    }
}

/// What is ordered.
#[derive(Debug, Subcommand)]
pub(super) enum Real {
    /// No new connections to it; those that are open go on. Kept over reload, restart and
    /// takeover, until `enable`
    Drain {
        #[command(flatten)]
        which: Which,
        /// Take it out of the table after so long, whatever is still open: `90s`, `10m`, `2h`
        #[arg(long, value_name = "TIME", value_parser = span)]
        deadline: Option<Duration>,
        /// Show the open connections until there is none
        #[arg(long)]
        wait: bool,
    },
    /// Take it out of the table at once, whatever the checks say, until `enable`
    Disable {
        #[command(flatten)]
        which: Which,
    },
    /// As configured again, without drain, disable and weight
    Enable {
        #[command(flatten)]
        which: Which,
    },
    /// Another weight than the configured one while it is up, until `enable`
    Weight {
        #[command(flatten)]
        which: Which,
        /// 0 to 65535; with 0 it takes no new connection
        #[arg(value_parser = clap::value_parser!(u32).range(0..=i64::from(WEIGHT_MAX)))]
        weight: u32,
    },
}

/// `90s`, `10m`, `2h`, `1d`.
fn span(text: &str) -> Result<Duration, String> {
    events::span(text).ok_or_else(|| "a span such as 90s, 10m, 2h, 1d".to_owned())
}

/// Carries it out in a cluster.
pub(super) fn real(paths: &Paths, order: &Real) -> Code {
    carry_out(paths, order, shared)
}

/// Carries it out at a director without a cluster: there is no peer to know it.
pub(super) fn alone(paths: &Paths, order: &Real) -> Code {
    carry_out(paths, order, |_| Ok(()))
}

fn carry_out(paths: &Paths, order: &Real, shared: fn(&Paths) -> Result<(), Code>) -> Code {
    let (which, command, wait) = match order {
        Real::Drain { which, deadline, wait } => {
            let until = deadline.map(|deadline| clock::wall().saturating_add(deadline).as_secs());
            (which, Command::Drain { until }, *wait)
        }
        Real::Disable { which } => (which, Command::Disable, false),
        Real::Enable { which } => (which, Command::Enable, false),
        Real::Weight { which, weight } => (which, Command::Weight(*weight), false),
    };
    let target = which.target();
    let call = Call::Real(RealOrder { target, command });
    match ask::quietly::<Ordered>(paths, &call) {
        Ok(Ordered::Done { servers }) if servers.is_empty() => {
            out::line(&format!("no virtual service has {target}; nothing holds it any more"));
        }
        Ok(Ordered::Done { servers }) => {
            let word = command.word();
            servers.iter().for_each(|server| out::line(&format!("{word} {server}")));
        }
        Ok(Ordered::Refused { why }) => {
            return out::fault(Code::Refused, &format!("refused: {why}"));
        }
        Err(error) => return ask::fault(&error),
    }
    if let Err(code) = shared(paths) {
        return code;
    }
    if wait { drained(paths, &target) } else { Code::Well }
}

/// Waits a moment until the peer knows it too, and says when it does not.
fn shared(paths: &Paths) -> Result<(), Code> {
    let end = clock::now().plus(PEER_LIMIT);
    loop {
        let status: Status =
            ask::quietly(paths, &Call::Status).map_err(|error| ask::fault(&error))?;
        let peer = &status.peer.node;
        match status.orders_agreed {
            Some(true) => {
                out::line(&format!("{peer} knows it too"));
                return Ok(());
            }
            None | Some(false) if clock::now() >= end => {
                out::complain(&format!("{peer} does not know it yet: told as soon as it is heard"));
                return Ok(());
            }
            None | Some(false) => ask::pause(LOOK_EVERY),
        }
    }
}

/// What every status has, with a cluster or without.
#[derive(Debug, Deserialize)]
struct Standing {
    #[serde(rename = "virtual")]
    services: Vec<ServiceView>,
}

/// Shows the open connections until there is none, or the servers have left the table.
fn drained(paths: &Paths, target: &Target) -> Code {
    let mut last = None;
    loop {
        let standing: Standing = match ask::quietly(paths, &Call::Status) {
            Ok(standing) => standing,
            Err(error) => return ask::fault(&error),
        };
        let mine = |real: &&RealView| is_meant(target, real);
        let reals = standing
            .services
            .iter()
            .filter(|service| target.service.is_none_or(|key| key.to_string() == service.service));
        let reals: Vec<_> = reals
            .flat_map(|service| service.real.iter().chain(&service.backup).filter(mine))
            .collect();
        let open: u32 = reals.iter().map(|real| real.open).sum();
        let weight: u32 = reals.iter().map(|real| real.weight).sum();
        if weight == 0 && last.replace(open) != Some(open) {
            out::line(&format!("{open} open connections"));
        }
        if weight == 0 && open == 0 {
            out::line("drained");
            return Code::Well;
        }
        ask::pause(LOOK_EVERY);
    }
}

fn is_meant(target: &Target, real: &RealView) -> bool {
    let Ok((address, port)) = overrides::server_of(&real.address) else { return false };
    address == target.address && target.port.is_none_or(|wanted| port == Some(wanted))
}
