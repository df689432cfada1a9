//! A real server that `pairbeat realserver` is tried on, and a LAN around it. Used by the tests of
//! `realserver` and `tunnel`.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Command, Output};

use pairbeat::kernel::links::Links;
use pairbeat::net::frames;
use pairbeat::sys::packet::PacketSocket;
use tokio::time::timeout;

use crate::lan::{self, Lan, PATIENCE};
use crate::nets::{Net, possible, sh};

pub(crate) const VIP: &str = "192.168.2.110";
pub(crate) const VIP6: &str = "fd00:2::110";

/// A real server that nobody has prepared, and a LAN with a director that holds the virtual IPs.
pub(crate) struct Rig {
    pub(crate) lan: Lan,
    pub(crate) state: PathBuf,
}

impl Rig {
    /// `None`: can't be here.
    pub(crate) fn new(name: &str) -> Option<Self> {
        possible().then_some(())?;
        let lan = Lan::new();
        lan.node.ip(&format!("addr add {VIP}/24 dev eth0"));
        // As the director has it: no source of its own packets, which a tunnel would refuse.
        lan.node.ip(&format!("addr add {VIP6}/64 dev eth0 nodad preferred_lft 0"));
        let own = format!("pairbeat-realserver-{}-{name}", std::process::id());
        Some(Self { lan, state: std::env::temp_dir().join(own) })
    }

    pub(crate) fn server(&self) -> &Net {
        &self.lan.other
    }

    pub(crate) fn command(&self, words: &str) -> Command {
        let mut command = Command::new("ip");
        // Where the binary is not where it was built.
        let elsewhere = std::env::var_os("PAIRBEAT");
        let binary = elsewhere.unwrap_or_else(|| OsString::from(env!("CARGO_BIN_EXE_pairbeat")));
        command.args(["netns", "exec", self.server().name()]).arg(binary);
        command.arg("realserver").args(words.split_whitespace());
        command.arg("--state-dir").arg(&self.state);
        command
    }

    /// Exit code, output, errors.
    pub(crate) fn call(&self, words: &str) -> (i32, String, String) {
        let Output { status, stdout, stderr } = self.command(words).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code().unwrap(), text(stdout), text(stderr))
    }

    /// What must go well, with its output.
    pub(crate) fn well(&self, words: &str) -> String {
        let (code, output, errors) = self.call(words);
        assert_eq!((code, errors.as_str()), (0, ""), "{words}: {output}");
        output
    }

    pub(crate) fn set(&self, setting: &str, value: &str) {
        sh(&format!(
            "ip netns exec {} sysctl -qw net.ipv4.conf.{setting}={value}",
            self.server().name()
        ));
    }

    /// Everything that could have been changed, in lines.
    pub(crate) fn everything(&self) -> BTreeSet<String> {
        let settings = sh(&format!(
            "ip netns exec {} sysctl net.ipv4.conf net.ipv6.conf",
            self.server().name()
        ));
        let addresses = self.server().ip("-o addr show");
        let links = self.server().ip("-o link show");
        let all = settings.lines().chain(addresses.lines()).chain(links.lines());
        // That passes by itself.
        all.map(|line| line.replace(" tentative", "")).collect()
    }

    /// Fails with the lines that differ.
    pub(crate) fn is_as(&self, before: &BTreeSet<String>, when: &str) {
        let after = self.everything();
        let differ: Vec<&String> = after.symmetric_difference(before).collect();
        assert!(differ.is_empty(), "{when}: {differ:#?}");
    }

    /// The hardware addresses that the client hears for an address, until the one of `last`, asked
    /// after it, has answered.
    pub(crate) fn heard(&self, asked: &str) -> BTreeSet<String> {
        let (own, last) = if asked.contains(':') {
            ("fd00:2::7", "fd00:2::105")
        } else {
            ("192.168.2.7", "192.168.2.105")
        };
        let [own, asked, last] = [own, asked, last].map(|it| it.parse::<IpAddr>().unwrap());
        self.lan.client.run(|| async {
            let links = Links::open().unwrap().all().await.unwrap();
            let card = links.iter().find(|link| link.name == "eth0").unwrap();
            let socket = PacketSocket::open(card.index, own).unwrap();
            let ask = |whom| socket.send(&frames::question(own, card.mac, whom).unwrap()).unwrap();
            let mut heard = BTreeSet::new();
            // Twice, as the bridge has its own order for different stations.
            for _ in 0..2 {
                ask(asked);
                ask(last);
                loop {
                    let frame = timeout(PATIENCE, socket.receive()).await.unwrap().unwrap();
                    let Some(by) = frames::answer(&frame, own, card.mac) else { continue };
                    if by == last {
                        break;
                    }
                    assert_eq!(by, asked);
                    let mac = frames::claim(&frame).unwrap().mac;
                    heard.insert(mac.map(|byte| format!("{byte:02x}")).join(":"));
                }
            }
            heard
        })
    }

    /// The director's alone, as a set.
    pub(crate) fn director(&self) -> BTreeSet<String> {
        BTreeSet::from([lan::mac(&self.lan.node)])
    }

    /// Whether a datagram for the address is taken by the real server when it comes as the director
    /// sends it on: to the real server's hardware address.
    pub(crate) fn delivered(&self, vip: &str) {
        let mac = lan::mac(self.server());
        self.lan.client.ip(&format!("neigh replace {vip} lladdr {mac} dev eth0"));
        let at = (vip.parse::<IpAddr>().unwrap(), 7007);
        let from = if vip.contains(':') { "[::]:0" } else { "0.0.0.0:0" };
        self.server().run(|| async {
            let socket = tokio::net::UdpSocket::bind(at).await.unwrap();
            let sender = std::thread::scope(|scope| {
                let sending = || {
                    self.lan.client.run(|| async {
                        let client = tokio::net::UdpSocket::bind(from).await.unwrap();
                        client.send_to(b"hello", at).await.unwrap();
                    });
                };
                scope.spawn(sending).join()
            });
            sender.unwrap();
            let mut buffer = [0; 16];
            let (count, _) =
                timeout(PATIENCE, socket.recv_from(&mut buffer)).await.unwrap().unwrap();
            assert_eq!(buffer.get(..count), Some(b"hello".as_slice()));
        });
        self.lan.client.ip(&format!("neigh del {vip} dev eth0"));
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.state);
    }
}
