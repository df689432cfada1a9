#!/usr/bin/env bash
# Two hundred established connections through IPVS by direct routing, each with a byte there and back every EVERY
# milliseconds, a stateless service and no connection sync: a director's machine dies, the other one has never heard of
# the connections; the first comes back with an empty table and takes the address back; and a planned switch. No connection may
# break. And the settings of ip_vs that are written in pairbeat.toml, and its timeouts: they stand as long as the directors
# run, also where somebody changes them by hand, and after a crash what was there before is known.
#
#   stateless.sh    needs root, IPVS, PAIRBEAT, PROBER; see in_lab of common.sh. EVERY (default 500).
set -euo pipefail
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
# shellcheck source=tests/lab/common.sh
source "$here/common.sh"
# shellcheck source=tests/lab/topology.sh
source "$here/topology.sh"
# shellcheck source=tests/lab/nodes.sh
source "$here/nodes.sh"

: "${PAIRBEAT:?the binary}" "${PROBER:?the prober binary}"
every=${EVERY:-500} connections=200 broken=0 longest=0

# configure TIMEOUTS SETTINGS...: the pair, with these timeouts of [ipvs] and these lines of [ipvs.sysctl].
configure() {
  nodes_configure_toml <<CONFIG
[[director.web.service]]
address = "$VIP:7"
profile = "stateless"
real = ["192.168.2.106", "192.168.2.107"]
check = { type = "connect", interval = "1s", timeout = "1s" }

[ipvs]
timeouts = { $1 }

[ipvs.sysctl]
$(printf '%s\n' "${@:2}")
CONFIG
}

setting() { lab_exec "$1" sysctl -n "net.ipv4.vs.$2"; }
set_to() { [[ $(setting "$1" "$2") == "$3" ]]; }
# timeouts NODE TCP TCPFIN UDP
timeouts() { [[ $(lab_exec "$1" ipvsadm -L --timeout) == "Timeout (tcp tcpfin udp): $2 $3 $4" ]]; }
both() { "$1" server101 "${@:2}" && "$1" server105 "${@:2}"; }
known() { lab_exec "$1" ipvsadm -Lnc | grep -c ESTABLISHED || true; }
knows_all() { (($(known "$1") >= connections)); }
knows_none() { [[ $(known "$1") == 0 ]]; }
# Each real server has some of them.
shared_out() { local each; for each in 106 107; do (($(lab_exec "$1" ipvsadm -Lnc | grep -c "192.168.2.$each:7") > 20)) || return; done; }

start() {
  headline "A pair with a stateless service"
  configure 'tcp = "20m", udp = "1m"' "conn_reuse_mode = 0" "sync_retries = 2"
  for host in rs106 rs107; do
    lab_serve "$host" "echo-$host" "$PROBER" echo 0.0.0.0:7
  done
  claim "the kernel's timeouts are its own" both timeouts 900 120 300
  node_start server101
  node_start server105
  wait_for 30 "server101 active, server105 standby" nodes_settled server101 || die "without that there is nothing to test"
  claim "packets of unknown connections are scheduled, on both" wait_for 5 "sloppy_tcp" both set_to sloppy_tcp 1
  claim "what is written for ip_vs stands, on both" wait_for 5 "the settings" written_stands
  claim "and so do the timeouts, but for the one that is not written" wait_for 5 "the timeouts" both timeouts 1200 120 60
  hold_begin 7 "$connections" "$every"
  hold_ready 7 || die "no connections"
  claim "both real servers have connections" shared_out server101
  claim "the standby knows none of them" knows_none server105
}

written_stands() { both set_to conn_reuse_mode 0 && both set_to sync_retries 2; }

moves() {
  headline "$connections connections, a byte each $every ms"
  node_reboot server101
  claim "the machine of the active node dies: the standby takes over" wait_for 15 "server105 active" node_active server105
  claim "it learns every connection from the connection's own packets" wait_for 20 "all in its table" knows_all server105
  node_boot server101
  wait_for 30 "server101 standby" nodes_settled server105 || return
  claim "the node is back with an empty table" knows_none server101
  said=$(node_ask server101 takeover 2>&1) || bad "takeover: $said"
  claim "it takes the address back" wait_for 15 "server101 active" nodes_settled server101
  claim "and knows every connection soon" wait_for 20 "all in its table" knows_all server101
  wait_for 20 "the switch is over" passes_nothing_on server101 || return
  said=$(node_ask server101 standby 2>&1) || bad "standby: $said"
  claim "a planned switch" wait_for 15 "server105 active" nodes_settled server105
  # Longer than the new holder passes packets on to the old one.
  wait_for 20 "the switch is over" passes_nothing_on server105 || return
  hold_end 7
  claim "$broken of $connections broken by the crash, the return and the switch, longest wait $longest ms" test "$broken" == 0
}

# No firewall-mark service of a switch is left.
passes_nothing_on() { [[ $(lab_exec "$1" ipvsadm -Ln) != *FWM* ]]; }

settings() {
  headline "The settings of ip_vs"
  # No machine has that processor: the kernel refuses it.
  configure 'tcp = "25m", tcpfin = "30s"' "conn_reuse_mode = 0" "nat_icmp_send = true" 'est_cpulist = "9999"'
  for node in "${NODES[@]}"; do node_ask "$node" reload >"$LAB_RUN/log/reload-$node" 2>&1 || bad "reload: $(tail -1 "$LAB_RUN/log/reload-$node")"; done
  claim "a reload gives back what is no longer written, and sets what is new" wait_for 5 "the settings" reloaded
  claim "and so it is with the timeouts" wait_for 5 "the timeouts" both timeouts 1500 30 300
  claim "what the kernel refuses stands in the status" says_refused
  lab_exec server105 ipvsadm --set 77 0 0
  lab_exec server105 sysctl -qw net.ipv4.vs.conn_reuse_mode=1
  claim "what somebody changes by hand is set again" wait_for 30 "the settings" set_again
  node_crash server101 "$LAB_RUN/marks"
  claim "a crash leaves them" left_by_crash
  node_start server101
  wait_for 30 "server101 again" nodes_settled server105 || return
  claim "both end" nodes_end
  claim "everything is as before the first start" wait_for 5 "the settings" as_before
  claim "the timeouts too" timeouts server101 900 120 300
  claim "but for the one that somebody has set since" timeouts server105 77 120 300
}

reloaded() { both set_to nat_icmp_send 1 && both set_to sync_retries 0 && both set_to conn_reuse_mode 0; }
says_refused() { [[ $(node_ask server101 status) == *"net/ipv4/vs/est_cpulist"* ]]; }
set_again() { timeouts server105 1500 30 300 && set_to server105 conn_reuse_mode 0; }
left_by_crash() { set_to server101 conn_reuse_mode 0 && timeouts server101 1500 30 300; }
as_before() { both set_to conn_reuse_mode 1 && both set_to nat_icmp_send 0 && both set_to sloppy_tcp 0 && both set_to expire_nodest_conn 0; }
nodes_end() {
  local node
  for node in "${NODES[@]}"; do kill -TERM "${NODE_PID[$node]}"; done
  for node in "${NODES[@]}"; do wait_for 15 "$node ends" node_gone "$node" || return; done
}

last_words() {
  local node
  for node in "${NODES[@]}"; do
    say "--- $node now"
    node_ask "$node" status 2>/dev/null || true
    lab_exec "$node" ipvsadm -Ln 2>/dev/null || true
  done
  cat "$LAB_RUN/log/hold-7" 2>/dev/null || true
}

lab_warm
trap nodes_leave EXIT
lab_up
start
moves || faults=$((faults + 1))
settings || faults=$((faults + 1))
((faults == 0)) || die "$faults claims did not hold"
headline "No connection was broken."
