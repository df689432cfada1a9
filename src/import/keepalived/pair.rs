//! One pair out of the views of its nodes.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::cluster::message::LINKS_MAX;
use crate::import::document::{Table, Value};
use crate::import::keepalived::View;
use crate::import::keepalived::vrrp::{Instance, Vip};
use crate::import::model::{Director, Group, Pair, Preferred, Service, is_usable, name};
use crate::import::remark::Remarks;
use crate::lvs::model::ServiceKey;
use crate::names::NodeName;

/// Adverts that may be missing until a node is dead (`down_timer_adverts`).
const ADVERTS: u32 = 3;
/// Most groups of a pair.
const GROUPS_MAX: usize = 32;
/// Most resources of a group, without its director and sync.
const ADDRESSES_MAX: usize = 60;
/// The name of a group that nothing names.
const NAME: &str = "lvs";

/// Which instances are together: name, place, their numbers.
struct Together<'v> {
    name: &'v str,
    instances: Vec<&'v Instance>,
}

pub(super) fn of(
    first: View,
    second: Option<&View>,
    nodes: Vec<String>,
    remarks: &mut Remarks,
) -> Pair {
    let nodes: Vec<String> = nodes.into_iter().filter(|it| NodeName::new(it).is_ok()).collect();
    let distinct = matches!(nodes.as_slice(), [one, other] if !one.eq_ignore_ascii_case(other))
        || nodes.len() == 1;
    let mut pair = Pair { nodes: if distinct { nodes } else { Vec::new() }, ..Pair::default() };
    timing(&mut pair, &first);
    pair.auto_failback = failback(&first, second, remarks);
    links(&mut pair, &first, second, remarks);
    let together = together(&first, remarks);
    let mut seen: BTreeSet<IpAddr> = BTreeSet::new();
    let mut held: Vec<BTreeSet<IpAddr>> = Vec::new();
    for together in &together {
        let mut resources: Vec<Value> = Vec::new();
        let mut own = BTreeSet::new();
        for vip in together.instances.iter().flat_map(|it| &it.vips) {
            if !seen.insert(vip.ip) {
                remarks.left_out(&vip.at, format!("{} is there twice", vip.ip));
            } else if resources.len() >= ADDRESSES_MAX {
                remarks.left_out(
                    &vip.at,
                    format!("{}: over {ADDRESSES_MAX} addresses in one group", vip.ip),
                );
            } else {
                own.insert(vip.ip);
                resources.push(address(vip));
            }
        }
        let used: Vec<&str> = pair.groups.iter().map(|group| group.name.as_str()).collect();
        let name = name(together.name, &used);
        let preferred = preferred(together, second, remarks);
        let comments = together.instances.iter().map(|it| format!("From {}.", it.at)).collect();
        pair.groups.push(Group { comments, name, preferred, resources });
        held.push(own);
    }
    missing(&first, second, remarks);
    sync(&mut pair, &first, remarks);
    pair.blocks.extend(first.timeouts.block());
    if let Some(second) = second.filter(|second| second.timeouts != first.timeouts) {
        let text = "`lvs_timeouts` of this node are not the first one's, which count for both";
        remarks.changed(&second.at, text);
    }
    directors(&mut pair, first, &held, remarks);
    pair.groups.retain(|group| !group.resources.is_empty());
    pair
}

fn timing(pair: &mut Pair, view: &View) {
    let Some(advert) = view.instances.iter().map(|it| it.advert).min() else { return };
    let deadtime = advert * ADVERTS;
    pair.timing = vec![("keepalive", advert), ("warntime", advert * 2), ("deadtime", deadtime)];
}

/// keepalived takes `nopreempt` only with `state BACKUP`.
fn failback(first: &View, second: Option<&View>, remarks: &mut Remarks) -> bool {
    let all = || first.instances.iter().chain(second.iter().flat_map(|it| &it.instances));
    for it in all().filter(|it| it.master) {
        if let Some(at) = &it.nopreempt {
            remarks.changed(
                at,
                "`nopreempt` with `state MASTER` does nothing in keepalived, and nothing here",
            );
        }
    }
    let stays = |it: &Instance| it.nopreempt.is_some() && !it.master;
    let some = all().any(stays);
    if some && !all().all(stays) {
        for it in all().filter(|it| !stays(it)) {
            let text = format!(
                "`{}` comes back by itself, others do not: `auto_failback` is for all, and off",
                it.name
            );
            remarks.changed(&it.at, text);
        }
    }
    !some && all().next().is_some()
}

fn links(pair: &mut Pair, first: &View, second: Option<&View>, remarks: &mut Remarks) {
    for it in &first.instances {
        let twin = second.and_then(|view| view.instances.iter().find(|other| is_twin(it, other)));
        let other = twin.and_then(|twin| twin.source).or(match it.peers.as_slice() {
            [peer] => Some(*peer),
            _ => None,
        });
        let own = it.source.or_else(|| match twin?.peers.as_slice() {
            [peer] => Some(*peer),
            _ => None,
        });
        let mut link = Table::default();
        match (own, other) {
            (Some(own), Some(other))
                if !it.peers.is_empty()
                    && own != other
                    && own.is_ipv4() == other.is_ipv4()
                    && is_usable(own)
                    && is_usable(other) =>
            {
                link.put_some("interface", it.interface.clone());
                link.put("peers", vec![own.to_string(), other.to_string()]);
            }
            _ => {
                if !it.peers.is_empty() {
                    let text = format!(
                        "unicast of `{}`: the addresses of both nodes are not known; multicast stands \
                         there (`--peers ADDRESS,ADDRESS`, or the other node's file)",
                        it.name
                    );
                    remarks.fill_in(&it.at, text);
                }
                let Some(interface) = &it.interface else { continue };
                link.put("kind", "mcast");
                link.put("interface", interface.clone());
                link.put(
                    "group",
                    format!("239.0.0.{}", it.router.filter(|id| *id > 0).unwrap_or(42)),
                );
            }
        }
        let same = |(_, known): &(Vec<String>, Table)| {
            let interface = known.get("interface");
            *known == link || interface.is_some() && interface == link.get("interface")
        };
        if !pair.links.iter().any(same) && pair.links.len() < LINKS_MAX {
            let comment =
                format!("Where VRRP of `{}` went; better two links that share nothing.", it.name);
            pair.links.push((vec![comment], link));
        }
    }
}

fn is_twin(one: &Instance, other: &Instance) -> bool {
    one.name == other.name
        || one.router.is_some() && one.router == other.router && one.interface == other.interface
}

/// Sync groups, and the instances that are in none.
fn together<'v>(view: &'v View, remarks: &mut Remarks) -> Vec<Together<'v>> {
    let mut all: Vec<Together<'v>> = Vec::new();
    let mut taken: BTreeSet<&str> = BTreeSet::new();
    for (at, name, members) in &view.together {
        let mut instances = Vec::new();
        for member in members {
            match view.instances.iter().find(|it| it.name == *member) {
                Some(it) if taken.insert(&it.name) => instances.push(it),
                Some(_) => remarks.left_out(at, format!("`{member}` is in two sync groups")),
                None => remarks.left_out(at, format!("no instance `{member}`")),
            }
        }
        all.push(Together { name, instances });
    }
    let mut alone: Vec<Together<'v>> = Vec::new();
    for it in &view.instances {
        if taken.insert(&it.name) {
            alone.push(Together { name: &it.name, instances: vec![it] });
        } else if !all
            .iter()
            .flat_map(|group| &group.instances)
            .any(|known| std::ptr::eq(*known, it))
        {
            remarks.left_out(&it.at, format!("a second instance `{}`", it.name));
        }
    }
    all.append(&mut alone);
    all.retain(|group| !group.instances.is_empty());
    for extra in all.iter().skip(GROUPS_MAX) {
        for it in &extra.instances {
            remarks.left_out(&it.at, format!("`{}`: over {GROUPS_MAX} groups", it.name));
        }
    }
    all.truncate(GROUPS_MAX);
    all
}

/// By priority, where both are known.
fn preferred(together: &Together<'_>, second: Option<&View>, remarks: &mut Remarks) -> Preferred {
    let Some(it) = together.instances.first() else { return Preferred::First };
    let twin = second.and_then(|view| view.instances.iter().find(|other| is_twin(it, other)));
    match twin {
        Some(twin) if twin.priority > it.priority => Preferred::Second,
        Some(_) => Preferred::First,
        None if it.master => Preferred::First,
        None if it.nopreempt.is_some() => {
            let text = format!(
                "`{}`: priority {} says nothing without the other node's: `preferred` is the first node",
                it.name, it.priority
            );
            remarks.fill_in(&it.at, text);
            Preferred::First
        }
        None => Preferred::Second,
    }
}

fn address(vip: &Vip) -> Value {
    let mut table = Table::default().with("address", format!("{}/{}", vip.ip, vip.prefix));
    table.put_some("interface", vip.interface.clone());
    table.put_some("label", vip.label.clone());
    table.put_some("broadcast", vip.broadcast.map(|it| it.to_string()));
    table.into()
}

/// What only the other node has.
fn missing(first: &View, second: Option<&View>, remarks: &mut Remarks) {
    let Some(second) = second else { return };
    for other in &second.instances {
        let Some(it) = first.instances.iter().find(|it| is_twin(it, other)) else {
            remarks.left_out(&other.at, format!("instance `{}` is in this file only", other.name));
            continue;
        };
        for vip in &other.vips {
            if !it.vips.iter().any(|known| known.ip == vip.ip) {
                remarks.left_out(&vip.at, format!("{} is in this file only", vip.ip));
            }
        }
    }
    for service in &second.lvs.services {
        let Some(known) = first.lvs.services.iter().find(|known| known.key == service.key) else {
            if let Some(at) = &service.at {
                remarks
                    .left_out(at, format!("virtual server {:#} is in this file only", service.key));
            }
            continue;
        };
        let reals = |it: &Service| {
            it.reals.iter().map(crate::import::model::Real::text).collect::<BTreeSet<_>>()
        };
        if let (Some(at), true) = (&service.at, reals(known) != reals(service)) {
            let text =
                format!("virtual server {:#} has other real servers in this file", service.key);
            remarks.left_out(at, text);
        }
    }
}

/// The one connection sync there can be, in the first group.
fn sync(pair: &mut Pair, view: &View, remarks: &mut Remarks) {
    let mut all = view.sync.iter().chain(view.instances.iter().filter_map(|it| it.sync.as_ref()));
    let Some(first) = all.next() else { return };
    match pair.groups.first_mut() {
        Some(group) => group.resources.insert(0, first.resource.clone().into()),
        None => remarks.left_out(&first.at, "connection sync without an instance"),
    }
    for other in all {
        remarks.left_out(&other.at, "a second connection sync: there is one on a machine");
    }
}

/// Each service goes to the group that holds its address.
fn directors(pair: &mut Pair, view: View, held: &[BTreeSet<IpAddr>], remarks: &mut Remarks) {
    if view.lvs.services.is_empty() {
        return;
    }
    if pair.groups.is_empty() {
        pair.groups.push(Group { name: NAME.to_owned(), ..Group::default() });
        let text = "no VRRP instance: the group holds the services, and no address";
        remarks.fill_in(&view.at, text);
    }
    let mut services: Vec<Vec<Service>> = pair.groups.iter().map(|_| Vec::new()).collect();
    for service in view.lvs.services {
        let holder = match service.key {
            ServiceKey::Address { address, .. } => {
                held.iter().position(|own| own.contains(&address))
            }
            ServiceKey::Mark { .. } => Some(0),
        };
        if let (None, Some(at)) = (holder, &service.at) {
            let text = format!(
                "no instance holds the address of {:#}: it is with the first group",
                service.key
            );
            remarks.fill_in(at, text);
        }
        if let Some(list) = services.get_mut(holder.unwrap_or(0)) {
            list.push(service);
        }
    }
    for (group, services) in pair.groups.iter_mut().zip(services) {
        if services.is_empty() {
            continue;
        }
        group.resources.push(Table::default().with("director", group.name.clone()).into());
        pair.directors.push(Director {
            name: group.name.clone(),
            settings: Table::default(),
            services,
        });
    }
}
