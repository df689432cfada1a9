# shellcheck shell=bash
# Full NAT, followed packet by packet: a real server on another network, whose way to everybody is a router of its own and not the
# director. Sourced by forwarding.sh, never run.
#
#   client .50 ---- 192.168.2.0/24 ---- gateway .1 = 10.1.0.1 ---- 10.1.0.0/24 ---- far .7
#                     |                                            (the same with IPv6: 2001:db8:2::/64, 2001:db8:1::/64)
#                   server101: VIP .110, and .112, from which the real servers get their packets
#
# The first configuration is the example of docs/forwarding/fullnat.md, as it stands there.

dip=192.168.2.112 far=10.1.0.7
vip6=2001:db8:2::110 dip6=2001:db8:2::112 far6=2001:db8:1::7 client6=2001:db8:2::50

far_network() {
  : "${here:?this directory}" "${client:?}" "${director:?}"
  local host
  lab_namespace far
  LAB_HOSTS+=(far)
  lab_sysctl lan net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
  ip -n "${LAB_PREFIX}lan" -batch - <<LAN
address add 2001:db8:2::1/64 dev br0 nodad
link add to-far type veth peer name eth0 netns ${LAB_PREFIX}far
address add 10.1.0.1/24 dev to-far
address add 2001:db8:1::1/64 dev to-far nodad
link set to-far up
LAN
  ip -n "${LAB_PREFIX}far" -batch - <<FAR
link set lo up
address add $far/24 dev eth0
address add $far6/64 dev eth0 nodad
link set eth0 up
route add default via 10.1.0.1
route add default via 2001:db8:1::1
FAR
  for host in client server101 server105; do
    ip -n "$LAB_PREFIX$host" address add "2001:db8:2::${LAB_ADDRESS[$host]}/64" dev eth0 nodad
    [[ $host == client ]] || lab_sysctl "$host" net.ipv6.conf.all.forwarding=1
    ip -n "$LAB_PREFIX$host" route add default via 2001:db8:2::1
  done
  lab_serve far page-far "$PROBER" serve "[::]:8080" far
  lab_serve far udp-far socat UDP4-RECVFROM:53,fork SYSTEM:"echo far"
}

second() {
  cat <<CONFIG
[[group]]
name = "web"
preferred = "server101"
resources = ["$dip/24/eth0", "$dip6/64/eth0", "$VIP/24/eth0", "$vip6/64/eth0", { director = "web" }]

[director.web]
check = { type = "connect", interval = "1s", timeout = "1s" }

[[director.web.service]]
address = "[$vip6]:80"
forwarding = "fullnat:$dip6"
real = ["[$far6]:8080"]

[[director.web.service]]
address = "$VIP:53"
protocol = "udp"
forwarding = "fullnat"
real = [{ address = "$far:53", check = "on" }]

[[director.web.service]]
mark = 7
forwarding = "fullnat:$dip"
real = ["$far:8080"]
CONFIG
}

# by_far ADDRESS: who connects there is answered by the far server.
by_far() { answers "$1" far; }
by_udp() { [[ $(echo hi | lab_exec client socat -t 2 -T 2 - "UDP4:$VIP:53") == far ]]; }
says() { node_ask server101 "$1" | grep -qF -- "$2"; }
rules_in() { lab_exec "$1" nft list table inet pairbeat_fullnat >/dev/null 2>&1; }
rules_gone() { ! rules_in "$1"; }
conntrack_is() { [[ $(lab_exec "$1" sysctl -n net.ipv4.vs.conntrack net.netfilter.nf_conntrack_tcp_be_liberal | paste -sd' ') == "$2 $2" ]]; }

fullnat() {
  headline "fullnat: on another network, and the answers come back without a route"
  far_network
  # shellcheck disable=SC2034 # for watch_packets
  watched=(client server101 far)
  modprobe -qa nft_ct nft_nat nft_masq nft_chain_nat 2>/dev/null || true
  watch_packets
  expect server101 request "ip saddr $client ip daddr $VIP tcp dport 80"
  expect far translated "ip saddr $dip ip daddr $far tcp dport 8080"
  expect far client "ip saddr $client"
  expect server101 back "ip saddr $far ip daddr $dip tcp sport 8080"
  expect client answer "ip saddr $VIP ip daddr $client tcp sport 80"
  expect client stranger "ip saddr { $far, $dip } ip daddr $client"
  page_block fullnat directors | nodes_configure_pair
  claim "a reload takes the example of docs/forwarding/fullnat.md over" taken_over
  claim "fullnat: the table has it as NAT" wait_for 8 "fullnat" has "$VIP:80 -r $far:8080 -m -w 1"
  claim "fullnat: the client is answered" wait_for 8 "two answers" by_far "$VIP:80"
  claim "fullnat: the request came to the director for the VIP" seen server101 request
  claim "fullnat: the real server got it from the group's own address, for itself at port 8080" seen far translated
  claim "fullnat: and saw nothing of the client" unseen far client
  claim "fullnat: its answer came to that address" seen server101 back
  claim "fullnat: what answers the client is the VIP" seen client answer
  claim "fullnat: and nobody else" unseen client stranger
  claim "fullnat: the status says so" says status "$far:8080 fullnat:$dip weight 1"
  claim "fullnat: the standby is as warm: it has the rules, too" wait_for 5 "rules" rules_in server105
}

fullnat_kinds() {
  headline "fullnat: IPv6, UDP from the director's own address, and by a mark"
  watch_packets
  expect far translated6 "ip6 saddr $dip6 ip6 daddr $far6 tcp dport 8080"
  expect far client6 "ip6 saddr $client6"
  expect far own "ip saddr $director ip daddr $far udp dport 53"
  expect far marked "ip saddr $dip ip daddr $far tcp dport 8080"
  expect far client "ip saddr $client"
  lab_exec server101 nft "add table ip marks; add chain ip marks in { type filter hook prerouting priority mangle; };
    add rule ip marks in ip daddr $VIP tcp dport 8888 meta mark set 7"
  second | nodes_configure_pair
  claim "a reload takes them over" taken_over
  claim "IPv6: the table has it" wait_for 8 "fullnat" has "[$vip6]:80 -r [$far6]:8080 -m -w 1"
  claim "IPv6: the client is answered" wait_for 8 "two answers" by_far "[$vip6]:80"
  claim "IPv6: the real server got it from the group's own address" seen far translated6
  claim "IPv6: and saw nothing of the client" unseen far client6
  claim "UDP: the client is answered" wait_for 8 "an answer" by_udp
  claim "UDP: the real server got it from the director" seen far own
  claim "mark: the client is answered" wait_for 8 "two answers" by_far "$VIP:8888"
  claim "mark: the real server got it from the group's own address" seen far marked
  claim "both: and nothing of the client" unseen far client
}

fullnat_tampered() {
  headline "fullnat: somebody else touches what it stands on"
  page_block fullnat directors | nodes_configure_pair
  claim "a reload takes it over" taken_over
  wait_for 8 "fullnat" has "$VIP:80 -r $far:8080 -m -w 1" || bad "without that there is nothing to test"
  lab_exec server101 nft flush ruleset
  claim "rules that were flushed are in force again" wait_for 8 "rules" rules_in server101
  claim "and the journal says so" wait_for 5 "the journal" says events "somebody else changed tcp $VIP:80"
  lab_sysctl server101 net.ipv4.vs.conntrack=0
  claim "conntrack of IPVS that was switched off is on again" wait_for 8 "conntrack" conntrack_is server101 1
  claim "the client is answered" wait_for 8 "two answers" by_far "$VIP:80"
  : >"$LAB_RUN/nft-broken"
  lab_exec server101 nft flush ruleset
  claim "while rules can't be put in force, the server takes no new connection" \
    wait_for 8 "weight 0" has "$VIP:80 -r $far:8080 -m -w 0"
  claim "and the journal says why" wait_for 5 "the journal" says events "keep the client's address: nft: it is broken"
  rm "$LAB_RUN/nft-broken"
  claim "it is in again when they can" wait_for 20 "weight 1" has "$VIP:80 -r $far:8080 -m -w 1"
  claim "and serves" wait_for 8 "two answers" by_far "$VIP:80"
}

fullnat_gone() {
  local node
  for node in "${NODES[@]}"; do
    claim "$node: no rules are left" rules_gone "$node"
    claim "$node: the kernel's settings are as before" conntrack_is "$node" 0
  done
}

# An nft that can be broken: it takes no rules then.
breakable_nft() {
  local nft
  nft=$(command -v nft)
  mkdir -p "$LAB_RUN/bin"
  cat >"$LAB_RUN/bin/nft" <<NFT
#!/bin/sh
[ "\$1" != -f ] || [ ! -e $LAB_RUN/nft-broken ] || { echo "it is broken" >&2; exit 1; }
exec $nft "\$@"
NFT
  chmod +x "$LAB_RUN/bin/nft"
  PATH=$LAB_RUN/bin:$PATH
}
