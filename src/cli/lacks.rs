//! What this machine lacks for the ways in which its director sends packets on: for `check` and
//! `status`. They are notes: nothing is set, and no exit code changes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use crate::config::{Config, IPVS_SETTINGS, ResourceKind};
use crate::kernel::modules::Modules;
use crate::kernel::routes::Routes;
use crate::kernel::sysctl;
use crate::lvs::director::ServiceView;
use crate::lvs::model::{Forwarding, ServiceKey};
use crate::lvs::prerequisites::{
    self, FAR_CLIENT, LOOKED_AT_MAX, Module, Reached, Route, RouteLack,
};
use crate::lvs::settings::Timeout;

/// For the services of a configuration; no settings where they are to be set anyway.
pub(super) fn of_config(config: &Config) -> Vec<String> {
    let services = || config.directors.values().flat_map(|director| &director.services);
    let reached = prerequisites::reached(services());
    let settings = if config.ipvs.prepare { Vec::new() } else { of_settings(&reached) };
    let full_nat = |(_, way): &(IpAddr, Forwarding)| matches!(way, Forwarding::FullNat { .. });
    let nft = (reached.iter().any(full_nat) && !is_installed("nft")).then(|| {
        "nft is not installed: full NAT can't do without (apt install nftables)".to_owned()
    });
    let routes = of_routes(&reached).into_iter().map(|lack| lack.to_string());
    let modules = of_modules(&prerequisites::modules(services()));
    let lacks = settings.into_iter().chain(absent(config)).chain(routes).chain(filters(config));
    let lacks = lacks.chain(nft).chain(modules);
    lacks.map(|lack| format!("note: {lack}")).collect()
}

/// Settings that are to be made and that this kernel does not have. As long as IPVS is not loaded, nobody
/// knows.
fn absent(config: &Config) -> Vec<String> {
    if !sysctl::exists(IPVS_SETTINGS) {
        return Vec::new();
    }
    let settings = config.kernel_settings().into_keys();
    let absent = settings.filter(|path| Timeout::of(path).is_none() && !sysctl::exists(path));
    absent.map(|path| format!("this kernel has no setting {}", path.replace('/', "."))).collect()
}

/// Interfaces with an address of a virtual service that drop what clients send.
fn filters(config: &Config) -> Vec<String> {
    let services = config.directors.values().flat_map(|director| &director.services);
    let served: BTreeSet<IpAddr> = services
        .filter_map(|service| match service.key {
            ServiceKey::Address { address, .. } => Some(address),
            ServiceKey::Mark { .. } => None,
        })
        .collect();
    let resources = config.groups.iter().flat_map(|group| &group.resources);
    let interfaces = resources.filter_map(|resource| match &resource.kind {
        ResourceKind::Address(it) if it.ip.is_ipv4() && served.contains(&it.ip) => {
            it.interface.as_deref()
        }
        _ => None,
    });
    let interfaces: Vec<&str> = interfaces.collect();
    if interfaces.is_empty() {
        return Vec::new();
    }
    let far = routes_to([FAR_CLIENT].into()).and_then(|mut routes| routes.remove(&FAR_CLIENT));
    let lacks = prerequisites::strict(interfaces.into_iter(), far.flatten().as_ref(), read);
    lacks.iter().map(ToString::to_string).collect()
}

/// For the services of a running director, as lines. That tunnels carry less than their interface
/// does not change from day to day: `check` says it.
pub(super) fn of_views(services: &[ServiceView]) -> String {
    let reached = prerequisites::reached_of_views(services);
    let routes = of_routes(&reached).into_iter();
    let routes = routes.filter(|lack| !matches!(lack, RouteLack::Tight { .. }));
    let modules = of_modules(&prerequisites::modules_of_views(services));
    let lacks = of_settings(&reached).into_iter().chain(routes.map(|lack| lack.to_string()));
    let lacks = lacks.chain(modules);
    lacks.map(|lack| format!("note: {lack}\n")).collect()
}

fn of_settings(reached: &Reached) -> Vec<String> {
    prerequisites::lacking(reached, read).iter().map(ToString::to_string).collect()
}

fn of_modules(needed: &BTreeSet<Module>) -> Vec<String> {
    let here = Modules::read();
    let lacks = prerequisites::lacking_modules(needed, |name| here.presence(name));
    lacks.iter().map(ToString::to_string).collect()
}

fn read(setting: &str) -> Option<String> {
    sysctl::read(setting).ok()
}

fn of_routes(reached: &Reached) -> BTreeSet<RouteLack> {
    let servers: BTreeSet<IpAddr> =
        reached.iter().take(LOOKED_AT_MAX).map(|(server, _)| *server).collect();
    let routes = routes_to(servers).unwrap_or_default();
    prerequisites::lacking_routes(reached, |server| routes.get(&server).cloned().ok_or(()), read)
}

/// The routes that the kernel tells of; `None`: it tells nothing.
fn routes_to(servers: BTreeSet<IpAddr>) -> Option<BTreeMap<IpAddr, Option<Route>>> {
    if servers.is_empty() {
        return None;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(async {
        let routes = Routes::open().await.ok()?;
        let mut found = BTreeMap::new();
        for server in servers {
            if let Ok(route) = routes.to(server).await {
                found.insert(server, route);
            }
        }
        Some(found)
    })
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // A user's PATH may lack those of the administrator, where it is.
    let more = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(more).any(|place| place.join(program).is_file())
}
