#!/usr/bin/env bash
# Two directors that are the only real servers, each of itself and of the other one (streamline, localnode), by direct
# routing. The passive one has the same table in its kernel, and would balance again what the active one sends it. Requests
# before a switch, after it, after a crash, and when the crashed one is a real server again: each is answered once, by both
# servers in turn, and the frames between the two are as few as they should be.
#
#   localnode.sh    needs root, IPVS, PAIRBEAT, PROBER; see in_lab of common.sh
set -euo pipefail
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
# shellcheck source=tests/lab/common.sh
source "$here/common.sh"
# shellcheck source=tests/lab/topology.sh
source "$here/topology.sh"
# shellcheck source=tests/lab/nodes.sh
source "$here/nodes.sh"

: "${PAIRBEAT:?the binary}" "${PROBER:?the prober binary}"
requests=40 asks=0
# A request and its answer are some ten frames of which five come in; one that is balanced again and again is thousands.
frames_max=20

configure() {
  nodes_configure_toml <<CONFIG
[[director.web.service]]
address = "$VIP:80"
scheduler = "rr"
real = ["192.168.2.101", "192.168.2.105"]
check = { type = "connect", interval = "1s", timeout = "1s" }
CONFIG
  local node
  for node in "${NODES[@]}"; do
    lab_page_dies "$node"
    lab_page "$node" "$node"
    node_ask "$node" realserver up "$VIP" >"$LAB_RUN/log/realserver-$node" 2>&1 || die "realserver: $(tail -1 "$LAB_RUN/log/realserver-$node")"
  done
}

frames_in() { lab_exec "$1" cat /proc/net/dev | sed -n 's/^ *eth0: *[0-9]* *\([0-9]*\) .*/\1/p'; }

# ask_all: so many requests; who answered, how many failed, and how many frames came to both for each.
ask_all() {
  local before
  before=$(($(frames_in server101) + $(frames_in server105)))
  lab_exec client "$PROBER" probe "$VIP:80" --count "$requests" --summary "$LAB_RUN/asked" >>"$LAB_RUN/log/asked" 2>&1 || true
  frames=$((($(frames_in server101) + $(frames_in server105) - before) / requests))
  mapfile -t seen < <("$PROBER" json /failed /servers <"$LAB_RUN/asked")
  failed=${seen[0]} servers=${seen[1]} asks=$((asks + 1))
}

# answered WHEN: every request, half by each, and no loop.
answered() {
  ask_all
  claim "$1: $requests requests, $failed failed, $servers" shared
  claim "$1: $frames frames a request come in" test "$frames" -lt "$frames_max"
}

to_and_fro() { ((failed > 0 || frames >= frames_max)); }
shared() { [[ $failed == 0 && $servers == *server101*$((requests / 2))* && $servers == *server105*$((requests / 2))* ]]; }
# The active one has both in its table.
serves() { [[ $(lab_exec "$1" ipvsadm -Ln | grep -c '192.168.2.10[15]:80 .* 1 ') == 2 ]]; }
serves_alone() { [[ $(lab_exec "$1" ipvsadm -Ln | grep -c '192.168.2.10[15]:80 .* 1 ') == 1 ]]; }
guarded() { [[ $(lab_exec "$1" nft list table inet pairbeat_local 2>/dev/null) == *"$(lab_mac "$(other "$1")")"* ]]; }

start() {
  headline "Two directors, each other's real servers"
  node_start server101
  node_start server105
  wait_for 30 "server101 active, server105 standby" nodes_settled server101 || die "without that there is nothing to test"
  wait_for 20 "both in both tables" serves server101 || die "no table"
  wait_for 20 "the same at the standby" serves server105 || die "no table at the standby"
  claim "each knows the other's hardware address" wait_for 15 "the rules" both_guarded
}

both_guarded() { guarded server101 && guarded server105; }

loops() {
  headline "Without the rules"
  local node try
  # They are put back within ten seconds, sometimes at once.
  for try in 1 2 3 4 5; do
    for node in "${NODES[@]}"; do lab_exec "$node" nft delete table inet pairbeat_local 2>/dev/null || true; done
    ask_all
    say "  try $try: $failed of $requests failed, $frames frames a request: $servers"
    ! to_and_fro || break
    wait_for 20 "the rules" both_guarded || return
  done
  claim "packets go to and fro" to_and_fro
  claim "what somebody has removed is back" wait_for 20 "the rules" both_guarded
}

moves() {
  headline "Before and after a takeover"
  answered "server101 active"
  said=$(node_ask server101 standby 2>&1) || bad "standby: $said"
  wait_for 20 "server105 active" nodes_settled server105 || return
  answered "server105 active after a planned switch"
  node_crash server105 "$LAB_RUN/marks"
  # As after a crash of the machine: its page dies with it, and its address stays, dark.
  lab_page_dies server105
  claim "server101 takes over after a crash" wait_for 15 "server101 active" node_active server101
  claim "and serves alone" wait_for 15 "one server" serves_alone server101
  ask_all
  claim "the crashed one is out: $failed failed, $servers" test "$failed" == 0
  lab_page server105 server105
  wait_for 20 "both in the table" serves server101 || return
  answered "the dead director is a real server still"
  node_start server105
  wait_for 30 "server105 standby" nodes_settled server101 || return
  wait_for 15 "the rules" both_guarded || return
  answered "and is standby again"
}

stopped() {
  headline "Stop"
  claim "both end" nodes_stop
  claim "no rules are left" no_rules
}

no_rules() { local node; for node in "${NODES[@]}"; do ! lab_exec "$node" nft list table inet pairbeat_local 2>/dev/null || return; done; }

last_words() {
  local node
  for node in "${NODES[@]}"; do
    say "--- $node now"
    node_ask "$node" status 2>/dev/null || true
    lab_exec "$node" ipvsadm -Ln 2>/dev/null || true
    lab_exec "$node" nft list ruleset 2>/dev/null || true
    lab_exec "$node" ip -4 -brief address 2>/dev/null || true
  done
  tail -n 5 "$LAB_RUN/log/asked" || true
}

lab_warm
trap nodes_leave EXIT
lab_up
configure
start
moves || faults=$((faults + 1))
loops || faults=$((faults + 1))
stopped
((asks >= 6)) || die "only $asks times requests were made"
((faults == 0)) || die "$faults claims did not hold"
headline "No packet was balanced twice."
