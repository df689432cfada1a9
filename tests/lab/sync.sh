#!/usr/bin/env bash
# Two hundred established connections through IPVS, half by direct routing and half by NAT, each with a byte there and
# back every EVERY milliseconds, and the address moves on purpose: by standby and by takeover, each way, RUNS times. With
# REBOOT=1 a director is then rebooted with an empty table and takes the group back. No connection may break. And the sync daemons:
# each node has the one of its role, whatever somebody else does to them. With METHOD=fullnat the second half goes by full NAT,
# from an address that the group holds.
#
# With GUARD=1 a stranger forges messages of the sync, with the guard in force and without.
#
#   sync.sh    needs root, IPVS, PAIRBEAT, PROBER; see in_lab of common.sh. RUNS (default 1), EVERY (default 500), METHOD (default masq),
# CONNECTIONS (of each half, default 100).
set -euo pipefail
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
# shellcheck source=tests/lab/common.sh
source "$here/common.sh"
# shellcheck source=tests/lab/topology.sh
source "$here/topology.sh"
# shellcheck source=tests/lab/nodes.sh
source "$here/nodes.sh"

: "${PAIRBEAT:?the binary}" "${PROBER:?the prober binary}"
runs=${RUNS:-1} every=${EVERY:-500} method=${METHOD:-masq}
connections=${CONNECTIONS:-100} # on each of the two services
inner=192.168.2.111 # the way back of the NAT

configure() {
  if [[ $method == fullnat ]]; then configure_fullnat; else configure_masq; fi
  for host in rs106 rs107; do
    lab_serve "$host" "echo-$host" "$PROBER" echo 0.0.0.0:7
  done
}

# The real servers know no way back through the director.
configure_fullnat() {
  NODE_CONFIG=$LAB_RUN/toml
  nodes_configure_toml <<CONFIG
[director.web]
check = { type = "connect", interval = "1s", timeout = "1s" }

[[director.web.service]]
address = "$VIP:7"
scheduler = "rr"
real = ["192.168.2.107:7"]

[[director.web.service]]
address = "$VIP:8080"
scheduler = "rr"
forwarding = "fullnat:$inner"
real = ["192.168.2.106:7"]
CONFIG
  sed -i 's/^\[cluster\]/&\nauto_failback = true/' "$NODE_CONFIG/pairbeat.toml"
  resources eth1
}

configure_masq() {
  nodes_configure
  sed -i 's/^auto_failback off/auto_failback on/' "$NODE_CONFIG/ha.cf"
  resources eth1
  cat >>"$NODE_CONFIG/ldirectord.cf" <<CONFIG
virtual=$VIP:7
	real=192.168.2.107:7 gate
	service=none
	checktype=connect
	scheduler=rr
	protocol=tcp
virtual=$VIP:8080
	real=192.168.2.106:7 masq
	service=none
	checktype=connect
	scheduler=rr
	protocol=tcp
CONFIG
  lab_exec rs106 ip route add 192.168.2.50/32 via "$inner"
}

# resources INTERFACE: the group, with the sync on that interface.
resources() {
  if [[ $method == fullnat ]]; then
    sed -i "s|^resources = .*|resources = [{ sync = \"$1\", id = 1 }, \"$inner/24/eth0\", \"$VIP/24/eth0\", { director = \"web\" }]|" \
      "$NODE_CONFIG/pairbeat.toml"
    return
  fi
  echo "server101 LVSSyncDaemonSwap::master::$1::1 IPaddr2::$inner/24/eth0 IPaddr2::$VIP/24/eth0 ldirectord::ldirectord.cf" \
    >"$NODE_CONFIG/haresources"
}

# hold_start: both services' connections.
hold_start() {
  local port
  for port in 7 8080; do hold_begin "$port" "$connections" "$every"; done
  for port in 7 8080; do hold_ready "$port" || return; done
}

# hold_stop: how many have broken, and the longest wait.
hold_stop() {
  local port
  broken=0 longest=0
  for port in 7 8080; do hold_end "$port"; done
}

runs_as() { [[ $(lab_exec "$1" ipvsadm -l --daemon | grep -c .) == 1 && $(lab_exec "$1" ipvsadm -l --daemon) == "$2 "* ]]; }
# state NODE: in one look, for each look is dear in the emulator while the connections are busy.
state() {
  node_ask "$1" status --json 2>/dev/null | "$PROBER" json /groups/0/state /peer/state /sync/role /sync/fresh 2>/dev/null | paste -sd' '
}
settled() { [[ $(state "$1") == "active up master true" && $(state "$(other "$1")") == "standby up backup true" ]]; }
# Established connections in a node's table.
known() { lab_exec "$1" ipvsadm -Lnc | grep -c ESTABLISHED || true; }
knows_all() { (($(known "$1") >= 2 * connections)); }

start() {
  headline "A pair with connection sync"
  node_start server101
  node_start server105
  wait_for 30 "server101 active, server105 standby, both in sync" settled server101 || die "without that there is nothing to test"
  claim "the active node is the master, and nothing else" runs_as server101 master
  claim "the standby is the backup, and nothing else" runs_as server105 backup
}

tampered() {
  headline "Somebody else touches the daemons"
  lab_exec server105 ipvsadm --stop-daemon backup
  claim "a backup that was stopped runs again" wait_for 4 "backup" runs_as server105 backup
  claim "and counts as fresh only after a whole round" node_is server105 /sync/fresh false
  lab_exec server105 ipvsadm --start-daemon master --mcast-interface eth0
  claim "a master on the standby is stopped" wait_for 4 "backup only" runs_as server105 backup
  replace_master || bad "no other master could be started"
  claim "a master on another interface is put right" wait_for 4 "eth1" master_on_eth1
  resources eth9
  node_ask server105 reload >"$LAB_RUN/log/reload" 2>&1 || bad "reload: $(tail -1 "$LAB_RUN/log/reload")"
  claim "an interface that is not there is a fault in the status" wait_for 4 "the fault" \
    node_is server105 /sync/fault "there is no interface eth9"
  claim "and a warning" warned server105 "connections are not synced"
  resources eth1
  node_ask server105 reload >"$LAB_RUN/log/reload" 2>&1 || bad "reload: $(tail -1 "$LAB_RUN/log/reload")"
  claim "mended by a reload" wait_for 30 "in sync" settled server101
}

# forge PORT: a host of that network tells of a connection from its port, which nobody has made: one message of version 1 with
# one entry (linux/net/netfilter/ipvs/ip_vs_sync.c: syncid 1, TCP, direct routing, established, to the VIP at rs107).
forge() {
  local entry message at
  entry=$(printf '0006002400000003%04x%04x%04x%04x%08x%08xc0a80232c0a8026ec0a8026b' 1 "$1" 80 80 0 60)
  message=0001002c01010000$entry
  for ((at = 0; at < ${#message}; at += 2)); do printf '%b' "\\x${message:at:2}"; done >"$LAB_RUN/forged"
  lab_exec client socat -u - UDP4-DATAGRAM:224.0.0.81:8848,ip-multicast-if=192.168.2.50 <"$LAB_RUN/forged"
}
believes() { lab_exec server105 ipvsadm -Lnc | grep -q "192.168.2.50:$1 "; }
disbelieves() { ! believes "$1"; }
dropped() { [[ $(lab_exec server105 nft list table inet pairbeat_sync 2>/dev/null) == *"counter packets "[1-9]*" drop"* ]]; }
guard_is_there() { lab_exec server105 nft list table inet pairbeat_sync >/dev/null 2>&1; }
moved_to() {
  resources "$1"
  node_ask server101 reload >"$LAB_RUN/log/reload" 2>&1 && node_ask server105 reload >>"$LAB_RUN/log/reload" 2>&1
}

guarded() {
  headline "A stranger on the network of the sync"
  claim "the sync goes to the network of the clients" moved_to eth0
  claim "and both are in sync there, behind the guard" wait_for 40 "in sync" settled server101
  claim "the status says whose messages are taken" status_says "from 192.168.2.101 and 192.168.2.105 only"
  forge 40001
  claim "a stranger's message is dropped" wait_for 5 "the counter" dropped
  claim "and makes no connection" disbelieves 40001
  lab_exec server105 nft delete table inet pairbeat_sync
  forge 40002
  claim "without the guard it would" wait_for 5 "the connection" believes 40002
  claim "the guard is put back" wait_for 15 "the table" guard_is_there
  claim "back to the cable" moved_to eth1
  claim "and in sync" wait_for 40 "in sync" settled server101
}

status_says() { node_ask server105 status | grep -qF "$1"; }

# Another master in the place of ours, before ours is started again: a few may be too late.
replace_master() {
  local try
  for try in 1 2 3 4 5 6 7 8; do
    lab_exec server101 ipvsadm --stop-daemon master
    ! lab_exec server101 ipvsadm --start-daemon master --mcast-interface eth0 --syncid 9 || return 0
    say "  try $try: pairbeat was faster"
  done
  return 1
}

master_on_eth1() { lab_exec server101 ipvsadm -l --daemon | grep -q 'master.*eth1.*syncid=1'; }
warned() { node_ask "$1" status | grep -q "warning .*$2"; }

# switch NODE COMMAND NEW-HOLDER
switch() {
  local said
  said=$(node_ask "$1" "$2" 2>&1) || bad "$2 on $1: $said"
  # What was opened last is passed on for six seconds, then the new backup listens for twelve.
  sleep 20
  wait_for 20 "$3 active and both in sync" settled "$3" || return
  say "  $2 on $1: $said"
}

switches() {
  headline "$((2 * connections)) connections, a byte each $every ms, $runs runs of standby and takeover each way"
  local run
  for ((run = 1; run <= runs; run++)); do
    hold_start || return
    wait_for 20 "the standby knows every connection" knows_all server105 || return
    switch server101 standby server105 || return
    switch server105 standby server101 || return
    switch server105 takeover server105 || return
    switch server101 takeover server101 || return
    hold_stop
    claim "run $run: $broken of $((2 * connections)) broken in four switches, longest wait $longest ms" test "$broken" == 0
  done
}

rebooted() {
  headline "A director is rebooted, its table is empty, and it takes the group back"
  hold_start || return
  wait_for 20 "the standby knows every connection" knows_all server105 || return
  node_reboot server101
  claim "the standby has the group" wait_for 10 "server105 active" node_active server105
  node_boot server101
  claim "it waits to hear of the connections, and says so" wait_for 10 "the reason" waits server101
  claim "it takes the group back then" wait_for 40 "server101 active" node_active server101
  claim "the journal says why it waited" journal_says "not yet heard of every open connection"
  wait_for 30 "both in sync" settled server101 || return
  hold_stop
  claim "$broken of $((2 * connections)) broken by a crash and the failback, longest wait $longest ms" test "$broken" == 0
}

waits() { node_ask "$1" status 2>/dev/null | grep -q "waits at most"; }
journal_says() { node_ask server101 events | grep -q "$1"; }

stopped() {
  headline "Stop"
  claim "both end" nodes_stop
  claim "no sync daemon is left" no_daemons
  claim "and no guard" no_guard
  claim "the kernel's settings are as before" settings_are_back
}

no_daemons() { [[ -z $(lab_exec server101 ipvsadm -l --daemon; lab_exec server105 ipvsadm -l --daemon) ]]; }
no_guard() { ! guard_is_there; }
settings_are_back() { [[ $(lab_exec server105 sysctl -n net.ipv4.vs.sync_refresh_period) == 0 ]]; }

last_words() {
  local node
  for node in "${NODES[@]}"; do
    say "--- $node now"
    node_ask "$node" status 2>/dev/null || true
    lab_exec "$node" ipvsadm -l --daemon 2>/dev/null || true
  done
  say "--- the client"
  cat "$LAB_RUN"/log/hold-* 2>/dev/null || true
}

lab_warm
trap nodes_leave EXIT
lab_up
configure
start
tampered
[[ ${GUARD:-} != 1 ]] || guarded
switches || faults=$((faults + 1))
[[ ${REBOOT:-} != 1 ]] || rebooted || faults=$((faults + 1))
stopped
((faults == 0)) || die "$faults claims did not hold"
headline "No connection was broken."
