//! Further checks of a real server: things that it can't do without, `[[director.NAME.dependency]]`.

use std::net::IpAddr;

use crate::config::DEPENDENCIES_MAX;
use crate::import::document::{Block, Table, Value};
use crate::import::model::endpoint;
use crate::import::remark::{At, Remarks};

/// A check beside the one that a real server has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Further {
    /// Where it stands in the file.
    pub(super) at: At,
    /// What is checked.
    address: IpAddr,
    /// `None` where the check has none.
    port: Option<u16>,
    /// With its type.
    check: Table,
}

impl Further {
    /// A check as a real server at this address and port has it.
    pub(super) fn new(mut check: Table, address: IpAddr, port: u16, at: &At) -> Self {
        let mut take = |key| {
            let place = check.0.iter().position(|(name, _)| name == key)?;
            Some(check.0.remove(place).1)
        };
        let own_address = match take("address") {
            Some(Value::Text(text)) => text.parse().ok(),
            _ => None,
        };
        let own_port = match take("port") {
            Some(Value::Number(number)) => u16::try_from(number).ok(),
            _ => None,
        };
        let pinged = check.text("type") == "ping";
        let port = own_port.unwrap_or(port);
        Self {
            at: at.clone(),
            address: own_address.unwrap_or(address),
            port: (port > 0 && !pinged).then_some(port),
            check,
        }
    }

    /// What tells it from others, for people.
    fn name(&self) -> String {
        let place = endpoint(self.address, self.port);
        format!("{place} {} {}", self.check.text("type"), self.check.text("path")).trim_end().into()
    }

    fn is(&self, other: &Self) -> bool {
        (self.address, self.port, &self.check) == (other.address, other.port, &other.check)
    }
}

/// The dependencies of one director.
#[derive(Debug, Default)]
pub(super) struct Dependencies(Vec<(String, Further)>);

impl Dependencies {
    /// The names by which a real server requires these; the same check has one name everywhere.
    pub(super) fn names(&mut self, all: &[Further], remarks: &mut Remarks) -> Vec<String> {
        all.iter().filter_map(|further| self.name(further, remarks)).collect()
    }

    fn name(&mut self, further: &Further, remarks: &mut Remarks) -> Option<String> {
        if let Some((name, _)) = self.0.iter().find(|(_, known)| known.is(further)) {
            return Some(name.clone());
        }
        if self.0.len() >= DEPENDENCIES_MAX {
            let text = format!(
                "`{}`: over {DEPENDENCIES_MAX} checks beside the first ones",
                further.name()
            );
            remarks.left_out(&further.at, text);
            return None;
        }
        let first = further.name();
        let taken = |name: &String| self.0.iter().any(|(known, _)| known == name);
        let name = std::iter::once(first.clone())
            .chain((2..).map(|number| format!("{first} ({number})")))
            .find(|name| !taken(name))?;
        self.0.push((name.clone(), further.clone()));
        Some(name)
    }

    /// A block for each.
    pub(super) fn blocks(self, header: &str) -> impl Iterator<Item = Block> {
        let header = format!("[[{header}.dependency]]");
        self.0.into_iter().map(move |(name, further)| {
            let mut block = Block::new(&header);
            block.comments = vec![format!("From {}.", further.at)];
            block.put("name", name);
            block.put("address", endpoint(further.address, further.port));
            block.put("check", further.check);
            block
        })
    }
}
