//! Configuration files, host names and service names, as the machine has them.
//!
//! The real [`Environment`] of the configuration readers; tests bring their own. Blocking: host
//! names may go out to the resolver, so this is for start, reload and the command line, never for
//! the beat thread.

use std::io::{self, Read};
use std::net::{IpAddr, ToSocketAddrs};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::config::{Environment, FILE_LEN_MAX, Family, SourceFile};
use crate::lvs::model::Protocol;
use crate::sys::ask::ask;
use crate::sys::users;

/// Where service names are looked up.
const SERVICES: &str = "/etc/services";

/// What an OCF agent needs to describe itself.
const AGENT_ENVIRONMENT: [(&str, &str); 5] = [
    ("OCF_ROOT", "/usr/lib/ocf"),
    ("OCF_RA_VERSION_MAJOR", "1"),
    ("OCF_RA_VERSION_MINOR", "0"),
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("LC_ALL", "C"),
];

/// This machine.
#[derive(Debug, Clone)]
pub struct Machine {
    services: PathBuf,
}

impl Default for Machine {
    fn default() -> Self {
        Self { services: PathBuf::from(SERVICES) }
    }
}

impl Environment for Machine {
    fn read(&self, path: &Path) -> Result<SourceFile, io::Error> {
        // Opened first and asked afterwards, so that mode and bytes are of the same file.
        let file = std::fs::File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if !metadata.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        let mut bytes = Vec::new();
        // One byte more than the readers take, so that they see that it is too long.
        file.take(FILE_LEN_MAX as u64 + 1).read_to_end(&mut bytes)?;
        Ok(SourceFile { bytes, mode: metadata.permissions().mode() & 0o7777 })
    }

    fn executable(&self, path: &Path) -> bool {
        path.metadata()
            .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    }

    fn metadata(&self, agent: &Path) -> Option<String> {
        ask(agent, "meta-data", &AGENT_ENVIRONMENT)
    }

    fn host(&self, name: &str, family: Family) -> Option<IpAddr> {
        let mut found = (name, 0).to_socket_addrs().ok()?;
        let wanted = |ip: &IpAddr| ip.is_ipv6() == (family == Family::V6);
        found.by_ref().map(|address| address.ip()).find(wanted)
    }

    fn service(&self, name: &str, protocol: Protocol) -> Option<u16> {
        let text = self.read(&self.services).ok()?.bytes;
        service(&String::from_utf8_lossy(&text), name, protocol)
    }

    fn user(&self, name: &str) -> bool {
        users::find(name).is_ok()
    }
}

/// The port of a service in the text of an /etc/services (services(5)): name, `port/protocol`,
/// aliases.
fn service(text: &str, name: &str, protocol: Protocol) -> Option<u16> {
    let protocol = protocol.to_string();
    text.lines().find_map(|line| {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let official = words.next()?;
        let (port, carrier) = words.next()?.split_once('/')?;
        let named = official == name || words.any(|alias| alias == name);
        (named && carrier == protocol).then(|| port.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_found_by_name_and_alias_and_protocol() {
        let text = "# Network services\nhttp\t\t80/tcp\t\twww\t# WorldWideWeb\n\
                    domain 53/tcp\ndomain 53/udp\nbroken 1\nhuge 70000/tcp\n";
        for (name, protocol, want) in [
            ("http", Protocol::Tcp, Some(80)),
            ("www", Protocol::Tcp, Some(80)),
            ("http", Protocol::Udp, None),
            ("domain", Protocol::Udp, Some(53)),
            ("WorldWideWeb", Protocol::Tcp, None),
            ("huge", Protocol::Tcp, None),
            ("80", Protocol::Tcp, None),
        ] {
            assert_eq!(service(text, name, protocol), want, "{name} {protocol}");
        }
    }

    #[test]
    fn a_directory_is_known_as_one() {
        let error = Machine::default().read(Path::new("/")).map_err(|error| error.kind());
        assert_eq!(error, Err(io::ErrorKind::IsADirectory));
        assert!(!Machine::default().executable(Path::new("/")));
    }

    #[test]
    fn the_mode_is_that_of_the_file() {
        let path = std::env::temp_dir().join(format!("pairbeat-files-{}", std::process::id()));
        std::fs::write(&path, "x").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let file = Machine::default().read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(file, SourceFile { bytes: b"x".to_vec(), mode: 0o640 });
    }

    #[test]
    fn localhost_has_an_address() {
        let found = Machine::default().host("localhost", Family::V4);
        assert_eq!(found, Some("127.0.0.1".parse().unwrap()));
    }
}
