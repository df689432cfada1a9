#!/usr/bin/env bash
# Proves the lab itself, without pairbeat: topology, prober and, where the kernel has it, IPVS, set by
# hand with ipvsadm. When the lab's other results look wrong, this says whether the lab is to blame.
#
#   selftest.sh     needs root, PROBER; uses its own namespace prefix, touches nothing else
set -euo pipefail
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
# shellcheck source=tests/lab/common.sh
source "$here/common.sh"
export LAB_PREFIX=self- LAB_RUN=${LAB_RUN:-/run/pairbeat-selftest}
# shellcheck source=tests/lab/topology.sh
source "$here/topology.sh"

# expect WHAT WANTED GOT
expect() {
  if [[ $2 == "$3" ]]; then good "$1: $3"; else
    bad "$1: $3, wanted $2"
    faults=$((faults + 1))
  fi
}

# servers_from HOST TARGET COUNT: who answered how often, such as `server106 16 server107 16`.
servers_from() {
  lab_exec "$1" "$PROBER" probe "$2" --count "$3" --summary "$LAB_RUN/seen"
  "$PROBER" json /servers <"$LAB_RUN/seen" | tr -d '{}"' | tr ':,' '  '
}

servers_seen() { servers_from client "$@"; }

failures() { "$PROBER" json /failed <"$LAB_RUN/seen"; }

reachable() { [[ $(servers_seen "$1" 1) ]]; }

topology() {
  headline "the topology"
  expect "the page of rs106" "server106 4" "$(servers_seen 192.168.2.106:80 4)"
  expect "the page of rs107" "server107 4" "$(servers_seen 192.168.2.107:80 4)"
  expect "the sorry page of server105" "sorry 4" "$(servers_seen 192.168.2.105:80 4)"
  expect "host names" "server101" "$(lab_exec server101 uname -n)"
  expect "the second link" "sorry 1" "$(servers_from server101 10.0.0.2:80 1)"
  expect "nobody answers for the VIP" "" "$(servers_seen "$VIP:80" 2)"
  lab_take server101
  expect "server101 holds the VIP" "sorry 4" "$(servers_seen "$VIP:80" 4)"
  expect "and answers ARP for it alone" "$(lab_mac server101)" "$(lab_answering)"
}

# The VIP by hand: the address, and in the place of a gratuitous ARP its effect on the client.
lab_take() {
  ip -n "$LAB_PREFIX$1" address add "$VIP/24" dev eth0
  ip -n "${LAB_PREFIX}client" neigh replace "$VIP" dev eth0 nud reachable lladdr "$(lab_mac "$1")"
}

lab_drop() { ip -n "$LAB_PREFIX$1" address del "$VIP/24" dev eth0; }

director() {
  local host
  headline "IPVS, by hand"
  for host in server101 server105; do
    lab_exec "$host" ipvsadm -R <<TABLE
-A -t $VIP:80 -s rr
-a -t $VIP:80 -r 192.168.2.106:80 -g -w 1
-a -t $VIP:80 -r 192.168.2.107:80 -g -w 1
TABLE
  done
  expect "32 requests" "server106 16 server107 16" "$(servers_seen "$VIP:80" 32)"
  lab_page_dies rs106
  expect "rs106 is dead, half of 10 fail" "server107 5" "$(servers_seen "$VIP:80" 10)"
  lab_exec server101 ipvsadm -d -t "$VIP:80" -r 192.168.2.106:80
  expect "taken out" "server107 10" "$(servers_seen "$VIP:80" 10)"
  lab_exec server101 ipvsadm -d -t "$VIP:80" -r 192.168.2.107:80
  lab_exec server101 ipvsadm -a -t "$VIP:80" -r 127.0.0.1:80 -g
  expect "the sorry page" "sorry 10" "$(servers_seen "$VIP:80" 10)"
  lab_page rs106 server106
  switch
}

# A planned switch by hand, with overlap: none of the requests may fail, or the lab itself loses some.
switch() {
  local prober marks=$LAB_RUN/marks
  wait_for 5 "rs106 answers again" reachable 192.168.2.106:80
  rm -f "$marks"
  lab_become client "$PROBER" probe "$VIP:80" --rate 100 --marks "$marks" --summary "$LAB_RUN/seen" &
  prober=$!
  sleep 1
  "$PROBER" mark "$marks" switch
  lab_take server105
  lab_drop server101
  sleep 1
  kill -TERM "$prober"
  wait "$prober"
  remark "$("$PROBER" json /count /servers /slowest_ms /longest_gap_ms <"$LAB_RUN/seen" | paste -sd' ')"
  expect "failed requests in an overlapping switch" 0 "$(failures)"
}

: "${PROBER:?the prober binary}"
trap lab_down EXIT
lab_up
topology
if lab_exec server101 ipvsadm -Ln >/dev/null 2>&1; then director; else skip "IPVS by hand: this kernel has no ip_vs"; fi
((faults == 0)) || die "$faults of the lab's own checks failed"
