//! Checks against real servers, as Debian packages them, and against ones that misbehave.
//!
//! Each server runs as a child on loopback with a configuration of its own; the system's services
//! are left alone. For each protocol: up, down, wrong answer, wrong password, garbage, and a server
//! that takes the question and says nothing.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on has failed, and one that cannot run says so"
)]

#[path = "../common/needs.rs"]
mod needs;
#[path = "../common/nets.rs"]
#[expect(dead_code, reason = "not every test connects namespaces")]
mod nets;
mod rig;

mod dns;
mod ftp;
mod grpc;
mod hostile;
mod hostile_ftp;
mod hostile_icmp;
mod hostile_udp;
mod http;
mod ldap;
mod mail;
mod mysql;
mod nntp;
mod pgsql;
mod protocols;
mod proxy;
mod radius;
mod redis;
mod scale;
mod script;
mod sip;
mod special;
mod tls;
mod udp;
