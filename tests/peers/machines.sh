# shellcheck shell=bash
# Two machines on a LAN for cluster managers that were not made to share one: each has its own network, files
# under /etc/ha.d, /run and /var/lib, hostname, and processes. Sourced after ../lab/common.sh, never run.
#
#   server101 192.168.2.101 --+-- bridge --+-- 192.168.2.105 server105
#                             |            |                           and a second cable between the two:
#                          client 192.168.2.7                          10.0.0.1 -- 10.0.0.2 on eth1
#
# It does not know what runs on them (heartbeat.sh, keepalived.sh, pairbeat.sh).

PEERS_RUN=$(mktemp -d "${TMPDIR:-/tmp}/pairbeat-peers-XXXXXX")
peers_tag=pp$$
# shellcheck disable=SC2034 # for those who source this
MACHINES=(server101 server105) VIP=192.168.2.110
declare -A MACHINE_PID=()
declare -A machine_number=([server101]=101 [server105]=105 [client]=7)

net_of() { echo "$peers_tag-$1"; }

lan_up() {
  local name net
  ip netns add "$(net_of lan)"
  ip -n "$(net_of lan)" link add br0 type bridge
  ip -n "$(net_of lan)" link set br0 up
  for name in server101 server105 client; do
    net=$(net_of "$name")
    ip netns add "$net"
    ip -n "$net" link set lo up
    ip -n "$(net_of lan)" link add "to-$name" type veth peer name eth0 netns "$net"
    ip -n "$(net_of lan)" link set "to-$name" master br0 up
    ip -n "$net" link set eth0 up
    ip -n "$net" address add "192.168.2.${machine_number[$name]}/24" brd + dev eth0
  done
  ip -n "$(net_of server101)" link add eth1 type veth peer name eth1 netns "$(net_of server105)"
  ip -n "$(net_of server101)" address add 10.0.0.1/24 dev eth1
  ip -n "$(net_of server105)" address add 10.0.0.2/24 dev eth1
  for name in server101 server105; do ip -n "$(net_of "$name")" link set eth1 up; done
}

lan_down() {
  local name
  for name in lan server101 server105 client; do ip netns delete "$(net_of "$name")" 2>/dev/null || true; done
}

# machine_up NAME: switched on, with what DIRECTORY/etc holds as its /etc/ha.d. Its first process is a shell that
# waits; the network stays when it dies, its files too.
machine_up() {
  local name=$1 home=$PEERS_RUN/$1
  mkdir -p "$home"/{etc,lib/heartbeat,lib/pairbeat}
  cat >"$home/init" <<INIT
ulimit -l unlimited
hostname $name
mount -t tmpfs none /run
mkdir -p /run/heartbeat/{ccm,dopd,crm,rsctmp} /run/resource-agents /run/lock/subsys
chown -R hacluster:haclient /run/heartbeat 2>/dev/null
mkdir -p $home/lib/heartbeat/{api,casual,ccm,ckpt,cores/{root,nobody,hacluster},crm,pengine}
chown -R hacluster:haclient $home/lib/heartbeat 2>/dev/null
chown root:root $home/lib/heartbeat/cores/root
mkdir -p /etc/ha.d /var/lib/heartbeat /var/lib/pairbeat
mount --bind $home/etc /etc/ha.d
mount --bind $home/lib/heartbeat /var/lib/heartbeat
mount --bind $home/lib/pairbeat /var/lib/pairbeat
for program in /usr/bin/systemctl /usr/sbin/reboot /sbin/reboot; do
  [ ! -e \$program ] || mount --bind $home/reboot \$program
done
echo \$\$ >/run/up
touch $home/up
trap : TERM INT
while :; do sleep 1000 & wait \$!; done
INIT
  # What a cluster manager in despair calls: it must end this machine only.
  printf '#!/bin/sh\necho reboot >>%s/reboots\n' "$home" >"$home/reboot"
  chmod +x "$home/reboot"
  rm -f "$home/up"
  ip netns exec "$(net_of "$name")" unshare --mount --uts --ipc --pid --fork --kill-child --mount-proc \
    --propagation private bash "$home/init" </dev/null >"$home/init.log" 2>&1 &
  MACHINE_PID[$name]=$!
  wait_for 10 "$name is switched on" test -e "$home/up"
}

# The first process of the machine, as this machine numbers it.
machine_init() { tr -d " " <"/proc/${MACHINE_PID[$1]}/task/${MACHINE_PID[$1]}/children"; }

# machine_off NAME: power off. Its addresses go with it, as those of a machine would.
machine_off() {
  local job
  kill -KILL "${MACHINE_PID[$1]}" 2>/dev/null || true
  wait "${MACHINE_PID[$1]}" 2>/dev/null || true
  # An nsenter stops with the process that it waits for, and does not see its end until it goes on.
  for job in $(jobs -p); do pkill -CONT -P "$job" nsenter 2>/dev/null || true; done
  ip -n "$(net_of "$1")" address delete "$VIP/24" dev eth0 2>/dev/null || true
}

# on NAME COMMAND...: there.
on() {
  local name=$1
  shift
  nsenter --target "$(machine_init "$name")" --all -- "$@"
}

# processes NAME [PATTERN]: of the machine but its first one, as this machine numbers them.
processes() {
  local space pid init
  init=$(machine_init "$1")
  space=$(readlink "/proc/$init/ns/pid")
  for pid in /proc/[0-9]*; do
    [[ $(readlink "$pid/ns/pid" 2>/dev/null) == "$space" && ${pid#/proc/} != "$init" ]] || continue
    [[ -z ${2:-} || $(cat "$pid/comm" 2>/dev/null) =~ $2 ]] || continue
    echo "${pid#/proc/}"
  done
}

cable_cut() { ip -n "$(net_of server101)" link set eth1 down; }
lan_cut() { ip -n "$(net_of lan)" link set "to-$1" down; }
cables_mended() {
  local name
  for name in server101 server105; do
    ip -n "$(net_of lan)" link set "to-$name" up
    ip -n "$(net_of "$name")" link set eth1 up
  done
}

# Who has the VIP on its interface.
holders() {
  local name
  for name in server101 server105; do
    ! ip -n "$(net_of "$name")" -4 address show dev eth0 | grep -q " $VIP/" || echo "$name"
  done
}

peers_end() {
  local name
  for name in "${!MACHINE_PID[@]}"; do machine_off "$name"; done
  lan_down
  rm -rf "$PEERS_RUN"
}
