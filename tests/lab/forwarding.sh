#!/usr/bin/env bash
# Every forwarding method on a real IPVS kernel, followed packet by packet: which source and which destination a request has
# at the director and at the real server, inside and outside of the tunnel, and who answers the client. What a real server needs is
# done, proved and undone by `pairbeat realserver`. Also SCTP, and tunnels from IPv4 to IPv6 and back (carriers.sh).
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

# real_server ORDER...: `pairbeat realserver` on rs107.
real_server() { lab_exec rs107 "$PAIRBEAT" --state-dir "$LAB_RUN/rs107-state" realserver "$@" >"$LAB_RUN/log/realserver" 2>&1; }
# Everything that it may change there, and nothing that changes by itself.
rs107_state() {
  # shellcheck disable=SC2016 # expanded there
  lab_exec rs107 bash -c 'ip -oneline address show; ip -oneline link show; ip fou show; ip -6 fou show
    grep . /proc/sys/net/ipv4/conf/*/{arp_ignore,arp_announce,rp_filter} /proc/sys/net/ipv6/conf/*/disable_ipv6' 2>/dev/null |
    sed 's/ tentative//; s/ qdisc [a-z_]*//' || true
}
as_before() { diff "$LAB_RUN/rs107-before" <(rs107_state) >>"$LAB_RUN/log/realserver"; }

# ready VIP OPTION...: rs107 made a real server for this; taken_back: as if it had never been one.
ready() {
  claim "realserver up $*" real_server up "$@"
  claim "realserver status: ready, and silent about $1" real_server status
}
taken_back() {
  claim "realserver down: everything is as it was" undone
}
undone() { real_server down && as_before; }

# bare: rs107 as it is before anybody has made it a real server, with the strictest filter that distributions set.
bare() {
  local device
  # Their devices are in every namespace from then on, and each has its settings of IPv6 from when it was on for the first time.
  modprobe -qa ipip ip_gre ip6_tunnel sit ip6_gre || true
  for device in tunl0 gre0 ip6tnl0 sit0 ip6gre0; do
    ip -n "${LAB_PREFIX}rs107" link set "$device" up
    ip -n "${LAB_PREFIX}rs107" link set "$device" down
  done
  ip -n "${LAB_PREFIX}rs107" address del "$VIP/32" dev lo
  lab_sysctl rs107 net.ipv4.conf.all.arp_ignore=0 net.ipv4.conf.all.arp_announce=0 net.ipv4.conf.all.rp_filter=1
  rs107_state >"$LAB_RUN/rs107-before"
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
  ready "$VIP"
  try "{ address = \"$real\", forwarding = \"gate\" }"
  expect rs107 direct "ip saddr $client ip daddr $VIP tcp dport 80"
  node_start server101
  node_start server105
  wait_for 10 "server101 active" node_active server101 || die "without a cluster there is nothing to test: $(tail -3 "$LAB_RUN/log/server101")"
  method gate "$VIP:80 -r $real:80 -g -w 1"
  claim "gate: the real server got it from the client, for the VIP" seen rs107 direct
  taken_back
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

# tunnel METHOD OUTER DEVICE ENTRY: OUTER is what the outer packet is, DEVICE what it comes out of.
tunnel() {
  ready "$VIP" --mode "$1"
  try "{ address = \"$real\", forwarding = \"$1\" }"
  expect rs107 outer "ip saddr $director ip daddr $real $2"
  expect rs107 inner "iifname $3 ip saddr $client ip daddr $VIP tcp dport 80"
  expect rs107 direct "iifname eth0 ip saddr $client ip daddr $VIP"
  method "$1" "$VIP:80 -r $real:80 -i -w 1 $4"
  claim "$1: the real server got a packet of that kind from the director" seen rs107 outer
  claim "$1: in it what the client sent for the VIP" seen rs107 inner
  claim "$1: and nothing beside it" unseen rs107 direct
  taken_back
}

tunnels() {
  headline "Tunnels: IP in IP, GUE, GRE; the real server answers the client itself"
  tunnel ipip "ip protocol 4" tunl0 "--tun-type ipip"
  tunnel gue "udp dport 6080" tunl0 "--tun-type gue --tun-port 6080 --tun-nocsum"
  tunnel gue:6081,csum "udp dport 6081 udp checksum != 0" tunl0 "--tun-type gue --tun-port 6081 --tun-csum"
  tunnel gue:6080,remcsum "udp dport 6080" tunl0 "--tun-type gue --tun-port 6080 --tun-remcsum"
  tunnel gre "ip protocol 47" gre0 "--tun-type gre --tun-nocsum"
  tunnel gre,csum "ip protocol 47" pairbeat-gre "--tun-type gre --tun-csum"
}

lab_warm
trap nodes_leave EXIT
lab_up
breakable_nft
bare
gate
masq
tunnels
sctp
families
fullnat
fullnat_kinds
fullnat_tampered
claim "both end" nodes_stop
fullnat_gone
((faults == 0)) || die "$faults claims did not hold"
headline "Every method does what it says."
