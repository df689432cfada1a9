//! Throw-away network namespaces. Used by the tests of `netns` and `pair`.

use std::future::Future;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::needs::met;

/// A named network namespace, deleted when dropped.
pub(crate) struct Net {
    name: String,
    owned: bool,
}

/// Whether this machine can run such a test.
pub(crate) fn possible() -> bool {
    let able = rustix::process::geteuid().is_root()
        && Command::new("unshare").args(["-n", "true"]).status().is_ok_and(|s| s.success());
    met(able, "root, network namespaces and ip(8)")
}

pub(crate) fn sh(command: &str) -> String {
    let mut words = command.split_whitespace();
    let out = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(out.status.success(), "{command}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

impl Net {
    /// An empty one, with the loopback up.
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let net = Self { name: format!("pairbeat-{}-{count}", std::process::id()), owned: true };
        sh(&format!("ip netns add {}", net.name));
        net.ip("link set lo up");
        net
    }

    /// Another handle for one that somebody else will delete.
    pub(crate) fn borrowed(name: &str) -> Self {
        Self { name: name.to_owned(), owned: false }
    }

    /// What ip(8) calls it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// `ip -n NAME ...`
    pub(crate) fn ip(&self, rest: &str) -> String {
        sh(&format!("ip -n {} {rest}", self.name))
    }

    /// A veth pair between two, with the given interface names; both ends up.
    pub(crate) fn cable(&self, port: &str, other: &Self, other_port: &str) {
        self.ip(&format!("link add {port} type veth peer name {other_port} netns {}", other.name));
        self.ip(&format!("link set {port} up"));
        other.ip(&format!("link set {other_port} up"));
    }

    /// Runs a future inside, on a thread of its own.
    pub(crate) fn run<F: Future<Output = T>, T: Send>(&self, task: impl FnOnce() -> F + Send) -> T {
        let namespace = std::fs::File::open(format!("/run/netns/{}", self.name)).unwrap();
        std::thread::scope(|scope| {
            let inside = scope.spawn(move || {
                use std::os::fd::AsFd;
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                    .unwrap();
                let mut builder = tokio::runtime::Builder::new_current_thread();
                builder.enable_all().build().unwrap().block_on(task())
            });
            inside.join().unwrap_or_else(|cause| std::panic::resume_unwind(cause))
        })
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        if self.owned {
            let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
        }
    }
}
