#!/usr/bin/env bash
# Heartbeats over a serial line: two UARTs of the virtual machine, joined outside of it.
#
#   serial.sh      needs root, IPVS, PAIRBEAT, PROBER, and ttyS1 and ttyS2 at the two ends of one cable; see `vm`
# Functions are called by name, through claim.
# shellcheck disable=SC2317
set -euo pipefail
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
# shellcheck source=tests/lab/common.sh
source "$here/common.sh"
# shellcheck source=tests/lab/topology.sh
source "$here/topology.sh"
# A beat of one group takes some 20 ms on the line.
KEEPALIVE=200 DEADTIME=1000 INITDEAD=3000
# shellcheck source=tests/lab/nodes.sh
source "$here/nodes.sh"

: "${PAIRBEAT:?the binary}" "${PROBER:?the prober binary}"
declare -A before=() line=([server101]=/dev/ttyS1 [server105]=/dev/ttyS2)

# Each node has a device of its own name, and so a configuration of its own.
node_options() {
  printf '%s\n' --config "$NODE_CONFIG.$1" --node "$1" --runtime-dir "$LAB_RUN/$1/run" --state-dir "$LAB_RUN/$1/state"
}

configure() {
  local node
  nodes_configure
  for node in "${NODES[@]}"; do
    rm -rf "$NODE_CONFIG.$node"
    cp -a "$NODE_CONFIG" "$NODE_CONFIG.$node"
    sed -i -e '/^ucast eth0/d' -e "\$a baud 115200\nserial ${line[$node]}" "$NODE_CONFIG.$node/ha.cf"
  done
}

# link NODE KIND FIELD: of the first link of that kind.
link() {
  local place
  for place in 0 1 2; do
    [[ $(node_value "$1" "/links/$place/kind") == "$2" ]] || continue
    node_value "$1" "/links/$place/$3"
    return
  done
  return 1
}
link_is() { [[ $(link "$1" "$2" state) == "$3" ]]; }
# What was broken or refused so far: whoever opens a line in the middle of a frame has a piece of one.
damage() { echo "$(link "$1" serial broken) $(link "$1" serial refused)"; }
clean() { [[ $(damage "$1") == "${before[$1]}" ]]; }
quiet() { ! grep -q 'is dead' "$LAB_RUN/log/$1"; }
same_roles() { node_active server101 && node_standby server105; }
# lasts SECONDS COMMAND...: holds all the time.
lasts() {
  local end=$((SECONDS + $1))
  shift
  while ((SECONDS < end)); do
    "$@" || return 1
    sleep 0.3
  done
}

both_links() {
  local node
  headline "A cable and a serial line"
  node_start server101
  node_start server105
  wait_for 15 "server101 active" node_active server101 || die "without a cluster there is nothing to test"
  wait_for 15 "server105 standby" node_standby server105 || die "no standby"
  for node in "${NODES[@]}"; do
    claim "$node: the serial line is up" wait_for 10 "the line" link_is "$node" serial up
    remark "$node: round trip $(link "$node" serial rtt_us) us on the line, $(link "$node" ucast rtt_us) us on the cable"
  done
}

the_line_alone() {
  local node
  headline "The cable is cut"
  ip -n "${LAB_PREFIX}server101" link set eth1 down
  claim "the link is down" wait_for 10 "eth1" link_is server105 ucast down
  for node in "${NODES[@]}"; do before[$node]=$(damage "$node"); done
  claim "over the line alone both live, and nothing moves, for ten deadtimes" lasts 10 same_roles
  for node in "${NODES[@]}"; do claim "$node: nothing on the line is broken or refused" clean "$node"; done
  probe_start 50
  sleep 1
  mark standby
  claim "standby is done" node_ask server101 standby
  sleep 1
  mark takeover
  claim "takeover is done" node_ask server101 takeover
  sleep 1
  probe_stop
  claim "and no request failed: $(probe_value /marks/0/answered) and $(probe_value /marks/1/answered) answered" \
    test "$(probe_value /marks/0/failed)$(probe_value /marks/1/failed)" = 00
  for node in "${NODES[@]}"; do claim "$node has called nobody dead" quiet "$node"; done
}

crash() {
  headline "The owner dies, and comes back"
  node_crash server101 "$LAB_RUN/marks"
  claim "the other one takes over" wait_for 5 "server105 active" node_is server105 /groups/0/state active
  claim "its line is down" link_is server105 serial down
  nodes_wipe server101
  node_start server101
  claim "back again: the line comes up by itself" wait_for 15 "the line" link_is server105 serial up
  claim "and both know each other" wait_for 10 "roles" node_standby server101
  claim "both end at SIGTERM" nodes_stop
}

for device in "${line[@]}"; do
  stty -F "$device" >/dev/null 2>&1 || {
    skip "no serial port $device"
    exit 0
  }
done
lab_warm
trap nodes_leave EXIT
lab_up
configure
both_links
the_line_alone
crash
((faults == 0)) || die "$faults claims did not hold"
headline "The line carries the pair."
