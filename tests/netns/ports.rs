//! More of a namespace than a LAN needs.

use crate::nets::{Net, sh};

impl Net {
    /// Many lines for ip(8) at once.
    pub(crate) fn batch(&self, lines: &str) {
        let path = std::env::temp_dir().join(format!("{}.batch", self.name()));
        std::fs::write(&path, lines).unwrap();
        self.ip(&format!("-batch {}", path.display()));
        std::fs::remove_file(&path).unwrap();
    }

    /// A command inside.
    pub(crate) fn sh(&self, command: &str) -> String {
        sh(&format!("ip netns exec {} {command}", self.name()))
    }

    /// An interface that is up and has carrier, with nobody behind it.
    pub(crate) fn port(&self, name: &str) {
        self.ip(&format!("link add {name} type veth peer name {name}-far"));
        self.ip(&format!("link set {name} up"));
        self.ip(&format!("link set {name}-far up"));
    }
}
