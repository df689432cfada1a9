//! Looks into the directories in which somebody marks real servers that are being worked on
//! (ldirectord's `maintenancedir`): a file whose name is the server's takes it out of service.
//!
//! A name is an address or a host's name, with `:PORT` behind it where only that port is meant. What
//! the marks do is `lvs::overrides`'s.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::warn;

use crate::lvs::model::{Director, ServiceKey};
use crate::lvs::overrides::{Target, server_of};

/// From one look to the next: sooner than any check would find out.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Most names that are taken from one directory: more than anybody works on at a time.
const NAMES_MAX: usize = 1000;

/// The directories of all directors, and what the names in them stand for.
#[derive(Debug, Default)]
pub(super) struct Marks {
    places: Vec<Place>,
    /// Addresses of host names, for as long as they are marked.
    hosts: BTreeMap<String, Vec<IpAddr>>,
}

/// A directory and the services it is for.
#[derive(Debug)]
struct Place {
    directory: PathBuf,
    services: Vec<ServiceKey>,
    /// Why it can't be read, said once.
    fault: Option<String>,
}

impl Marks {
    /// The directories that these directors name.
    pub(super) fn of(directors: &[Director]) -> Self {
        let place = |director: &Director| {
            let services = director.services.iter().map(|service| service.key).collect();
            let directory = director.maintenance.clone()?;
            Some(Place { directory, services, fault: None })
        };
        Self { places: directors.iter().filter_map(place).collect(), hosts: BTreeMap::new() }
    }

    /// Whether there is anything to look at.
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The servers that are marked now, sorted. Reads directories and asks for names: may block.
    pub(super) fn look(&mut self) -> Vec<Target> {
        let before = std::mem::take(&mut self.hosts);
        let mut marked = Vec::new();
        for place in &mut self.places {
            for name in place.names() {
                let Some((addresses, port)) = addresses(&name, &before, &mut self.hosts) else {
                    continue;
                };
                for address in addresses {
                    let target = |service: &ServiceKey| {
                        let service = Some(*service);
                        Target { service, address, port }
                    };
                    marked.extend(place.services.iter().map(target));
                }
            }
        }
        marked.sort_unstable();
        marked.dedup();
        marked
    }
}

impl Place {
    /// The names of the files. One that is not there marks nothing: ldirectord takes it so, too.
    fn names(&mut self) -> Vec<String> {
        let read = names(&self.directory);
        let fault = read.as_ref().err().map(ToString::to_string);
        if let Some(why) = fault.as_ref().filter(|why| self.fault.as_ref() != Some(why)) {
            warn!("{}: {why}; no server is marked there", self.directory.display());
        }
        self.fault = fault;
        read.unwrap_or_default()
    }
}

fn names(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory)?.take(NAMES_MAX) {
        names.extend(entry?.file_name().into_string().ok());
    }
    names.sort_unstable();
    Ok(names)
}

/// The addresses that a name stands for, and the port. A host's name is asked for once.
fn addresses(
    name: &str,
    before: &BTreeMap<String, Vec<IpAddr>>,
    hosts: &mut BTreeMap<String, Vec<IpAddr>>,
) -> Option<(Vec<IpAddr>, Option<u16>)> {
    if let Ok((address, port)) = server_of(name) {
        return Some((vec![address], port));
    }
    let (host, port) = match name.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok()?)),
        None => (name, None),
    };
    if let Some(known) = hosts.get(host).or_else(|| before.get(host)).cloned() {
        hosts.insert(host.to_owned(), known.clone());
        return Some((known, port));
    }
    // What has no address now may have one at the next look.
    let found: Vec<IpAddr> = (host, 0).to_socket_addrs().ok()?.map(|found| found.ip()).collect();
    hosts.insert(host.to_owned(), found.clone());
    Some((found, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::DirectorName;
    use crate::sys::scratch::Scratch;

    #[test]
    fn names_of_files_are_servers_and_everything_else_is_nothing() {
        let directory = Scratch::new("marks");
        for name in ["10.0.1.1", "10.0.1.2:80", "[2001:db8::6]:80", "localhost:81", "a:b", ".x y"] {
            std::fs::write(directory.join(name), "").unwrap();
        }
        let key = ServiceKey::Mark { ipv6: false, mark: 7 };
        let mut marks = Marks {
            places: vec![Place {
                directory: directory.to_owned(),
                services: vec![key],
                fault: None,
            }],
            hosts: BTreeMap::new(),
        };
        let seen: Vec<String> = marks.look().iter().map(ToString::to_string).collect();
        for want in ["10.0.1.1", "10.0.1.2:80", "[2001:db8::6]:80", "127.0.0.1:81"] {
            let want = format!("{want} of fwm 7");
            assert!(seen.contains(&want), "{want}: {seen:?}");
        }
        std::fs::remove_file(directory.join("10.0.1.1")).unwrap();
        assert!(!marks.look().iter().any(|target| target.port.is_none()));
        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!(marks.look(), []);
        assert!(
            Marks::of(&[Director {
                name: DirectorName::new("web").unwrap(),
                services: Vec::new(),
                maintenance: None,
                follow: false,
                adopt: false,
            }])
            .is_empty()
        );
    }
}
