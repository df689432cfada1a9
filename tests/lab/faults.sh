#!/usr/bin/env bash
# Faults that need a kernel of their own: bad networks, a clock that jumps, checks that meet trouble, processes starved
# of memory, time and descriptors. A client asks for the page the whole time.
#
#   faults.sh      needs root, IPVS, netem, cgroup v2, PAIRBEAT, PROBER; runs in the virtual machine only, as it sets
#                  the clock
# Functions are called by name, through claim.
# shellcheck disable=SC2317
set -euo pipefail
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
# shellcheck source=tests/lab/common.sh
source "$here/common.sh"
# shellcheck source=tests/lab/topology.sh
source "$here/topology.sh"
# shellcheck source=tests/lab/nodes.sh
source "$here/nodes.sh"

: "${PAIRBEAT:?the binary}" "${PROBER:?the prober binary}"
[[ ${PAIRBEAT_VM:-} == 1 ]] || die "only in the virtual machine: it sets the clock"
conf=$NODE_CONFIG/ldirectord.cf
cgroup=/sys/fs/cgroup

# served WHAT COMMAND...: a client asks 50 times a second while the command runs; not one request fails.
served() {
  local what=$1 failed
  shift
  probe_start 50
  mark begin
  sleep 0.3
  "$@"
  sleep 1
  probe_stop
  failed=$(probe_value /marks/0/failed)
  claim "$what: $(probe_value /marks/0/answered) requests answered, none failed" test "$failed" = 0
}

quiet() { ! grep -qE 'is dead|link .* is down|starting here' <(tail -n "+$1" "$LAB_RUN/log/$2"); }
# nobody_died: since `remember`, nobody was called dead and nothing moved.
marks_of_logs() { for node in "${NODES[@]}"; do wc -l <"$LAB_RUN/log/$node"; done; }
same_roles() { node_active server101 && node_standby server105; }
nobody_died() { quiet "$((log_lines[0] + 1))" server101 && quiet "$((log_lines[1] + 1))" server105; }
remember() { mapfile -t log_lines < <(marks_of_logs); }

start() {
  headline "A pair with a director"
  node_start server101
  node_start server105
  wait_for 10 "server101 active" node_active server101 || die "without a cluster there is nothing to test"
  wait_for 10 "server105 standby" node_standby server105 || die "no standby"
  claim "both real servers are in" wait_for 10 "both" both
}

both() { [[ $(ask 8) == server106*,server107* ]]; }
ask() {
  lab_exec client "$PROBER" probe "$VIP:80" --count "$1" --rate 70 --summary "$LAB_RUN/asked" || return
  "$PROBER" json /servers <"$LAB_RUN/asked" | tr -d '{}"' | tr ':,' ' ,'
}

# The cable is the only way of the heartbeats then, and as bad as the words say.
bad_cable() {
  local node
  for node in "${NODES[@]}"; do
    lab_exec "$node" tc qdisc replace dev eth1 root netem "$@"
    lab_exec "$node" nft -f - <<'RULES'
table inet faults
delete table inet faults
table inet faults {
  chain in { type filter hook input priority 0; iifname "eth0" udp dport 694 drop; }
}
RULES
  done
}

good_cable() {
  local node
  for node in "${NODES[@]}"; do
    lab_exec "$node" tc qdisc del dev eth1 root
    lab_exec "$node" nft delete table inet faults
  done
}

one_link_left() { node_is server101 /links/0/state down && node_is server105 /links/0/state down; }

a_bad_network() {
  headline "Heartbeats over one bad cable: lost, doubled, late, out of order"
  bad_cable loss 10% duplicate 30%
  claim "the other link is down" wait_for 5 "eth0" one_link_left
  remember
  served "a tenth lost, a third doubled" sleep 5
  claim "nobody is called dead" nobody_died
  bad_cable delay 100ms 100ms 25% reorder 50%
  sleep 1
  remember
  served "up to 200 ms late and out of order" sleep 5
  claim "nobody is called dead" nobody_died
  # Twice the deadtime, but every 100 ms one arrives.
  bad_cable delay 1000ms
  sleep 2
  remember
  served "every heartbeat twice the deadtime late" sleep 5
  claim "server101 has the group, server105 waits" node_is server101 /groups/0/state active
  good_cable
  claim "and both know each other when it is mended" wait_for 5 "roles" same_roles
}

clock_jumps() {
  headline "The wall clock jumps"
  remember
  served "an hour on and two back, in the middle of it" jump
  claim "nobody is called dead, nothing moves" nobody_died
  claim "roles as before" same_roles
}

jump() {
  local step
  for step in '+1 hour' '-2 hours' '+1 hour'; do
    date -s "$(date '+%F %T') $step" >/dev/null
    sleep 2
  done
}

# Real servers as nobody wants them, beside the two good ones.
troubled_checks() {
  local port=9000 trouble pids=()
  headline "Checks that meet trouble"
  for trouble in tarpit slow endless reset; do
    port=$((port + 1))
    lab_become rs106 "$PROBER" trouble "0.0.0.0:$port" "$trouble" </dev/null >/dev/null 2>&1 &
    pids+=($!)
    disown
    troubled_service "$port" http
  done
  troubled_service 9001 https 9005
  # Nobody listens; and an ICMP error.
  troubled_service 9006 http
  troubled_service 9007 http
  lab_exec rs106 nft -f - <<'RULES'
table inet faults {
  chain in { type filter hook input priority 0; tcp dport 9007 reject with icmpx type host-unreachable; }
}
RULES
  remember
  served "two good servers beside seven bad ones" reload_and_wait
  claim "each bad one is down, with its reason" all_bad
  claim "nobody is called dead, nothing moves" nobody_died
  claim "the checker has taken no more than 64 MB" test "$(checker_memory)" -le 65536
  mark_bad
  kill -KILL "${pids[@]}"
  lab_exec rs106 nft delete table inet faults
  sed -i '/^# trouble/,$d' "$conf"
  claim "the old file is in force again" node_ask server101 reload
  node_ask server105 reload
}

troubled_service() {
  local real=$1 service=$2 port=${3:-$1}
  cat >>"$conf" <<CONFIG
# trouble
virtual=$VIP:$port
	real=192.168.2.106:$real gate
	service=$service
	checktype=negotiate
	request="index.html"
	receive="server"
	scheduler=rr
	protocol=tcp
CONFIG
}

reload_and_wait() {
  node_ask server101 reload || bad "not reloaded"
  node_ask server105 reload || bad "not reloaded"
  sleep 5
}
all_bad() {
  local index
  for index in 1 2 3 4 5 6 7; do
    [[ $(node_value server101 "/virtual/$index/real/0/up") == false ]] || return
    [[ $(node_value server101 "/virtual/$index/real/0/cause") != null ]] || return
  done
}
mark_bad() {
  local index
  for index in 1 2 3 4 5 6 7; do
    remark "$(node_value server101 "/virtual/$index/service"): $(node_value server101 "/virtual/$index/real/0/cause")"
  done
}

# checker NODE: its process.
checker() {
  local pid
  for pid in $(node_pids "$1"); do
    if [[ " $(tr '\0' ' ' <"/proc/$pid/cmdline") " == *' checker '* ]]; then
      echo "$pid"
      return
    fi
  done
}
checker_memory() { awk '/VmHWM/ {print $2}' "/proc/$(checker server101)/status"; }

# in_group NAME SETTING VALUE PID...: the processes get a cgroup with one limit.
in_group() {
  local group=$cgroup/$1 setting=$2 value=$3 pid
  shift 3
  mkdir -p "$group"
  echo "$value" >"$group/$setting"
  for pid; do echo "$pid" >"$group/cgroup.procs"; done
}

out_of_memory() {
  headline "The OOM killer takes the checker"
  local before
  before=$(checker server101)
  remember
  served "while it is killed and replaced" oom "$before"
  claim "it was the OOM killer" grep -q 'oom_kill [1-9]' "$cgroup/small/memory.events"
  claim "another one runs" test "$(checker server101)" != "$before"
  claim "nothing else happens" nobody_died
}

oom() {
  in_group small memory.max 0 "$1"
  wait_for 10 "the checker is gone" test ! -d "/proc/$1"
  wait_for 10 "a new one" has_checker
}
has_checker() { [[ -n $(checker server101) ]]; }

out_of_descriptors() {
  headline "The checker can open nothing more"
  remember
  prlimit --pid "$(checker server101)" --nofile=4:
  served "servers stay in" sleep 4
  claim "the status says that they are not checked" says_hindered
  claim "both are still in the kernel's table" both
  prlimit --pid "$(checker server101)" --nofile=1024:
  lab_page_dies rs107
  claim "with descriptors again, a server that dies is taken out" wait_for 5 "107 out" only_106
  lab_page rs107 server107
  claim "and comes back" wait_for 5 "both" both
  claim "heartbeats went on" nobody_died
}
says_hindered() { node_ask server101 status | grep -q "can't be carried out"; }
only_106() { [[ $(ask 4) == "server106 4" ]]; }

starved() {
  headline "A twentieth of a CPU for the whole active node"
  local pids
  mapfile -t pids < <(node_pids server101)
  in_group starved cpu.max "5000 100000" "${pids[@]}"
  remember
  served "with 5 % of a CPU" sleep 6
  claim "nobody is called dead" nobody_died
  claim "a planned switch still works" starved_switch
  echo max >"$cgroup/starved/cpu.max"
  node_ask server101 takeover >/dev/null 2>&1 || true
  claim "and back" wait_for 10 "roles" same_roles
}
starved_switch() { node_ask server101 standby >"$LAB_RUN/log/standby" 2>&1 && node_active server105; }

lab_warm
modprobe -qa sch_netem nft_reject_inet 2>/dev/null || true
for controller in memory cpu; do echo "+$controller" >"$cgroup/cgroup.subtree_control" || say "no $controller"; done
trap nodes_leave EXIT
lab_up
nodes_configure
# shellcheck disable=SC2034 # set by remember
log_lines=(0 0)
start
for what in ${FAULTS:-a_bad_network clock_jumps troubled_checks out_of_memory out_of_descriptors starved}; do
  "$what"
done
((faults == 0)) || die "$faults claims did not hold"
headline "The faults are borne."
