#!/usr/bin/env bash
# What the tutorials of this field show, done with pairbeat as their authors do it, with the results that they show: Heartbeat alone,
# LVS-DR by hand with arptables, Heartbeat with ldirectord, configure-lvs, LVS-NAT, LVS-TUN and FULLNAT. Those of keepalived are in
# tutorials-keepalived.sh.
#
#   tutorials.sh    needs root, IPVS, arptables, socat, PAIRBEAT, PROBER; see in_lab of common.sh. ONLY: names of those to be done
set -euo pipefail
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
# shellcheck source=tests/lab/common.sh
source "$here/common.sh"
# shellcheck source=tests/lab/topology.sh
source "$here/topology.sh"
# shellcheck source=tests/lab/nodes.sh
source "$here/nodes.sh"
# shellcheck source=tests/lab/fullnat.sh
source "$here/fullnat.sh"
# shellcheck source=tests/lab/tutorials-keepalived.sh
source "$here/tutorials-keepalived.sh"

: "${PAIRBEAT:?the binary}" "${PROBER:?the prober binary}"
client=192.168.2.50 director=192.168.2.101

# The times that these tutorials write into ha.cf; a guest with nothing to do waits quickly.
KEEPALIVE=2000 DEADTIME=10000 INITDEAD=20000
# Nothing here is a matter of less than a second.
export WAIT_STEP=1

table() { lab_exec "$1" ipvsadm -Ln; }
has() { lab_exec "$1" ipvsadm -Sn | grep -qF -- "$2"; }
answered() { [[ $(ask "$@") == "$expected" ]]; }
# asks WHAT EXPECTED COUNT [ADDRESS]: so many requests, answered by those; within a check's time, for servers come and go.
asks() {
  local expected=$2
  claim "$1" wait_for 10 "$2" answered "${@:3}"
}
# The only one that answers for the VIP; a question may be lost while neighbours are told of a new holder.
holder() {
  local answering
  answering=$(lab_answering)
  [[ $answering == "$(lab_mac "$1")" ]] || { remark "answering: ${answering:-nobody}" && false; }
}
show() {
  remark "\$ $1"
  "${@:2}" 2>&1 | sed 's/^/    /' || true
}

# pair: both started, server101 active.
pair() {
  local node
  for node in "${NODES[@]}"; do node_start "$node"; done
  claim "server101 has the group" wait_for 40 "server101 active" node_active server101
  claim "server105 is ready to take it" wait_for 40 "server105 standby" node_standby server105
}

stopped() {
  kill -TERM "${NODE_PID[$1]}"
  wait_for 20 "$1 ends" node_gone "$1"
}
crashed() {
  node_crash "$1" "$LAB_RUN/crashes"
  dead=$1
}

# imported FILE [ARGUMENT...]: one pairbeat.toml for the pair, as `import` makes it, which `check` passes.
imported() {
  rm -rf "$NODE_CONFIG"
  mkdir -p "$NODE_CONFIG"
  lab_exec server101 "$PAIRBEAT" import "$1" --nodes server101,server105 --peers 10.0.0.1,10.0.0.2 --interface eth1 \
    --output "$NODE_CONFIG/pairbeat.toml" "${@:2}" >"$LAB_RUN/log/import" 2>&1 || return
  lab_exec server101 "$PAIRBEAT" --config "$NODE_CONFIG" --node server101 check >>"$LAB_RUN/log/import" 2>&1
}

# Without what lab_up has prepared on the real servers.
bare_real_server() {
  ip -n "$LAB_PREFIX$1" address del "$VIP/32" dev lo
  lab_sysctl "$1" net.ipv4.conf.all.arp_ignore=0 net.ipv4.conf.all.arp_announce=0
}

heartbeat_alone() {
  headline "Heartbeat alone: a web server and its address on one of two nodes"
  mkdir -p "$NODE_CONFIG/resource.d"
  cat >"$NODE_CONFIG/ha.cf" <<'CONFIG'
logfacility local0
keepalive 2
warntime 5
deadtime 10
initdead 20
udpport 694
bcast eth1
auto_failback on
node server101
node server105
CONFIG
  echo "server101 192.168.2.110 httpd" >"$NODE_CONFIG/haresources"
  (umask 077 && printf 'auth 1\n1 sha1 HeartbeatAlone\n' >"$NODE_CONFIG/authkeys")
  cat >"$NODE_CONFIG/resource.d/httpd" <<SCRIPT
#!/bin/sh
pid=$LAB_RUN/httpd.\$(hostname)
case \$1 in
  start)
    kill -0 "\$(cat "\$pid")" 2>/dev/null && exit 0
    setsid "$PROBER" serve 0.0.0.0:80 "\$(hostname)" </dev/null >/dev/null 2>&1 &
    echo \$! >"\$pid"
    ;;
  stop) kill "\$(cat "\$pid" 2>/dev/null)" 2>/dev/null; rm -f "\$pid"; exit 0 ;;
  status) if kill -0 "\$(cat "\$pid")" 2>/dev/null; then echo running; else echo stopped; exit 3; fi ;;
esac
SCRIPT
  chmod +x "$NODE_CONFIG/resource.d/httpd"
  lab_page_dies server101
  lab_page_dies server105
  pair
  asks "the page is server101's" "server101 4" 4
  claim "heartbeat is stopped on server101" stopped server101
  claim "server105 has the address" wait_for 5 "server105 alone" holder server105
  asks "and the page is server105's" "server105 4" 4
  node_start server101
  claim "server101 is started again, and gets all back" wait_for 60 "server101 active" node_active server101
  asks "the page is server101's" "server101 4" 4
  crashed server101
  claim "server101 crashes: server105 has all of it after deadtime" wait_for 20 "server105 active" node_active server105
  asks "the page is server105's" "server105 4" 4
}

direct_routing_with_arptables() {
  headline "LVS-DR, round robin, the VIP on the real servers' cards, quiet by arptables: 32 requests"
  local host
  for host in rs106 rs107; do
    bare_real_server "$host"
    lab_exec "$host" arptables -A INPUT -d "$VIP" -j DROP
    lab_exec "$host" arptables -A OUTPUT -s "$VIP" -j mangle --mangle-ip-s "192.168.2.${LAB_ADDRESS[$host]}"
    ip -n "$LAB_PREFIX$host" address add "$VIP/32" dev eth0
  done
  lab_exec server105 bash -euc "ipvsadm -A -t $VIP:80 -s rr
    ipvsadm -a -t $VIP:80 -r 192.168.2.106 -g
    ipvsadm -a -t $VIP:80 -r 192.168.2.107 -g"
  lab_exec server105 ipvsadm -Sn >"$LAB_RUN/rules"
  lab_exec server105 ipvsadm -C
  claim "what ipvsadm -Sn prints is taken over" imported "$LAB_RUN/rules"
  pair
  claim "the table is the author's" wait_for 10 "the same rules" same_rules
  asks "32 requests are split 16:16" "server106 16,server107 16" 32
  claim "nobody but server101 answers for the VIP" wait_for 5 "server101 alone" holder server101
  show "ipvsadm -Ln" table server101
}
same_rules() { [[ $(lab_exec server101 ipvsadm -Sn) == "$(<"$LAB_RUN/rules")" ]]; }

heartbeat_and_ldirectord() {
  headline "Heartbeat and ldirectord: real servers, then none of them, then the other director"
  nodes_configure
  pair
  asks "both real servers answer" "server106 4,server107 4" 8
  lab_page_dies rs106
  asks "one is dead: the other one answers alone" "server107 8" 8
  lab_page_dies rs107
  asks "both are dead: the director answers itself" "sorry 8" 8
  claim "by its entry 127.0.0.1" has server101 "-a -t $VIP:80 -r 127.0.0.1:80 -g -w 1"
  lab_page rs106 server106
  lab_page rs107 server107
  asks "both are back" "server106 4,server107 4" 8
  crashed server101
  claim "the director is dead: server105 has taken over" wait_for 20 "server105 active" node_active server105
  asks "and both real servers answer" "server106 4,server107 4" 8
}

# greet HOST: a telnet service, as far as its greeting.
greet() {
  lab_serve "$1" "telnet-$1" socat TCP-LISTEN:23,reuseaddr,fork "SYSTEM:echo server${1#rs} login"
}
telnet_greeting() { lab_exec client socat -t 2 - "TCP:$VIP:23,connect-timeout=2" </dev/null 2>/dev/null; }
alternates() {
  local one two three
  one=$(telnet_greeting) two=$(telnet_greeting) three=$(telnet_greeting)
  [[ $one == *login && $two == *login && $one != "$two" && $three == "$one" ]]
}
# counted PORT: so many connections to each of the two real servers, as `ipvsadm -Ln --stats` says.
counted() {
  lab_exec server101 ipvsadm -Ln --stats | awk -v service="$VIP:$1" '$1 == "TCP" {mine = $2 == service} mine && $1 == "->" {print $3}' | tr '\n' ' '
}
counted_more() {
  awk -v before="$1" -v after="$(counted 80)" 'BEGIN {split(before, b); split(after, a); exit !(a[1] - b[1] == 8 && a[2] - b[2] == 8)}'
}

configure_lvs() {
  headline "configure-lvs: LVS-DR for www and telnet from lvs_dr.conf"
  local before
  cat >"$LAB_RUN/lvs_dr.conf" <<'CONFIG'
#------------lvs_dr.conf (C) Joseph Mack's format----------
LVSCONF_FORMAT=1.1
LVS_TYPE=VS_DR
INITIAL_STATE=on
VIP=eth0:110 192.168.2.110 255.255.255.255 192.168.2.110
DIP=eth0 192.168.2.101 192.168.2.0 255.255.255.0 192.168.2.255
DIRECTOR_DEFAULT_GW=client
SERVICE=t telnet rr 192.168.2.106 192.168.2.107
SERVICE=t http rr 192.168.2.106 192.168.2.107
SERVER_VIP_DEVICE=lo:0
SERVER_NET_DEVICE=eth0
SERVER_DEFAULT_GW=client
#----------end lvs_dr.conf----------------------------------
CONFIG
  greet rs106
  greet rs107
  claim "lvs_dr.conf is taken over" imported "$LAB_RUN/lvs_dr.conf"
  claim "each line that is not is said: SERVER_VIP_DEVICE" grep -q 'lvs_dr.conf:10: left out: ' "$LAB_RUN/log/import"
  pair
  claim "telnet and www are there" has server101 "-a -t $VIP:23 -r 192.168.2.107:23 -g -w 1"
  asks "www alternates" "server106 8,server107 8" 16
  claim "telnet alternates" wait_for 10 "one and the other" alternates
  # The kernel adds its counters up every two seconds.
  sleep 3
  before=$(counted 80)
  asks "16 more of www" "server106 8,server107 8" 16
  claim "ipvsadm counts 8 more for each" wait_for 5 "8 more than $before" counted_more "$before"
  show "ipvsadm -Ln --stats" lab_exec server101 ipvsadm -Ln --stats
}

# A network of their own for the real servers, behind the directors: eth2 there, eth1 on the real servers.
inside() {
  local host card
  ip -n "${LAB_PREFIX}lan" link add inside type bridge forward_delay 0
  ip -n "${LAB_PREFIX}lan" link set inside up
  for host in server101 server105 rs106 rs107; do
    if [[ $host == server* ]]; then card=eth2; else card=eth1; fi
    ip -n "${LAB_PREFIX}lan" link add "in-$host" type veth peer name "$card" netns "$LAB_PREFIX$host"
    ip -n "${LAB_PREFIX}lan" link set "in-$host" master inside up
    ip -n "$LAB_PREFIX$host" address add "10.1.0.${LAB_ADDRESS[$host]}/24" dev "$card"
    ip -n "$LAB_PREFIX$host" link set "$card" up
    lab_sysctl "$host" "net.ipv4.conf.$card.rp_filter=0"
  done
  for host in rs106 rs107; do ip -n "$LAB_PREFIX$host" link set eth0 down; done
}

# page PAGE: the example of docs/forwarding/PAGE.md, as it stands there.
page() {
  local host
  page_block "$1" directors | nodes_configure_pair
  for host in rs106 rs107; do
    bare_real_server "$host"
    claim "what the page says is done on $host" page_on "$host" "$1" "real servers"
  done
  for host in "${NODES[@]}"; do [[ -z $(page_block "$1" "both directors") ]] || page_on "$host" "$1" "both directors"; done
  claim "pairbeat check finds no fault in the page's example" node_ask server101 check
}

# The last third of each: the director crashes, and nothing else changes for the client.
and_a_crash() {
  crashed server101
  claim "the director crashes: server105 has taken over" wait_for 20 "server105 active" node_active server105
  asks "and both real servers answer" "server106 4,server107 4" 8
}

nat_with_port_mapping() {
  headline "LVS-NAT: port 80 of the VIP is 8080 of real servers on a network of their own"
  local host
  inside
  for host in rs106 rs107; do
    lab_serve "$host" "page-8080-$host" "$PROBER" serve 0.0.0.0:8080 "server${host#rs}"
    ip -n "$LAB_PREFIX$host" route del default 2>/dev/null || true
  done
  page masq
  pair
  claim "the table has them as Masq with port 8080" wait_for 10 "both" has server101 "-a -t $VIP:80 -r 10.1.0.107:8080 -m -w 1"
  asks "both answer" "server106 4,server107 4" 8
  show "ipvsadm -Ln" table server101
  and_a_crash
}

tunnels() {
  headline "LVS-TUN: the packets travel inside of others"
  modprobe -q ipip || true
  page ipip
  lab_exec rs107 nft "add table ip seen; add chain ip seen packets { type filter hook prerouting priority -400; }
    add rule ip seen packets ip saddr 192.168.2.101 ip protocol 4 counter comment \"outer\"
    add rule ip seen packets iifname tunl0 ip saddr $client ip daddr $VIP counter comment \"inner\""
  pair
  claim "the table has them as Tunnel" wait_for 10 "both" has server101 "-a -t $VIP:80 -r 192.168.2.107:80 -i -w 1"
  asks "both answer" "server106 4,server107 4" 8
  claim "rs107 has had packets of the tunnel" seen_at rs107 outer
  claim "and in them the client's" seen_at rs107 inner
  claim "nobody but server101 answers for the VIP" wait_for 5 "server101 alone" holder server101
  show "ipvsadm -Ln" table server101
  and_a_crash
}

# The pages that no tutorial is about: what stands in them is done, and both real servers answer.
example_of() {
  headline "docs/forwarding/$1.md: its example, as it stands"
  page "$1"
  pair
  claim "the table has both" wait_for 10 "both" has server101 "-a -t $VIP:80 -r 192.168.2.107:80 $2 -w 1"
  asks "both answer" "server106 4,server107 4" 8
  claim "nobody but server101 answers for the VIP" wait_for 5 "server101 alone" holder server101
}
direct_routing_page() { example_of gate -g; }
gue_page() {
  modprobe -qa ipip fou || true
  example_of gue -i
}
gre_page() {
  modprobe -q ip_gre || true
  example_of gre -i
}

# Last, for its real server stays among the hosts.
full_nat() {
  headline "FULLNAT: the real server is on another network, has no route to the director, and sees the director only"
  far_network
  page_block fullnat directors | nodes_configure_pair
  claim "pairbeat check finds no fault in the page's example" node_ask server101 check
  lab_exec far nft "add table ip seen; add chain ip seen packets { type filter hook prerouting priority -400; }
    add rule ip seen packets ip saddr ${dip:?} ip daddr ${far:?} tcp dport 8080 counter comment \"outer\"
    add rule ip seen packets ip saddr $client counter comment \"client\""
  pair
  claim "the table has it as Masq" wait_for 10 "it" has server101 "-a -t $VIP:80 -r $far:8080 -m -w 1"
  asks "it answers" "far 8" 8
  show "ipvsadm -Ln" table server101
  show "nft list table inet pairbeat_fullnat" lab_exec server101 nft list table inet pairbeat_fullnat
  crashed server101
  claim "the director crashes: server105 has taken over" wait_for 20 "server105 active" node_active server105
  asks "and it answers" "far 8" 8
  claim "it has had packets from the group's own address" seen_at far outer
  claim "and none from the client" unseen_at far client
}
seen_at() { lab_exec "$1" nft list chain ip seen packets | grep -F "comment \"$2\"" | grep -q 'packets [1-9]'; }
unseen_at() { ! seen_at "$@"; }

tutorials=(heartbeat_alone direct_routing_with_arptables heartbeat_and_ldirectord configure_lvs nat_with_port_mapping tunnels
  direct_routing_page gue_page gre_page keepalived_direct_routing keepalived_persistence full_nat)
read -ra chosen <<<"${ONLY:-}"
((${#chosen[@]})) || chosen=("${tutorials[@]}")
trap nodes_leave EXIT
lab_warm
for tutorial in "${chosen[@]}"; do
  lab_down
  rm -rf "$LAB_RUN"
  lab_up
  dead=''
  "$tutorial"
  # A machine that has crashed does not tidy up.
  [[ -z $dead ]] || nodes_wipe "$dead"
  claim "what runs ends" nodes_stop
done
((faults == 0)) || die "$faults claims did not hold"
headline "As their authors show it."
