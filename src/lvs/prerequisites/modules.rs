//! Modules of the kernel that services need: what the machine has of them in, sentences out.

use std::collections::BTreeSet;
use std::fmt;

use crate::lvs::director::ServiceView;
use crate::lvs::model::{Forwarding, Protocol, ServiceKey, VirtualService};

/// FTP's control connection.
const FTP: u16 = 21;

/// A module, and what it is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Module {
    /// A scheduler; the kernel loads it by itself when a service asks for it.
    Scheduler(String),
    /// Finds the data connections of FTP by NAT; nobody loads it.
    Ftp,
}

impl Module {
    /// As modprobe(8) calls it.
    pub fn name(&self) -> String {
        match self {
            Self::Scheduler(scheduler) => format!("ip_vs_{scheduler}"),
            Self::Ftp => "ip_vs_ftp".to_owned(),
        }
    }
}

/// What a machine has of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It is in the kernel.
    Loaded,
    /// It is installed for this kernel.
    Installed,
    /// Neither.
    Absent,
    /// Nobody can say: there is no list of this kernel's modules here, as in a container.
    Unknown,
}

/// A module that is not there, or not in use yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleLack {
    module: Module,
    installed: bool,
}

impl fmt::Display for ModuleLack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.module.name();
        match (&self.module, self.installed) {
            (Module::Scheduler(scheduler), _) => write!(
                f,
                "this kernel has no scheduler {scheduler} (module {name}): it refuses the services that ask for it"
            ),
            (Module::Ftp, true) => write!(
                f,
                "{name} is not loaded: the data connections of FTP by NAT (masq) do not reach their real server \
                 (modprobe {name}, and a line {name} in /etc/modules-load.d for the next boot)"
            ),
            (Module::Ftp, false) => write!(
                f,
                "this kernel has no module {name}: the data connections of FTP by NAT (masq) do not reach their \
                 real server"
            ),
        }
    }
}

/// What these services need.
pub fn modules<'a>(services: impl Iterator<Item = &'a VirtualService>) -> BTreeSet<Module> {
    let needed = services.flat_map(|service| {
        let ftp =
            matches!(service.key, ServiceKey::Address { protocol: Protocol::Tcp, port: FTP, .. });
        let masq = service.servers().any(|real| real.forwarding == Forwarding::Masq);
        of(&service.scheduler, ftp && masq)
    });
    needed.collect()
}

/// The same for those of a running director.
pub fn modules_of_views(services: &[ServiceView]) -> BTreeSet<Module> {
    let needed = services.iter().flat_map(|service| {
        let ftp = service.protocol == "tcp" && service.service.ends_with(&format!(":{FTP}"));
        let mut reals = service.real.iter().chain(&service.backup);
        of(&service.scheduler, ftp && reals.any(|real| real.forwarding == Forwarding::Masq))
    });
    needed.collect()
}

fn of(scheduler: &str, ftp_by_nat: bool) -> impl Iterator<Item = Module> {
    let scheduler = Module::Scheduler(scheduler.to_owned());
    std::iter::once(scheduler).chain(ftp_by_nat.then_some(Module::Ftp))
}

/// What of them is missing.
pub fn lacking_modules(
    needed: &BTreeSet<Module>,
    presence: impl Fn(&str) -> Presence,
) -> Vec<ModuleLack> {
    let lacks = needed.iter().filter_map(|module| {
        let installed = match (presence(&module.name()), module) {
            (Presence::Loaded | Presence::Unknown, _) => return None,
            (Presence::Installed, Module::Scheduler(_)) => return None,
            (Presence::Installed, Module::Ftp) => true,
            (Presence::Absent, _) => false,
        };
        Some(ModuleLack { module: module.clone(), installed })
    });
    lacks.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(presence: Presence) -> Vec<String> {
        let needed = BTreeSet::from([Module::Scheduler("mh".to_owned()), Module::Ftp]);
        let lacks = lacking_modules(&needed, |_| presence);
        lacks.iter().map(|lack| lack.to_string().chars().take(34).collect()).collect()
    }

    #[test]
    fn a_scheduler_is_missing_when_it_is_not_installed_and_ftp_also_when_it_is_not_loaded() {
        assert_eq!(said(Presence::Loaded), [""; 0]);
        assert_eq!(said(Presence::Unknown), [""; 0]);
        assert_eq!(said(Presence::Installed), ["ip_vs_ftp is not loaded: the data "]);
        let absent = ["this kernel has no scheduler mh (m", "this kernel has no module ip_vs_ft"];
        assert_eq!(said(Presence::Absent), absent);
    }
}
