//! The keywords of keepalived 2.4: what becomes of each.

use crate::config::diag::nearest;
use crate::import::keepalived::lines::Node;
use crate::import::remark::Remarks;

/// Where a keyword stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Outside of all blocks.
    Top,
    /// `global_defs`.
    Global,
    /// `vrrp_instance`.
    Instance,
    /// `vrrp_sync_group`.
    SyncGroup,
    /// `virtual_server`.
    Server,
    /// `real_server`.
    Real,
    /// A checker.
    Check,
    /// `url` of a checker.
    Url,
}

impl Place {
    /// As it is written.
    pub fn words(self) -> &'static str {
        match self {
            Self::Top => "outside of all blocks",
            Self::Global => "in `global_defs`",
            Self::Instance => "in `vrrp_instance`",
            Self::SyncGroup => "in `vrrp_sync_group`",
            Self::Server => "in `virtual_server`",
            Self::Real => "in `real_server`",
            Self::Check => "in a checker",
            Self::Url => "in `url`",
        }
    }
}

/// What becomes of a keyword.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Taken over: as what.
    Taken(&'static str),
    /// Has no equivalent: why.
    LeftOut(&'static str),
}

/// Rows of a place: keywords with blanks between them.
struct Rows {
    place: Place,
    words: &'static str,
    fate: Fate,
}

const fn taken(place: Place, words: &'static str, becomes: &'static str) -> Rows {
    Rows { place, words, fate: Fate::Taken(becomes) }
}

const fn left(place: Place, words: &'static str, why: &'static str) -> Rows {
    Rows { place, words, fate: Fate::LeftOut(why) }
}

const RHYTHM: &str =
    "the rhythm of `check`: `interval`, `timeout`, `fall` (retries plus one), `retry`, `warmup`";
const MAIL: &str = "mails are not taken over: `[director.NAME.mail]` is for real servers, `\"MailTo::ADDRESS::SUBJECT\"` among a group's resources for its start and stop";
const SCRIPT: &str = "a program that is told of a switch is a resource: `{ script = ... }` gets `start` and `stop` \
                      (docs/RESOURCES.md)";
const TRACK: &str = "priorities are not counted: a program that must be up is a resource with `monitor`, a network \
                     that must be reached a ping node (`[connectivity]`)";
const ROUTES: &str = "routes and rules are not moved: a resource `{ script = ... }` can set them";
const PROCESS: &str = "of keepalived's own processes";
const ARP: &str = "a new holder announces its addresses by itself, often enough";
const VMAC: &str = "there are no virtual MAC addresses: neighbours are told by ARP";
const VRRP: &str = "of VRRP, which is not spoken: beats are signed, and say who holds what";
const LINK: &str = "a link is noticed where it carries an address or a heartbeat";
const AUTH: &str =
    "not taken over: beats are signed with the key in `key_file` (`pairbeat keygen`)";
const CHECK_SOURCE: &str = "checks come from the address that the kernel chooses";
const TELL: &str = "nobody is told of a real server's state; `pairbeat events` has it";
const SNMP: &str = "for SNMP and D-Bus; `pairbeat status --json` has the state";
const KERNEL: &str = "a setting of the kernel that is not made";

use Place::{Check, Global, Instance, Real, Server, SyncGroup, Top, Url};

const ROWS: &[Rows] = &[
    taken(Top, "global_defs", "see below"),
    taken(Top, "vrrp_instance", "`[[group]]`"),
    taken(Top, "vrrp_sync_group", "one `[[group]]` for all of its instances"),
    taken(Top, "virtual_server", "`[[director.NAME.service]]`, one for each address"),
    taken(Top, "virtual_server_group", "the addresses of such services"),
    taken(Top, "include includer includem includew includeb includea", "read where it stands"),
    left(Top, "vrrp_script vrrp_track_process track_file vrrp_track_file track_process", TRACK),
    left(Top, "static_ipaddress static_routes static_rules track_group", ROUTES),
    left(Top, "bfd_instance", "BFD is not spoken"),
    left(Top, "garp_group", ARP),
    left(Top, "linkbeat_use_polling linkbeat_interfaces interface_up_down_delays", LINK),
    left(
        Top,
        "net_namespace net_namespace_ipvs namespace_with_ipsets use_pid_dir instance child_wait_time \
         process_names reload_repeat reload_time_file reload_check_config reload_file config_save_dir \
         tmp_config_directory include_check umask random_seed",
        PROCESS,
    ),
    taken(Global, "router_id", "the name of a node, where the other node's file is there too"),
    taken(Global, "lvs_sync_daemon", "`{ sync = \"INTERFACE\" }` in the first group"),
    left(
        Global,
        "notification_email notification_email_from smtp_server smtp_connect_timeout smtp_helo_name smtp_alert \
         smtp_alert_vrrp smtp_alert_checker no_email_faults no_checker_emails",
        MAIL,
    ),
    taken(Global, "lvs_timeouts", "`timeouts` of `[ipvs]`; 0 leaves one as it is"),
    left(
        Global,
        "lvs_flush lvs_flush_on_stop lvs_flush_onstop",
        "only what is our own is ever taken out of the kernel",
    ),
    left(
        Global,
        "vrrp_garp_master_delay vrrp_garp_master_repeat vrrp_garp_master_refresh vrrp_garp_master_refresh_repeat \
         vrrp_garp_lower_prio_delay vrrp_garp_lower_prio_repeat vrrp_garp_interval vrrp_gna_interval \
         vrrp_min_garp vrrp_garp_extra_if",
        ARP,
    ),
    left(
        Global,
        "vrrp_mcast_group4 vrrp_mcast_group6 vrrp_version vrrp_check_unicast_src vrrp_skip_check_adv_addr \
         vrrp_strict vrrp_lower_prio_no_advert vrrp_higher_prio_send_advert vrrp_owner_ignore_adverts \
         vrrp_startup_delay vrrp_delay_after_boot vrrp_rx_bufs_policy vrrp_rx_bufs_multiplier \
         vrrp_down_timer_adverts timer_expired_backup v3_checksum_as_v2 disable_local_igmp vrrp_vmac_prefix \
         default_interface nopreempt",
        VRRP,
    ),
    left(
        Global,
        "vrrp_iptables vrrp_ipsets nftables nftables_priority nftables_counters nftables_ifindex iptables \
                  nftables_ipvs nftables_ipvs_start_fwmark vmac_prefix vmac_addr_prefix vrrp_vmac_garp_intvl",
        VMAC,
    ),
    left(
        Global,
        "script_user enable_script_security use_symlink_paths set_supplementary_groups startup_script \
         startup_script_timeout shutdown_script shutdown_script_timeout max_auto_priority \
         min_auto_priority_delay vrrp_priority checker_priority bfd_priority vrrp_no_swap \
         checker_no_swap bfd_no_swap vrrp_rt_priority checker_rt_priority bfd_rt_priority \
         vrrp_rlimit_rttime checker_rlimit_rttime bfd_rlimit_rttime vrrp_rlimit_rtime \
         checker_rlimit_rtime bfd_rlimit_rtime vrrp_cpu_affinity checker_cpu_affinity bfd_cpu_affinity \
         vrrp_process_name checker_process_name bfd_process_name process_name vrrp_netlink_cmd_rcv_bufs \
         vrrp_netlink_cmd_rcv_bufs_force vrrp_netlink_monitor_rcv_bufs \
         vrrp_netlink_monitor_rcv_bufs_force lvs_netlink_cmd_rcv_bufs lvs_netlink_cmd_rcv_bufs_force \
         lvs_netlink_monitor_rcv_bufs lvs_netlink_monitor_rcv_bufs_force process_monitor_rcv_bufs \
         process_monitor_rcv_bufs_force rs_init_notifies dynamic_interfaces allow_if_changes \
         promote_secondaries use_pid_dir umask child_wait_time instance net_namespace net_namespace_ipvs \
         namespace_with_ipsets process_names reload_repeat reload_time_file reload_check_config \
         reload_file config_save_dir tmp_config_directory include_check random_seed data_use_instance \
         json_version iproute_usr_dir iproute_etc_dir",
        PROCESS,
    ),
    left(
        Global,
        "notify_fifo notify_fifo_script vrrp_notify_fifo vrrp_notify_fifo_script lvs_notify_fifo \
         lvs_notify_fifo_script fifo_write_vrrp_states_on_reload vrrp_notify_priority_changes",
        "`pairbeat events --follow --json` tells of every change",
    ),
    left(
        Global,
        "snmp_socket enable_traps enable_snmp_keepalived enable_snmp_vrrp enable_snmp_checker enable_snmp_rfc \
         enable_snmp_rfcv2 enable_snmp_rfcv3 enable_dbus dbus_service_name dbus_no_interface_name \
         checker_log_all_failures snmp_vs_stats_update_interval snmp_rs_stats_update_interval",
        SNMP,
    ),
    left(Global, "linkbeat_use_polling linkbeat_interfaces interface_up_down_delays", LINK),
    taken(Instance, "state priority", "`preferred` of the group"),
    taken(Instance, "interface", "that of the addresses, and of the heartbeat link"),
    taken(Instance, "advert_int", "`keepalive`; three of them are the `deadtime`"),
    taken(Instance, "nopreempt", "`auto_failback = false`; without it `true`"),
    taken(Instance, "virtual_ipaddress virtual_ipaddress_excluded", "addresses of the group"),
    taken(Instance, "unicast_src_ip unicast_peer", "`[[link]]` with `peers`"),
    taken(Instance, "lvs_sync_daemon_interface", "`{ sync = \"INTERFACE\" }` in the first group"),
    left(
        Instance,
        "virtual_router_id",
        "only the last number of the heartbeats' multicast group: the key says who is a node",
    ),
    left(Instance, "authentication auth_type auth_pass auth_hmac", AUTH),
    left(
        Instance,
        "track_interface linkbeat_use_polling linkbeat_interfaces dont_track_primary track_src_ip",
        LINK,
    ),
    left(Instance, "track_script track_file track_process track_bfd weight", TRACK),
    left(Instance, "virtual_routes virtual_rules", ROUTES),
    left(
        Instance,
        "notify notify_master notify_backup notify_fault notify_stop notify_deleted notify_master_rx_lower_pri \
         notify_priority_changes",
        SCRIPT,
    ),
    left(Instance, "smtp_alert", MAIL),
    left(
        Instance,
        "garp_master_delay garp_master_repeat garp_master_refresh garp_master_refresh_repeat \
         garp_lower_prio_delay garp_lower_prio_repeat garp_extra_if garp_interval gna_interval",
        ARP,
    ),
    left(Instance, "use_vmac use_vmac_addr vmac_xmit_base use_ipvlan vrf disable_local_igmp", VMAC),
    left(
        Instance,
        "preempt_delay",
        "a node takes a group back when it is ready, and with connection sync when it knows the connections",
    ),
    left(
        Instance,
        "preempt version native_ipv6 mcast_src_ip mcast_dst_ip unicast_ttl unicast_fault_no_peer old_unicast_checksum \
         check_unicast_src skip_check_adv_addr strict_mode lower_prio_no_advert higher_prio_send_advert \
         owner_ignore_adverts accept no_accept down_timer_adverts no_virtual_ipaddress thread_timer_expired \
         v3_checksum_as_v2 timer_expired_backup kernel_rx_buf_size",
        VRRP,
    ),
    left(Instance, "promote_secondaries", KERNEL),
    left(Instance, "debug include_track_group", PROCESS),
    taken(SyncGroup, "group", "instances that are one `[[group]]`"),
    left(
        SyncGroup,
        "notify notify_master notify_backup notify_fault notify_stop notify_priority_changes",
        SCRIPT,
    ),
    left(SyncGroup, "smtp_alert", MAIL),
    left(
        SyncGroup,
        "global_tracking sync_group_tracking_weight track_interface track_script track_file track_process track_bfd",
        TRACK,
    ),
    taken(Server, "protocol", "`protocol`; without it UDP"),
    taken(Server, "ip_family", "`family` of a mark"),
    taken(Server, "lb_algo lvs_sched", "`scheduler`; what is none is wlc"),
    taken(Server, "lb_kind lvs_method", "`forwarding`: gate, masq, ipip; what is none is masq"),
    taken(Server, "persistence_timeout", "`persistent`"),
    taken(Server, "persistence_granularity", "`netmask`"),
    taken(Server, "ops", "`one_packet`"),
    taken(
        Server,
        "sh-port sh-fallback mh-port mh-fallback flag-1 flag-2 flag-3",
        "`scheduler_flags`",
    ),
    taken(
        Server,
        "quorum hysteresis",
        "`quorum = { weight, hysteresis }`: keepalived gains it from their sum on, and loses it below their difference",
    ),
    taken(Server, "sorry_server sorry_server_lvs_method", "`fallback`"),
    taken(Server, "inhibit_on_failure", "`quiescent`"),
    taken(Server, "virtualhost", "`host` of the check"),
    taken(Server, "real_server", "an item of `real`"),
    taken(
        Server,
        "delay_loop connect_timeout retry nb_get_retry delay_before_retry warmup",
        RHYTHM,
    ),
    left(Server, "alpha", "no checked server is in the table before its first good answer"),
    taken(Server, "quorum_up quorum_down", "the same; run as the user of the daemon"),
    left(Server, "omega", "`quorum_down` is run, too, when the director ends"),
    left(
        Server,
        "ha_suspend",
        "the standby checks, too, so that it is ready; `standby_checks = \"active\"` halves the checks",
    ),
    left(Server, "smtp_alert", MAIL),
    left(
        Server,
        "sorry_server_inhibit",
        "the sorry server is taken out of the table when it is not needed",
    ),
    left(Server, "persistence_engine", KERNEL),
    left(
        Server,
        "nat_mask net_mask",
        "of kernels before 2.4; keepalived does not know it any more",
    ),
    left(Server, "snmp_name", SNMP),
    left(Server, "lvs_flush_on_stop", "only what is our own is ever taken out of the kernel"),
    left(Server, "log_all_failures", "every change of a real server is in the journal"),
    taken(Real, "weight", "`weight`"),
    taken(Real, "lvs_method lb_kind", "`forwarding`"),
    taken(Real, "uthreshold lthreshold", "`upper_threshold`, `lower_threshold`"),
    taken(Real, "inhibit_on_failure", "`quiescent` of the service, where all of them have it"),
    taken(Real, "virtualhost", "`host` of the check"),
    taken(Real, "delay_loop connect_timeout retry nb_get_retry delay_before_retry warmup", RHYTHM),
    taken(Real, "HTTP_GET", "`check = { type = \"http\" }`"),
    taken(Real, "SSL_GET", "`check = { type = \"https\", verify = false }`"),
    taken(Real, "TCP_CHECK", "`check = { type = \"connect\" }`"),
    taken(Real, "SMTP_CHECK", "`check = { type = \"smtp\" }`"),
    taken(Real, "DNS_CHECK", "`check = { type = \"dns\" }`"),
    taken(Real, "MISC_CHECK", "`check = { type = \"script\" }`, up by exit code 0 only"),
    taken(Real, "PING_CHECK", "`check = { type = \"ping\" }`"),
    taken(
        Real,
        "UDP_CHECK",
        "`check = { type = \"udp\" }` with a text that is answered; else ping",
    ),
    taken(Real, "FILE_CHECK BFD_CHECK", "a connect or ping check in its place"),
    left(Real, "notify_up notify_down", TELL),
    left(Real, "smtp_alert", MAIL),
    left(Real, "alpha", "no checked server is in the table before its first good answer"),
    left(Real, "snmp_name", SNMP),
    left(Real, "log_all_failures", "every change of a real server is in the journal"),
    taken(Check, "connect_port connect_ip", "`port` and `address` of the check"),
    taken(
        Check,
        "delay_loop connect_timeout misc_timeout retry nb_get_retry delay_before_retry warmup",
        RHYTHM,
    ),
    taken(Check, "url", "the first one; each further one a `[[director.NAME.dependency]]`"),
    taken(Check, "host", "its port, address and times"),
    taken(Check, "virtualhost", "`host` of the check"),
    taken(Check, "name type", "`request` and `record` of a DNS check"),
    taken(Check, "misc_path", "`command`"),
    taken(Check, "payload require_reply", "`request` of a UDP check"),
    left(Check, "bindto bind_if bind_port fwmark", CHECK_SOURCE),
    left(Check, "alpha", "no checked server is in the table before its first good answer"),
    left(Check, "log_all_failures", "every change of a real server is in the journal"),
    left(Check, "misc_dynamic", "a program's exit code is no weight: all but 0 is down"),
    left(Check, "user", "programs run as the daemon does"),
    left(Check, "helo_name", "a check says the name of this machine"),
    left(
        Check,
        "http_protocol fast_recovery tls_compliant enable_sni sni_name",
        "HTTP/1.1, with the name that is asked for",
    ),
    left(Check, "min_reply_length max_reply_length", "any answer will do"),
    left(Check, "track_file weight reverse", TRACK),
    taken(Url, "path", "`path`"),
    taken(Url, "status_code", "`status`"),
    taken(Url, "regex", "`receive`"),
    taken(Url, "virtualhost", "`host`"),
    taken(Url, "digest", "`md5`"),
    left(
        Url,
        "regex_no_match regex_options regex_min_offset regex_max_offset regex_stack",
        "of `regex`; the first match anywhere counts",
    ),
    left(Url, "sni_name enable_sni fast_recovery", "with the name that is asked for"),
];

/// Every keyword by its place.
pub fn keywords() -> impl Iterator<Item = (Place, &'static str, Fate)> {
    ROWS.iter()
        .flat_map(|rows| rows.words.split_whitespace().map(|word| (rows.place, word, rows.fate)))
}

/// A remark about a line that nothing was made of, and about all that is in it.
pub(super) fn rest(place: Place, node: &Node, remarks: &mut Remarks) {
    let word = node.keyword();
    let found = keywords().find(|(at, known, _)| *at == place && *known == word);
    let secret = word.starts_with("auth");
    let text = if secret { word.to_owned() } else { node.text() };
    match found {
        Some((_, _, Fate::LeftOut(why))) => {
            remarks.left_out(&node.at, format!("`{text}`: {why}"));
            inner(node, word, secret, remarks);
        }
        Some((_, _, Fate::Taken(_))) => {
            remarks.left_out(&node.at, format!("`{text}` can't be used here"));
            inner(node, word, secret, remarks);
        }
        None => {
            let known = keywords().filter(|(at, ..)| *at == place).map(|(_, known, _)| known);
            let near = nearest(word, known)
                .map_or_else(String::new, |it| format!("; did you mean `{it}`?"));
            let text =
                format!("`{text}` is no keyword {}, keepalived ignores it{near}", place.words());
            remarks.unknown(&node.at, text);
            inner(node, word, secret, remarks);
        }
    }
}

/// The lines of a block that is left out, each by name; what is secret is not shown.
fn inner(node: &Node, word: &str, secret: bool, remarks: &mut Remarks) {
    for line in node.lines() {
        let secret = secret || line.keyword().starts_with("auth");
        let text = if secret { line.keyword().to_owned() } else { line.text() };
        remarks.left_out(&line.at, format!("`{text}` of `{word}`"));
        inner(line, word, secret, remarks);
    }
}
