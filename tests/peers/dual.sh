#!/usr/bin/env bash
# How long do two nodes answer for one address, when its owner stands still, dies, starves, is suspended, or when a
# split heals? Heartbeat 3.0.6, keepalived and pairbeat, each on two machines of its own, at the same time.
#
#   tests/peers/dual.sh               all three (some 100 s), a table, and the claims about pairbeat
#   tests/peers/dual.sh SYSTEM        one of them: a line `SYSTEM EVENT {...}` for each event
#   EVENTS="stop kill" ...            only these
#
# A client asks both nodes every 5 ms, each at its own hardware address, by ARP and by UDP (dual.rs). The machines are
# namespaces: the kernel of a machine that stands still, is killed or suspended goes on answering for every address that
# it has, which is harder than what a suspended virtual machine does. What each event is:
#
#   stop      SIGSTOP for every process of the cluster manager on the owner, SIGCONT after HOLD seconds
#   starve    they get 1 ms of processor time in each second, at ordinary priority, as beside a real-time hog
#   suspend   the freezer stops them, and lets them go on after HOLD seconds
#   split     nothing passes between the nodes, the client reaches both; counted from the moment it heals
#   kill      SIGKILL for all of them at once, and nobody tidies up
# Functions are called by the name of the system, of the event, and by trap.
# shellcheck disable=SC2317
set -euo pipefail
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
# shellcheck source=tests/lab/common.sh
source "$here/../lab/common.sh"
# shellcheck source=tests/peers/machines.sh
source "$here/machines.sh"
# shellcheck source=tests/peers/systems.sh
source "$here/systems.sh"
DUAL=$(realpath "${DUAL:-$PWD/target/debug/examples/dual}")
EVENTS=${EVENTS:-stop starve suspend split kill} HOLD=${HOLD:-4}
SYSTEMS=(heartbeat keepalived pairbeat)
# After an event, for what it brings about later.
AFTER=3
OWNER=server101
helpers=()

mac_of() { ip -n "$(net_of "$1")" -o link show eth0 | grep -o 'link/ether [^ ]*' | cut -d ' ' -f 2; }

servers_up() {
  local name
  for name in "${MACHINES[@]}"; do
    : >"$PEERS_RUN/serve.$name"
    ip netns exec "$(net_of "$name")" "$DUAL" serve "$VIP" >>"$PEERS_RUN/serve.$name" </dev/null &
    helpers+=($!)
    wait_for 10 "a server on $name" grep -q serving "$PEERS_RUN/serve.$name"
  done
}

# Asks in the background: asking is its process, PEERS_RUN/asked what it says.
ask() {
  : >"$PEERS_RUN/asked"
  ip netns exec "$(net_of client)" "$DUAL" ask --index "$(ip -n "$(net_of client)" -o link show eth0 | cut -d : -f 1)" \
    --own 192.168.2.7 --mac "$(mac_of client)" --vip "$VIP" --node "$(mac_of server101)" --node "$(mac_of server105)" \
    >>"$PEERS_RUN/asked" </dev/null &
  asking=$!
  wait_for 10 "the client asks" grep -q asking "$PEERS_RUN/asked"
}

owner_processes() { processes "$OWNER"; }
signal_owner() { owner_processes | xargs --no-run-if-empty kill "-$1" 2>/dev/null || true; }

stop() {
  signal_owner STOP
  sleep "$HOLD"
  signal_owner CONT
}

# group CONTROLLER: makes a control group, and prints its directory.
group() {
  local root=/sys/fs/cgroup/$1
  [[ ! -e /sys/fs/cgroup/cgroup.controllers ]] || root=/sys/fs/cgroup
  mkdir -p "$root/$peers_tag-$1"
  [[ ! -e $root/cgroup.subtree_control ]] || echo +cpu >"$root/cgroup.subtree_control" 2>/dev/null || true
  echo "$root/$peers_tag-$1"
}

move_owner() {
  local pid
  for pid in $(owner_processes); do echo "$pid" >"$1/cgroup.procs" || true; done 2>/dev/null
  grep -q . "$1/cgroup.procs" || die "$system: nothing could be moved to $1"
}

starve() {
  local where pid
  where=$(group cpu)
  for pid in $(owner_processes); do chrt --all-tasks --other --pid 0 "$pid" || true; done 2>/dev/null
  move_owner "$where"
  if [[ -e $where/cpu.max ]]; then echo "1000 1000000" >"$where/cpu.max"; else
    echo 1000000 >"$where/cpu.cfs_period_us"
    echo 1000 >"$where/cpu.cfs_quota_us"
  fi
  sleep "$HOLD"
  if [[ -e $where/cpu.max ]]; then echo max >"$where/cpu.max"; else echo -1 >"$where/cpu.cfs_quota_us"; fi
}

suspend() {
  local where
  where=$(group freezer)
  move_owner "$where"
  if [[ -e $where/cgroup.freeze ]]; then echo 1 >"$where/cgroup.freeze"; else echo FROZEN >"$where/freezer.state"; fi
  sleep "$HOLD"
  if [[ -e $where/cgroup.freeze ]]; then echo 0 >"$where/cgroup.freeze"; else echo THAWED >"$where/freezer.state"; fi
}

kill_() {
  local pids
  pids=$(owner_processes | sort --reverse --numeric-sort)
  # Stopped first and the first one killed last, so that none of them sees another one die and tidies up: the kernel
  # lets stopped children of a dead process go on.
  signal_owner STOP
  # shellcheck disable=SC2086
  kill -KILL $pids
  sleep "$HOLD"
}

# isolated on|off: whether the switch lets the two nodes see each other. The client sees both.
isolated() {
  local name
  for name in "${MACHINES[@]}"; do
    bridge -n "$(net_of lan)" link set dev "to-$name" isolated "$1"
    ip -n "$(net_of "$name")" link set eth1 "$([[ $1 == on ]] && echo down || echo up)"
  done
}

both_hold() { [[ $(holders | wc -l) == 2 ]]; }

split() {
  isolated on
  wait_for 20 "$system: both hold the address in the split" both_hold || true
  sleep 1
  isolated off
  kill -USR1 "$asking"
}

groups_down() {
  local where
  for where in /sys/fs/cgroup{,/cpu,/freezer}/"$peers_tag"-{cpu,freezer}; do
    [[ ! -d $where ]] || rmdir "$where" 2>/dev/null || true
  done
}

end() {
  local code=$? name pid
  if ((code)) && [[ -n ${system:-} ]]; then
    for name in "${MACHINES[@]}"; do headline "$system on $name" && "$system"_log "$name" | tail -n 40; done
  fi
  for pid in "${helpers[@]}" ${asking:-}; do kill "$pid" 2>/dev/null || true; done
  peers_end
  groups_down
}

settled() { "$system"_settled && [[ $(holders) == "$OWNER" ]]; }

# fresh: both machines are switched on, and the owner has the address.
fresh() {
  local name
  for name in "${!MACHINE_PID[@]}"; do machine_off "$name"; done
  for name in "${MACHINES[@]}"; do
    rm -rf "${PEERS_RUN:?}/$name"
    "$system"_configure "$name"
    machine_up "$name"
  done
  for name in "${MACHINES[@]}"; do "$system"_start "$name"; done
  wait_for 60 "$system: $OWNER has the address" settled
}

# through SYSTEM: every event.
through() {
  local event action said
  system=$1
  lan_up
  servers_up
  for event in $EVENTS; do
    fresh
    ask
    sleep 0.5
    action=$event
    [[ $event != kill ]] || action=kill_
    "$action"
    sleep "$AFTER"
    kill -TERM "$asking"
    wait "$asking" || die "$system, $event: the client's questions failed"
    asking=''
    said=$(tail -n 1 "$PEERS_RUN/asked")
    echo "$system $event $said"
  done
  system=''
}

# field NAME JSON-LINE
field() { [[ $2 =~ \"$1\":([0-9]+) ]] && echo "${BASH_REMATCH[1]}"; }

# judge EVENT LINE: what is promised of pairbeat.
judge() {
  local both bound
  # A keepalive interval and 50 ms for a split that heals, nothing at all for everything else.
  if [[ $1 == split ]]; then both=$(field both_after_ms "$2") bound=$((KEEPALIVE + 50)); else
    both=$(field both_ms "$2") bound=0
  fi
  if ((both <= bound)); then good "pairbeat, $1: both answered for $both ms (at most $bound)"; else
    bad "pairbeat, $1: both answered for $both ms (at most $bound): $2"
    wrong=1
  fi
  # The proof that the client was there, and that somebody took over.
  if (($(field first_ms "$2") > 0)) && { [[ $1 == split ]] || (($(field second_ms "$2") > 0)); }; then return; fi
  bad "pairbeat, $1: the peer did not take over: $2"
  wrong=1
}

# table FILE: milliseconds in which both answered and in which nobody did.
table() {
  local event name line both
  printf '\n| event |%s\n' "$(printf ' %s: both | nobody |' "${SYSTEMS[@]}")"
  for event in $EVENTS; do
    printf '| %s |' "$event"
    both=both_ms
    [[ $event != split ]] || both=both_after_ms
    for name in "${SYSTEMS[@]}"; do
      line=$(grep "^$name $event " "$1" || true)
      printf ' %s | %s |' "$(field "$both" "$line" || echo -)" "$(field nobody_ms "$line" || echo -)"
    done
    printf '\n'
  done
}

((EUID == 0)) || { skip "needs root"; exit 0; }
if (($#)); then
  trap end EXIT
  through "$1"
  exit 0
fi
need_packages /usr/libexec/heartbeat/heartbeat:heartbeat keepalived:keepalived nft:nftables chrt:util-linux
wrong=0 runs=() all=$PEERS_RUN/all
for name in "${SYSTEMS[@]}"; do
  bash "${BASH_SOURCE[0]}" "$name" >"$PEERS_RUN/of.$name" 2>&1 </dev/null &
  runs+=($!)
done
for run in "${runs[@]}"; do wait "$run" || wrong=1; done
cat "$PEERS_RUN"/of.* | tee "$all"
for event in $EVENTS; do
  if line=$(grep "^pairbeat $event " "$all"); then judge "$event" "$line"; else
    bad "pairbeat, $event: it did not come to an end"
    wrong=1
  fi
done
table "$all"
rm -rf "$PEERS_RUN"
exit "$wrong"
