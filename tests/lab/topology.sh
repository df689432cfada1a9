# shellcheck shell=bash
# The network of the Heartbeat+LVS tutorial, in network namespaces of the running kernel. Sourced, never run.
#
#        client .50      gateway .1 (the bridge)
#            \              /
#   ==========  192.168.2.0/24  ================   VIP 192.168.2.110
#      |            |            |          |
#   server101 -- server105     rs106      rs107
#      10.0.0.1   10.0.0.2     (.106)     (.107)
#      eth1: the second heartbeat link, a cable of its own
#
# Every namespace is named LAB_PREFIX + the name above, has its own host name, and calls its card eth0.
# The web pages: `server106` and `server107` on the real servers, `sorry` on both directors.
# lab_up and lab_down; lab_exec NAME COMMAND... runs a command there, lab_become in the place of the shell. Works on every kernel with veth
# and bridge; IPVS is not needed for the topology itself.
#
# Uses: PROBER (tests/lab/prober.rs as a binary; serves the pages), LAB_RUN (a directory for sockets and logs).

LAB_PREFIX=${LAB_PREFIX:-pairbeat-}
LAB_RUN=${LAB_RUN:-/run/pairbeat-lab}
export VIP=192.168.2.110
LAB_HOSTS=(client server101 server105 rs106 rs107)
declare -A LAB_ADDRESS=([client]=50 [server101]=101 [server105]=105 [rs106]=106 [rs107]=107)
declare -A LAB_PAGE_PID=()

lab_exec() { (lab_become "$@"); }

# Replaces the shell, so that `lab_become HOST COMMAND &` leaves the command's own id in $!.
lab_become() {
  local host=$1
  shift
  exec nsenter --net="/run/netns/$LAB_PREFIX$host" --uts="$LAB_RUN/uts/$host" -- "$@"
}

lab_sysctl() {
  local host=$1
  shift
  lab_exec "$host" sysctl -q -w "$@"
}

lab_up() {
  local host
  lab_down
  mkdir -p "$LAB_RUN/uts" "$LAB_RUN/log"
  lab_namespace lan
  ip -n "${LAB_PREFIX}lan" -batch - <<BRIDGE
link set lo up
link add br0 type bridge forward_delay 0
link set br0 address 02:00:c0:a8:02:01
address add 192.168.2.1/24 dev br0
link set br0 up
BRIDGE
  for host in "${LAB_HOSTS[@]}"; do lab_host "$host"; done
  ip -n "${LAB_PREFIX}server101" link add eth1 type veth peer name eth1 netns "${LAB_PREFIX}server105"
  lab_cable server101 10.0.0.1
  lab_cable server105 10.0.0.2
  for host in server101 server105; do lab_director "$host"; done
  for host in rs106 rs107; do lab_real_server "$host"; done
}

# A namespace for the network and one for the host name.
lab_namespace() {
  ip netns add "$LAB_PREFIX$1"
  : >"$LAB_RUN/uts/$1"
  unshare --uts="$LAB_RUN/uts/$1" hostname "$1"
}

lab_host() {
  local host=$1 number=${LAB_ADDRESS[$1]}
  lab_namespace "$host"
  ip -n "${LAB_PREFIX}lan" link add "to-$host" type veth peer name eth0 netns "$LAB_PREFIX$host"
  ip -n "${LAB_PREFIX}lan" link set "to-$host" master br0 up
  ip -n "$LAB_PREFIX$host" -batch - <<HOST
link set lo up
link set eth0 address $(lab_mac "$host")
address add 192.168.2.$number/24 dev eth0
link set eth0 up
route add default via 192.168.2.1
HOST
  # The strictest reverse path filter of all and of the card counts: both.
  lab_sysctl "$host" net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0
}

lab_mac() { printf '02:00:c0:a8:02:%02x' "${LAB_ADDRESS[$1]}"; }

lab_cable() {
  ip -n "$LAB_PREFIX$1" address add "$2/24" dev eth1
  ip -n "$LAB_PREFIX$1" link set eth1 up
}

lab_director() {
  lab_sysctl "$1" net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.eth0.send_redirects=0
  lab_page "$1" sorry
}

# Direct routing: the real server takes packets for the VIP and never answers ARP for it.
lab_real_server() {
  lab_sysctl "$1" net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2
  ip -n "$LAB_PREFIX$1" address add "$VIP/32" dev lo
  lab_page "$1" "server${1#rs}"
}

# The addresses of the cards that answer ARP for the VIP, asked from the gateway: one line each.
lab_answering() {
  lab_exec lan arping -b -c 2 -w 1 -I br0 "$VIP" 2>/dev/null | grep -oE '(..:){5}..' | tr '[:upper:]' '[:lower:]' |
    sort -u || true
}

# lab_serve HOST LOG COMMAND...: a server that runs there until the namespace ends.
lab_serve() {
  lab_become "$1" "${@:3}" >>"$LAB_RUN/log/$2" 2>&1 &
  disown
}

# The web server with its one page; lab_page_dies ends it as a crash does, lab_page starts it again.
lab_page() {
  lab_serve "$1" "page-$1" "$PROBER" serve 0.0.0.0:80 "$2"
  LAB_PAGE_PID[$1]=$!
}

lab_page_dies() {
  kill -KILL "${LAB_PAGE_PID[$1]}"
  unset "LAB_PAGE_PID[$1]"
}

# Ends every process in the namespaces, by the id the kernel gives for each, then the namespaces.
lab_down() {
  local host pids
  for host in "${LAB_HOSTS[@]}" lan; do
    if [[ -e /run/netns/$LAB_PREFIX$host ]]; then
      mapfile -t pids < <(ip netns pids "$LAB_PREFIX$host")
      ((${#pids[@]} == 0)) || kill -KILL "${pids[@]}" 2>/dev/null || true
      ip netns del "$LAB_PREFIX$host"
    fi
    if [[ -e $LAB_RUN/uts/$host ]]; then
      umount "$LAB_RUN/uts/$host" 2>/dev/null || true
      rm -f "$LAB_RUN/uts/$host"
    fi
  done
  LAB_PAGE_PID=()
}
