//! `source = { server101 = "192.168.2.101", server105 = "192.168.2.105" }`: the addresses of each node
//! that its checks come from.
//!
//! The file is the same on both nodes, so it names both, and each takes its own.

use std::net::IpAddr;

use crate::config::toml::walk::{Item, Walk};

/// Reads the table; of this node one address for each family. `None` after a fault.
pub(super) fn read(item: Item<'_>, walk: &mut Walk<'_>) -> Option<Vec<IpAddr>> {
    let mut own = None;
    for (name, item) in item.fields(walk)?.take_all() {
        let items = if item.is_array() { item.items(walk) } else { vec![item] };
        let mut addresses: Vec<IpAddr> = Vec::new();
        for item in items {
            let Some(address) = address(item, walk) else { continue };
            if addresses.iter().any(|other| other.is_ipv4() == address.is_ipv4()) {
                walk.faults.fault(item.span, "one address of each family");
            }
            addresses.push(address);
        }
        if name.text == walk.node.as_str() {
            own = Some(addresses);
        }
    }
    if own.is_none() {
        let message = format!("no source for {}, this node", walk.node);
        let help = "`source = { server101 = \"192.168.2.101\", server105 = \"192.168.2.105\" }`";
        walk.faults.fault(item.span, message).help(help);
    }
    own
}

fn address(item: Item<'_>, walk: &mut Walk<'_>) -> Option<IpAddr> {
    let word = item.text(walk)?;
    let address = word.text.parse::<IpAddr>().ok();
    let fit = address.filter(|it| !it.is_unspecified() && !it.is_multicast());
    if fit.is_none() {
        let message = format!("`{}` is not an address of one machine", word.text);
        walk.faults.fault(word.span(), message);
    }
    fit
}
