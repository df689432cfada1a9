//! Every decoder and reader of pairbeat as a function of any bytes.
//!
//! Each returns whether the bytes were taken, and panics where the decoder does or where a promise
//! is broken: what was taken survives the way back, what was refused changed nothing. Shared by
//! the libfuzzer targets beside this folder and by `tests/fuzz_replay.rs`; neither is known here.

mod config;
mod engine;
mod json;
mod kernel;
mod servers;
mod wire;

/// Whether the bytes were taken.
type Decoder = fn(&[u8]) -> bool;

/// By the name of target and corpus folder.
pub(crate) const DECODERS: &[(&str, Decoder)] = &[
    ("wire_frame", wire::frame),
    ("serial_line", wire::serial_line),
    ("engine_hear", engine::hear),
    ("control_call", json::call),
    ("status", json::status),
    ("channel", json::channel),
    ("journal", json::journal),
    ("recording", json::recording),
    ("carried", json::carried),
    ("owned_services", json::owned_services),
    ("etcd_answer", json::etcd_answer),
    ("ha_cf", config::ha_cf),
    ("haresources", config::haresources),
    ("authkeys", config::authkeys),
    ("ldirectord", config::ldirectord),
    ("toml", config::toml),
    ("keys", config::keys),
    ("lan_frame", kernel::lan_frame),
    ("ipvs_dump", kernel::ipvs_dump),
    ("dns_server", servers::dns),
    ("radius_server", servers::radius),
    ("redis_server", servers::redis),
    ("ftp_server", servers::ftp),
    ("grpc_answer", servers::grpc),
    ("imap_server", servers::imap),
    ("nntp_server", servers::nntp),
    ("pop_server", servers::pop),
    ("sip_server", servers::sip),
    ("smtp_server", servers::smtp),
    ("text_server", servers::text),
    ("ldap_server", servers::ldap),
    ("mysql_server", servers::mysql),
    ("pgsql_server", servers::pgsql),
];

/// Gives bytes to the decoder of this name.
pub(crate) fn run(name: &str, bytes: &[u8]) -> bool {
    let known = DECODERS.iter().find(|(known, _)| *known == name);
    let (_, decoder) = known.unwrap_or_else(|| panic!("no decoder {name}"));
    decoder(bytes)
}
