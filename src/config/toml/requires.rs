//! `[[director.NAME.dependency]]`, and the `requires` of directors, services and real servers.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::config::Family;
use crate::config::diag::{Span, Word, nearest};
use crate::config::ldirectord::address;
use crate::config::toml::check::{self, Check, Level};
use crate::config::toml::walk::{Fields, Item, Walk};
use crate::lvs::model::{Dependency, Protocol, ServiceKey};

/// Most dependencies of one director: each is checked for every service that needs it.
pub(crate) const DEPENDENCIES_MAX: usize = 100;

/// What is written of a dependency; how it is checked may depend on the service.
#[derive(Clone)]
struct Written<'d> {
    address: IpAddr,
    port: u16,
    at: Span,
    check: Check<'d>,
}

/// The dependencies of one director.
#[derive(Clone, Default)]
pub(super) struct Dependencies<'d>(BTreeMap<&'d str, Written<'d>>);

impl<'d> Dependencies<'d> {
    pub(super) fn read(fields: &mut Fields<'d>, walk: &mut Walk<'_>) -> Self {
        let items = fields.take("dependency").map_or_else(Vec::new, |item| item.items(walk));
        let mut all = BTreeMap::new();
        for (place, item) in items.into_iter().enumerate() {
            if place == DEPENDENCIES_MAX {
                walk.faults.fault(item.span, format!("over {DEPENDENCIES_MAX} dependencies"));
            }
            let Some((name, written)) = dependency(item, walk) else { continue };
            if all.insert(name.text, written).is_some() {
                walk.faults.fault(name.span(), format!("`{}` is there twice", name.text));
            }
        }
        Self(all)
    }

    /// Those with these names, as a service has them checked.
    pub(super) fn of(
        &self,
        names: &[Word<'_>],
        key: &ServiceKey,
        walk: &mut Walk<'_>,
    ) -> Vec<Arc<Dependency>> {
        let mut found: Vec<Arc<Dependency>> = Vec::new();
        for name in names {
            let Some(written) = self.0.get(name.text) else {
                let message = format!("there is no dependency `{}`", name.text);
                let fault = walk.faults.fault(name.span(), message);
                if let Some(near) = nearest(name.text, self.0.keys().copied()) {
                    fault.help(format!("did you mean `{near}`?"));
                }
                continue;
            };
            let Written { address, port, at, check } = written;
            let source = check.source(*address);
            let Some((check, address, port)) = check.build(key, (*address, *port), *at, walk)
            else {
                continue;
            };
            let name = name.text.to_owned();
            if found.iter().all(|other| other.name != name) {
                found.push(Arc::new(Dependency { name, check, address, port, source }));
            }
        }
        found
    }
}

fn dependency<'d>(item: Item<'d>, walk: &mut Walk<'_>) -> Option<(Word<'d>, Written<'d>)> {
    const HELP: &str =
        "`name = \"storage\"`, `address = \"10.0.0.20:2049\"`, `check = \"connect\"`";
    let mut fields = item.fields(walk)?;
    let name = fields.take("name").and_then(|item| item.text(walk));
    let place = fields.take("address").and_then(|item| item.text(walk));
    let check = check::read(fields.take("check"), Level::Server, walk);
    let span = fields.span;
    fields.finish(walk);
    let (Some(name), Some(place)) = (name, place) else {
        walk.missing(span, "a dependency without a name or an address", HELP);
        return None;
    };
    if !check.has_type() {
        walk.missing(span, "a dependency whose check has no type", HELP);
        return None;
    }
    let (address, port) = address_of(place, walk)?;
    Some((name, Written { address, port, at: place.span(), check }))
}

/// `ADDRESS[:PORT]`.
fn address_of(word: Word<'_>, walk: &mut Walk<'_>) -> Option<(IpAddr, u16)> {
    if let Ok(address) = word.text.parse() {
        return Some((address, 0));
    }
    let endpoint = address::endpoint(word);
    let family = if endpoint.host.text.contains(':') { Family::V6 } else { Family::V4 };
    let mut context = walk.director();
    let address = address::host(endpoint.host, family, &mut context)?;
    let port = match endpoint.port {
        Some(port) => address::port(port, Protocol::Tcp, &mut context)?,
        None => 0,
    };
    Some((address, port))
}

/// The names behind `requires`.
pub(super) fn names<'d>(fields: &mut Fields<'d>, walk: &mut Walk<'_>) -> Vec<Word<'d>> {
    let items = fields.take("requires").map_or_else(Vec::new, |item| item.items(walk));
    items.iter().filter_map(|item| item.text(walk)).collect()
}
