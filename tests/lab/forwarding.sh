#!/usr/bin/env bash
# Every forwarding method on a real IPVS kernel, followed packet by packet: which source and which destination a request has
# at the director and at the real server, inside and outside of the tunnel, and who answers the client.
#
# With CARRIERS=1 also SCTP, and tunnels from IPv4 to IPv6 and back (carriers.sh).
#
#   forwarding.sh    needs root, IPVS, PAIRBEAT, PROBER; see in_lab of common.sh
set -euo pipefail
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
# shellcheck source=tests/lab/common.sh
source "$here/common.sh"
# shellcheck source=tests/lab/topology.sh
source "$here/topology.sh"
# shellcheck source=tests/lab/nodes.sh
source "$here/nodes.sh"
# shellcheck source=tests/lab/carriers.sh
source "$here/carriers.sh"
# shellcheck source=tests/lab/fullnat.sh
source "$here/fullnat.sh"

: "${PAIRBEAT:?the binary}" "${PROBER:?the prober binary}"
client=192.168.2.50 director=192.168.2.101 real=192.168.2.107
NODE_CONFIG=$LAB_RUN/toml

# configure REAL: one service with one server; its port says whether there is one to map.
configure() {
  nodes_configure_toml <<CONFIG
[director.web]
check = { type = "connect", interval = "1s", timeout = "1s" }

[[director.web.service]]
address = "$VIP:80"
scheduler = "rr"
real = [$1]
CONFIG
}

# The packets that a host is to see, each with a counter of its own; `expect HOST NAME RULE`.
expect() { lab_exec "$1" nft add rule inet seen packets "$3" counter comment "\"$2\""; }
watched=(client server101 rs107)
watch_packets() {
  local host
  for host in "${watched[@]}"; do
    lab_exec "$host" nft "add table inet seen; delete table inet seen; add table inet seen;
      add chain inet seen packets { type filter hook prerouting priority -400; }"
  done
}
seen() { lab_exec "$1" nft list chain inet seen packets | grep -F "comment \"$2\"" | grep -vq "packets 0 "; }
unseen() { ! seen "$@"; }

has() { lab_exec server101 ipvsadm -Sn | grep -qF -- "$1"; }
taken_over() { node_ask server101 reload >"$LAB_RUN/log/reload" 2>&1 && node_ask server105 reload >>"$LAB_RUN/log/reload" 2>&1; }
# answers [ADDRESS [SERVER]]: who asks there twice is answered by that server.
answers() {
  lab_exec client "$PROBER" probe "${1:-$VIP:80}" --count 2 --summary "$LAB_RUN/asked" >>"$LAB_RUN/log/asked" 2>&1 || return
  [[ $("$PROBER" json /servers <"$LAB_RUN/asked") == *${2:-server107}*2* ]]
}

# method NAME ENTRY: the table has this entry, and the client is answered from the VIP and from nowhere else.
method() {
  claim "$1: the table has it" wait_for 5 "$1" has "$2"
  claim "$1: the client is answered" wait_for 8 "two answers" answers
  claim "$1: the request came to the director for the VIP" seen server101 request
  claim "$1: what answers the client is the VIP" seen client answer
  claim "$1: and nobody else" unseen client stranger
}

# try REAL: a configuration with this server, and the packets at both ends that are the same for all methods.
try() {
  watch_packets
  expect server101 request "ip saddr $client ip daddr $VIP tcp dport 80"
  expect client answer "ip saddr $VIP ip daddr $client tcp sport 80"
  expect client stranger "ip saddr $real ip daddr $client tcp sport { 80, 8081 }"
  configure "$1"
  [[ ${NODE_PID[server101]:-} ]] || return 0
  claim "a reload takes it over" taken_over
}

gate() {
  headline "gate: the frame is sent on, the packet is not touched"
  try "{ address = \"$real\", forwarding = \"gate\" }"
  expect rs107 direct "ip saddr $client ip daddr $VIP tcp dport 80"
  node_start server101
  node_start server105
  wait_for 10 "server101 active" node_active server101 || die "without a cluster there is nothing to test: $(tail -3 "$LAB_RUN/log/server101")"
  method gate "$VIP:80 -r $real:80 -g -w 1"
  claim "gate: the real server got it from the client, for the VIP" seen rs107 direct
}

masq() {
  headline "masq: the destination is the real server, with another port; it answers through the director"
  lab_serve rs107 page-8081 "$PROBER" serve 0.0.0.0:8081 server107
  lab_exec rs107 ip route add "$client/32" via "$director"
  try "{ address = \"$real:8081\", forwarding = \"masq\" }"
  expect rs107 mapped "ip saddr $client ip daddr $real tcp dport 8081"
  expect rs107 direct "ip saddr $client ip daddr $VIP"
  expect server101 back "ip saddr $real ip daddr $client tcp sport 8081"
  method masq "$VIP:80 -r $real:8081 -m -w 1"
  claim "masq: the real server got it from the client, for itself at port 8081" seen rs107 mapped
  claim "masq: and nothing for the VIP" unseen rs107 direct
  claim "masq: its answer went through the director" seen server101 back
  lab_exec rs107 ip route del "$client/32" via "$director"
}

# tunnel METHOD OUTER ENTRY: OUTER is what the outer packet is.
tunnel() {
  try "{ address = \"$real\", forwarding = \"$1\" }"
  expect rs107 outer "ip saddr $director ip daddr $real $2"
  expect rs107 inner "iifname { tunl0, tungre } ip saddr $client ip daddr $VIP tcp dport 80"
  expect rs107 direct "iifname eth0 ip saddr $client ip daddr $VIP"
  method "$1" "$VIP:80 -r $real:80 -i -w 1 $3"
  claim "$1: the real server got a packet of that kind from the director" seen rs107 outer
  claim "$1: in it what the client sent for the VIP" seen rs107 inner
  claim "$1: and nothing beside it" unseen rs107 direct
}

gre_device() {
  lab_exec rs107 ip link del tungre 2>/dev/null || true
  lab_exec rs107 ip link add tungre type gre local "$real" "$@"
  lab_exec rs107 ip link set tungre up
}

tunnels() {
  headline "Tunnels: IP in IP, GUE, GRE; the real server answers the client itself"
  modprobe -qa ipip fou ip_gre 2>/dev/null || true
  lab_exec rs107 ip link set tunl0 up
  lab_exec rs107 ip fou add port 6080 gue
  lab_sysctl rs107 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 net.ipv4.conf.tunl0.rp_filter=0
  tunnel ipip "ip protocol 4" "--tun-type ipip"
  tunnel gue "udp dport 6080" "--tun-type gue --tun-port 6080 --tun-nocsum"
  tunnel gue:6080,csum "udp dport 6080 udp checksum != 0" "--tun-type gue --tun-port 6080 --tun-csum"
  tunnel gue:6080,remcsum "udp dport 6080" "--tun-type gue --tun-port 6080 --tun-remcsum"
  gre_device
  tunnel gre "ip protocol 47" "--tun-type gre --tun-nocsum"
  # A device takes packets with a checksum, or those without.
  gre_device icsum
  tunnel gre,csum "ip protocol 47" "--tun-type gre --tun-csum"
}

lab_warm
trap nodes_leave EXIT
lab_up
breakable_nft
gate
masq
tunnels
if [[ ${CARRIERS:-} == 1 ]]; then
  sctp
  families
fi
fullnat
fullnat_kinds
fullnat_tampered
claim "both end" nodes_stop
fullnat_gone
((faults == 0)) || die "$faults claims did not hold"
headline "Every method does what it says."
