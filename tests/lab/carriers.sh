# shellcheck shell=bash
# What carries a connection to a real server beside TCP over the service's own address family: SCTP, and tunnels from IPv4 to IPv6
# and back. Sourced by forwarding.sh, never run.
# shellcheck disable=SC2154 # client, director and real are forwarding.sh's

# The servers of a service that is not TCP's port 80: `carry SERVICE_LINES REAL`.
carry() {
  watch_packets
  nodes_configure_toml <<CONFIG
[director.web]
check = { type = "connect", interval = "1s", timeout = "1s" }

[[director.web.service]]
$1
scheduler = "rr"
real = [$2]
CONFIG
  claim "a reload takes it over" taken_over
}

sctp_says() { [[ $(lab_exec client timeout 3 socat -u "SCTP:$VIP:3868" - 2>>"$LAB_RUN/log/asked") == server107 ]]; }
sctp_known() { lab_exec server101 ipvsadm -Lcn | grep -q "SCTP .*$VIP:3868"; }

# sctp_by METHOD REAL ENTRY RULE: served by SCTP, and RULE is what the real server sees.
sctp_by() {
  carry "address = \"$VIP:3868\"
protocol = \"sctp\"" "{ address = \"$2\", forwarding = \"$1\" }"
  expect server101 request "ip saddr $client ip daddr $VIP sctp dport 3868"
  expect rs107 arrived "$4"
  expect client answer "ip saddr $VIP ip daddr $client sctp sport 3868"
  claim "sctp, $1: the check by an association finds the server, and the table has it" \
    wait_for 5 "the entry" has "--sctp-service $VIP:3868 -r $2 $3 -w 1"
  claim "sctp, $1: the client is answered" wait_for 8 "an answer" sctp_says
  claim "sctp, $1: the director knows the association" sctp_known
  claim "sctp, $1: the request came to the director for the VIP" seen server101 request
  claim "sctp, $1: the real server got it" seen rs107 arrived
  claim "sctp, $1: what answers the client is the VIP" seen client answer
}

sctp() {
  headline "SCTP: direct routing, and NAT with another port"
  if ! modprobe -q sctp; then
    skip "the kernel has no SCTP"
    return
  fi
  local listens
  ready "$VIP"
  # One address each: the others of a server are told to the client, and it may answer from them, past the director.
  for listens in "3868,bind=$VIP" "3868,bind=$real" "3869,bind=$real"; do
    lab_serve rs107 sctp socat "SCTP-LISTEN:$listens,fork,reuseaddr" SYSTEM:'echo server107'
  done
  sctp_by gate "$real:3868" -g "ip saddr $client ip daddr $VIP sctp dport 3868"
  lab_exec rs107 ip route add "$client/32" via "$director"
  sctp_by masq "$real:3869" -m "ip saddr $client ip daddr $real sctp dport 3869"
  lab_exec rs107 ip route del "$client/32" via "$director"
  taken_back
}

behind6=fd00:2::107 carried6=fd00:2::110

# four_in_six METHOD OUTER DEVICE ENTRY
four_in_six() {
  ready "$VIP" --mode "$1" --over ipv6
  carry "address = \"$VIP:80\"" "{ address = \"$behind6\", forwarding = \"$1\", check = { type = \"http\", request = \"/\", receive = \"server107\" } }"
  expect rs107 outer "ip6 saddr fd00:2::101 ip6 daddr $behind6 $2"
  expect rs107 inner "iifname $3 ip saddr $client ip daddr $VIP tcp dport 80"
  expect rs107 direct "iifname eth0 ip daddr $VIP"
  claim "IPv4 in IPv6, $1: the table has it" wait_for 5 "$1" has "$VIP:80 -r [$behind6]:80 -i -w 1 $4"
  claim "IPv4 in IPv6, $1: the client is answered" wait_for 8 "two answers" answers
  claim "IPv4 in IPv6, $1: the real server got an IPv6 packet of that kind from the director" seen rs107 outer
  claim "IPv4 in IPv6, $1: in it what the client sent for the VIP" seen rs107 inner
  claim "IPv4 in IPv6, $1: and nothing beside it" unseen rs107 direct
  taken_back
}

# six_in_four METHOD OUTER DEVICE ENTRY
six_in_four() {
  ready "$carried6" --mode "$1" --over ipv4
  [[ ${serves6:-} ]] || lab_serve rs107 page-carried6 "$PROBER" serve "[$carried6]:80" server107
  serves6=1
  carry "address = \"[$carried6]:80\"" "{ address = \"$real\", forwarding = \"$1\" }"
  expect rs107 outer "ip saddr $director ip daddr $real $2"
  expect rs107 inner "iifname $3 ip6 saddr fd00:2::50 ip6 daddr $carried6 tcp dport 80"
  expect rs107 direct "iifname eth0 ip6 saddr fd00:2::50 ip6 daddr $carried6 tcp dport 80"
  claim "IPv6 in IPv4, $1: the table has it" wait_for 5 "$1" has "[$carried6]:80 -r $real:80 -i -w 1 $4"
  claim "IPv6 in IPv4, $1: the client is answered" wait_for 8 "two answers" answers "[$carried6]:80"
  claim "IPv6 in IPv4, $1: the real server got an IPv4 packet of that kind from the director" seen rs107 outer
  claim "IPv6 in IPv4, $1: in it what the client sent for the VIP" seen rs107 inner
  claim "IPv6 in IPv4, $1: and nothing beside it" unseen rs107 direct
  taken_back
}

six() { ip -n "$LAB_PREFIX$1" address add "$2" dev "${3:-eth0}" nodad "${@:4}"; }

families() {
  headline "Tunnels from one address family to the other"
  six client fd00:2::50/64
  six server101 fd00:2::101/64
  six rs107 "$behind6/64"
  rs107_state >"$LAB_RUN/rs107-before"
  lab_serve rs107 page-6 "$PROBER" serve "[$behind6]:80" server107
  four_in_six ipip "ip6 nexthdr 4" pairbeat-ip6tnl "--tun-type ipip"
  four_in_six gue "udp dport 6080" pairbeat-ip6tnl "--tun-type gue --tun-port 6080 --tun-nocsum"
  four_in_six gre "ip6 nexthdr 47" ip6gre0 "--tun-type gre --tun-nocsum"
  four_in_six gre,csum "ip6 nexthdr 47" pairbeat-ip6gre "--tun-type gre --tun-csum"
  # By hand, as the group does: no source address.
  six server101 "$carried6/64" eth0 preferred_lft 0
  six_in_four ipip "ip protocol 41" sit0 "--tun-type ipip"
  six_in_four gue "udp dport 6080" sit0 "--tun-type gue --tun-port 6080 --tun-nocsum"
  six_in_four gre "ip protocol 47" gre0 "--tun-type gre --tun-nocsum"
}
