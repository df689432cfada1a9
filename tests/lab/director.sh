#!/usr/bin/env bash
# The director's second day, on a real IPVS kernel: what ldirectord does wrong and pairbeat must not. One client view
# is the story's business; here the kernel's table is watched.
#
#   director.sh    needs root, IPVS, PAIRBEAT, PROBER; see in_lab of common.sh
set -euo pipefail
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
# shellcheck source=tests/lab/common.sh
source "$here/common.sh"
# shellcheck source=tests/lab/topology.sh
source "$here/topology.sh"
# shellcheck source=tests/lab/nodes.sh
source "$here/nodes.sh"

: "${PAIRBEAT:?the binary}" "${PROBER:?the prober binary}"
conf=$NODE_CONFIG/ldirectord.cf
dead=192.168.2.199 # nobody is there

saved() { lab_exec "${1:-server101}" ipvsadm -Sn; }
has() { saved "${2:-server101}" | grep -q -- "$1"; }
lacks() { ! has "$@"; }
same() { [[ $(saved) == "$1" ]]; }
reload() { node_ask server101 reload >"$LAB_RUN/log/reload" 2>&1; }
refused_reload() { ! reload && grep -q 'ldirectord.cf:[0-9]*:[0-9]*:' "$LAB_RUN/log/reload"; }
connections() { lab_exec server101 ipvsadm -Ln --stats | awk -v vip="$VIP:80" '$2 == vip {print $3}'; }

# watch_never PATTERN SECONDS: the pattern must not be in the table at any look, many looks a second.
watch_never() {
  local end=$((SECONDS + $2 + 1))
  while ((SECONDS < end)); do has "$1" && return 1; done
  return 0
}

start() {
  headline "A pair with a director"
  node_start server101
  node_start server105
  wait_for 10 "server101 active" node_active server101 || die "without a cluster there is nothing to test"
  claim "both real servers are in" wait_for 10 "both" has "192.168.2.107:80"
  claim "the standby's table is as warm" wait_for 10 "the same on server105" has "192.168.2.107:80" server105
}

flushed() {
  headline "Somebody else touches the table"
  local before
  before=$(saved)
  lab_exec server101 ipvsadm -A -t 192.168.2.111:8080 -s rr
  lab_exec server101 ipvsadm -C
  claim "ipvsadm -C is healed within an interval and a second" wait_for 2 "healed" same "$before"
  lab_exec server101 ipvsadm -e -t "$VIP:80" -r 192.168.2.106:80 -g -w 7
  claim "a weight changed by hand is corrected" wait_for 2 "weight back" same "$before"
  lab_exec server101 ipvsadm -A -t 192.168.2.111:8080 -s wlc
  lab_exec server101 ipvsadm -a -t 192.168.2.111:8080 -r 192.168.2.106:8080 -g -w 3
  sleep 2.5
  claim "a service that is not ours stays as it is" has "192.168.2.111:8080 -r 192.168.2.106:8080 -g -w 3"
}

reloaded() {
  headline "Reload"
  local before count
  ask_some 20
  count=$(connections)
  sed -i "s/real=192.168.2.107:80 gate/&\n\treal=$dead:80 gate/" "$conf"
  claim "a file with one more server is accepted" reload
  claim "the dead new server is never in the table" watch_never "$dead" 4
  claim "the service was edited, not made anew: its counters go on" test "$(connections)" -ge "$count"
  before=$(saved)
  echo 'checkinterval=often' >>"$conf"
  echo 'no such thing' >>"$conf"
  claim "a broken file is refused, every fault with its place" refused_reload
  claim "two faults are named" test "$(grep -c 'ldirectord.cf:[0-9]*:[0-9]*: ' "$LAB_RUN/log/reload")" -ge 2
  claim "and changes nothing" same "$before"
  lab_page_dies rs106
  claim "the checks go on: a server that dies is taken out" wait_for 4 "106 out" lacks "192.168.2.106:80 -g -w 1"
  lab_page rs106 server106
  claim "and is back" wait_for 4 "106 in" has "$VIP:80 -r 192.168.2.106:80"
  sed -i '/checkinterval=often/d; /no such thing/d' "$conf"
  claim "the repaired file is accepted" reload
}

ask_some() { lab_exec client "$PROBER" probe "$VIP:80" --count "$1" --summary "$LAB_RUN/asked"; }

black_holed() {
  headline "A black-holed server delays nobody"
  # 199 is in the list since the reload: nobody answers there. The others are judged as before.
  lab_page_dies rs107
  claim "107 is out within timeout, interval and a second" wait_for 3 "107 out" lacks "$VIP:80 -r 192.168.2.107:80"
  lab_page rs107 server107
  claim "and in again" wait_for 3 "107 in" has "$VIP:80 -r 192.168.2.107:80"
  sed -i "/$dead/d" "$conf"
  reload
}

at_zero() { has "$VIP:80 -r 192.168.2.107:80 -g -w 0" "${1:-server101}"; }
# flows N: so many new connections from the client; those that 107 got are counted.
flows() {
  local before after
  # The kernel adds its counters up every two seconds.
  sleep 2.5
  before=$(taken "$1") || return 1
  lab_exec client "$PROBER" probe "$VIP:80" --count "$2" --summary "$LAB_RUN/asked" || return 1
  sleep 2.5
  after=$(taken "$1")
  ((after == before)) || { echo "107 took $((after - before)) of $2"; return 1; }
}
taken() { lab_exec "$1" ipvsadm -Ln --stats | awk -v vip="$VIP:80" '$2 == vip {on = 1} on && $2 == "192.168.2.107:80" {print $3; exit}'; }

drained() {
  headline "A server is drained, on both nodes and through everything"
  # Half of two requests before; the servers wait five seconds for the other half.
  lab_exec client bash -c "
    exec 3<>/dev/tcp/$VIP/80
    exec 4<>/dev/tcp/$VIP/80
    for fd in 3 4; do printf 'GET / HTTP/1.0\r\n' >&\$fd; done
    : >'$LAB_RUN/two'
    until [[ -e '$LAB_RUN/enough' ]]; do sleep 0.02; done
    for fd in 3 4; do
      printf '\r\n' >&\$fd
      timeout 3 cat <&\$fd
    done" >"$LAB_RUN/answers" 2>&1 &
  local client=$!
  wait_for 5 "two connections" test -e "$LAB_RUN/two"
  claim "an order is taken" order drain
  claim "it says so" grep -q "server105 knows it too" "$LAB_RUN/log/drain"
  claim "weight 0 here" wait_for 2 "0" at_zero
  claim "weight 0 at the standby" wait_for 2 "0 there" at_zero server105
  claim "its open connection is counted" wait_for 3 "1 open" drain_counts 1
  : >"$LAB_RUN/enough"
  wait "$client" || true
  claim "the connections that were open are answered to the end" test "$(grep -c 'server10[67]' "$LAB_RUN/answers")" = 2
  claim "1000 new connections: none of them to the drained server" flows server101 1000
  claim "the same file again" reload
  claim "drained after a reload" at_zero
  kill -KILL "$(node_value server101 /pid)"
  claim "its core is killed: server105 takes over" wait_for 5 "server105 active" node_active server105
  claim "drained after the takeover" at_zero server105
  claim "drained in the core that was started anew" wait_for 5 "0 again" at_zero
  claim "1000 new connections there: none of them to it" flows server105 1000
  claim "the standby ends it for both" order enable
  claim "weight 1 again" wait_for 3 "1" has "$VIP:80 -r 192.168.2.107:80 -g -w 1" server105
  claim "a wrong server is refused" refused_order
  node_ask server101 takeover >"$LAB_RUN/log/takeover" 2>&1
  wait_for 5 "server101 active" node_active server101
  # It serves on for a second, as agreed.
  wait_for 5 "server105 at rest" node_standby server105
}

order() { node_ask server101 real "$1" 192.168.2.107 >"$LAB_RUN/log/$1" 2>&1; }
drain_counts() { node_ask server101 status | grep -q "192.168.2.107:80.*drain by an operator, $1 open"; }
refused_order() { ! node_ask server101 real drain 192.168.2.250 >"$LAB_RUN/log/refused" 2>&1 && grep -q "no virtual service has 192.168.2.250" "$LAB_RUN/log/refused"; }

# A connection that is open while the address moves: half of a request before, the other half after.
open_connection() {
  headline "A connection that is open across a planned switch"
  lab_exec client bash -c "
    exec 3<>/dev/tcp/$VIP/80
    printf 'GET / HTTP/1.0\r\n' >&3
    : >'$LAB_RUN/open'
    until [[ -e '$LAB_RUN/moved' ]]; do sleep 0.02; done
    printf '\r\n' >&3
    timeout 3 cat <&3" >"$LAB_RUN/answer" 2>&1 &
  local client=$!
  wait_for 5 "the connection" test -e "$LAB_RUN/open"
  sleep 0.3
  node_ask server101 standby >"$LAB_RUN/log/standby" 2>&1 &
  local standby=$!
  wait_for 5 "server105 active" node_active server105
  : >"$LAB_RUN/moved"
  wait "$client" || true
  claim "it is answered to the end" grep -q "server10[67]" "$LAB_RUN/answer"
  wait "$standby" || true
  claim "the VIP has left the old holder" wait_for 3 "no VIP on server101" lacks_vip server101
  sleep 3
  claim "nothing is left of the switch in nftables" tables_are "table netdev pairbeat_lease"
  claim "nor in IPVS" lacks "-f " server105
  node_ask server101 takeover >"$LAB_RUN/log/takeover" 2>&1
  wait_for 5 "server101 active" node_active server101
}

lacks_vip() { ! node_holds_vip "$1"; }
# tables_are TEXT: both nodes have these tables of ours in nftables, and no others.
tables_are() {
  local node
  for node in server101 server105; do
    [[ $(lab_exec "$node" nft list tables) == "$1" ]] || return 1
  done
}

# NAT with port mapping, and a tunnel: the answers' way back is set on the real servers.
other_forwarding() {
  headline "masq and ipip"
  modprobe -qa ipip 2>/dev/null || true
  cat >>"$conf" <<CONFIG
virtual=$VIP:8080
	real=192.168.2.106:80 masq
	service=http
	request="index.html"
	receive="server"
	scheduler=wrr
virtual=$VIP:81
	real=192.168.2.107:81 ipip 2
	service=none
	checktype=on
	scheduler=wlc
CONFIG
  claim "reloaded with two more services" reload
  lab_exec rs106 ip route add 192.168.2.50/32 via 192.168.2.101
  claim "masq is in, with the port as written" wait_for 4 "masq" has "$VIP:8080 -r 192.168.2.106:80 -m -w 1"
  claim "a client is answered through the NAT" wait_for 4 "an answer" nat_answers
  lab_exec rs106 ip route del 192.168.2.50/32 via 192.168.2.101
  lab_exec rs107 ip link add tunl9 type ipip local 192.168.2.107 2>/dev/null || true
  claim "ipip is in, with weight 2" wait_for 4 "ipip" has "$VIP:81 -r 192.168.2.107:81 -i -w 2"
}

nat_answers() {
  lab_exec client "$PROBER" probe "$VIP:8080" --count 2 --summary "$LAB_RUN/asked" || return
  [[ $("$PROBER" json /servers <"$LAB_RUN/asked") == *server106*2* ]]
}

stopped() {
  headline "Stop"
  claim "both end" nodes_stop
  claim "nothing of ours is left in nftables" tables_are ""
  claim "our services have left the kernel" lacks "$VIP:80"
  claim "the one that is not ours has not" has "192.168.2.111:8080 -r 192.168.2.106:8080 -g -w 3"
}

# The standby checks nothing itself and knows the same; then it has to, at once.
followed() {
  headline "A standby that goes by the active node's checks"
  NODE_CONFIG=$LAB_RUN/toml
  nodes_configure_toml <<CONFIG
[director.web]
standby_checks = "active"
hand_made = "adopt"
check = { type = "http", request = "/index.html", receive = "server", interval = "1s", timeout = "1s" }

[[director.web.service]]
address = "$VIP:80"
scheduler = "rr"
forwarding = "gate"
real = ["192.168.2.106", "192.168.2.107"]
CONFIG
  node_start server101
  node_start server105
  wait_for 10 "server101 active" node_active server101 || die "without a cluster there is nothing to test: $(tail -3 "$LAB_RUN/log/server101")"
  claim "the standby is told of both servers" wait_for 10 "two checks followed" node_is server105 /warmth/followed 2
  claim "and is warm" node_is server105 /warmth/warm true
  claim "it connects to no real server" is_quiet server105
  lab_page_dies rs107
  claim "a server that dies leaves its table too" wait_for 5 "out at server105" lacks "192.168.2.107:80" server105
  lab_page rs107 server107
  claim "and comes back" wait_for 5 "in at server105" has "192.168.2.107:80" server105
  lab_exec server101 ipvsadm -e -t "$VIP:80" -r 192.168.2.106:80 -g -w 7
  claim "a weight set by hand counts as an order" wait_for 5 "told" says server101 "192.168.2.106:80 gate weight 7  up, weight 7 by an operator"
  claim "at the standby, too" wait_for 5 "weight 7" has "192.168.2.106:80 -g -w 7" server105
  kill -KILL "$(node_value server101 /pid)"
  claim "the other node takes over" wait_for 5 "server105 active" node_active server105
  claim "with that weight" has "192.168.2.106:80 -g -w 7" server105
  claim "with both servers" has "192.168.2.107:80" server105
  claim "and checks by itself" wait_for 5 "checks" checks_itself server105
  claim "the node that comes back goes by its checks" wait_for 10 "two checks followed" node_is server101 /warmth/followed 2
  claim "both end" nodes_stop
}

says() { node_ask "$1" status | grep -qF -- "$2"; }
# Connections that the node has begun since its network namespace was made.
# shellcheck disable=SC2016 # a field of awk
begun() { lab_exec "$1" awk '/^Tcp: [0-9]/ {print $6}' /proc/net/snmp; }
is_quiet() {
  local before
  before=$(begun "$1")
  sleep 3
  [[ $(begun "$1") == "$before" ]]
}
checks_itself() { node_is "$1" /warmth/followed 0 && ! is_quiet "$1"; }

last_words() {
  tail -n 20 "$LAB_RUN/log/reload" 2>/dev/null || true
  cat "$LAB_RUN/answer" 2>/dev/null || true
}

lab_warm
trap nodes_leave EXIT
lab_up
nodes_configure
start
flushed
reloaded
black_holed
drained
open_connection
other_forwarding
stopped
followed
((faults == 0)) || die "$faults claims did not hold"
headline "The director keeps its promises."
