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
use crate::lvs::model::ServiceKey;
use crate::lvs::prerequisites::{
    self, FAR_CLIENT, LOOKED_AT_MAX, Module, Reached, Route, RouteLack,
};
use crate::lvs::settings::Timeout;

/// For the services of a configuration; no settings where they are to be set anyway.
pub(super) fn of_config(config: &Config) -> Vec<String> {
    let reached = prerequisites::reached(config.services());
    let settings = if config.ipvs.prepare { Vec::new() } else { of_settings(&reached) };
    let full_nat = reached.iter().any(|(_, way)| way.is_full_nat());
    let nft = (full_nat && !is_installed("nft")).then(|| {
        "nft is not installed: full NAT can't do without (apt install nftables)".to_owned()
    });
    let fronts = fronts(config);
    let far = (!fronts.is_empty()).then_some(FAR_CLIENT);
    let known = routes_to(asked(&reached).chain(far).collect());
    let routes = of_routes(&reached, &known).into_iter().map(|lack| lack.to_string());
    let modules = of_modules(&prerequisites::modules(config.services()));
    let far = known.get(&FAR_CLIENT).and_then(Option::as_ref);
    let filters = prerequisites::strict(fronts.into_iter(), far, read);
    let filters = filters.into_iter().map(|lack| lack.to_string());
    let lacks = settings.into_iter().chain(absent(config)).chain(routes).chain(filters);
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

/// Interfaces with an address of a virtual service, as far as they are written.
fn fronts(config: &Config) -> Vec<&str> {
    let served: BTreeSet<IpAddr> = config
        .services()
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
    interfaces.collect()
}

/// For the services of a running director, as lines. That tunnels carry less than their interface
/// does not change from day to day: `check` says it.
pub(super) fn of_views(services: &[ServiceView]) -> String {
    let reached = prerequisites::reached_of_views(services);
    let known = routes_to(asked(&reached).collect());
    let routes = of_routes(&reached, &known).into_iter();
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
    let here = Modules::default();
    let lacks = prerequisites::lacking_modules(needed, |name| here.presence(name));
    lacks.iter().map(ToString::to_string).collect()
}

fn read(setting: &str) -> Option<String> {
    sysctl::read(setting).ok()
}

fn of_routes(reached: &Reached, known: &Known) -> BTreeSet<RouteLack> {
    prerequisites::lacking_routes(reached, |server| known.get(&server).cloned().ok_or(()), read)
}

/// The real servers whose routes are asked for.
fn asked(reached: &Reached) -> impl Iterator<Item = IpAddr> {
    reached.iter().take(LOOKED_AT_MAX).map(|(server, _)| *server)
}

/// The routes that the kernel tells of.
type Known = BTreeMap<IpAddr, Option<Route>>;

fn routes_to(addresses: BTreeSet<IpAddr>) -> Known {
    let mut found = Known::new();
    if addresses.is_empty() {
        return found;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return found };
    runtime.block_on(async {
        let Ok(routes) = Routes::open().await else { return };
        for address in addresses {
            if let Ok(route) = routes.to(address).await {
                found.insert(address, route);
            }
        }
    });
    found
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // A user's PATH may lack those of the administrator, where it is.
    let more = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(more).any(|place| place.join(program).is_file())
}
