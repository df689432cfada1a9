# shellcheck shell=bash
# The two directors: their configuration, their processes, what they say of themselves. Sourced after
# common.sh and topology.sh, never run.
#
# Both nodes use the same configuration directory, an /etc/ha.d as the tutorial has it, with the short times
# of the lab. Uses PAIRBEAT (the binary) and PROBER.

export KEEPALIVE=${KEEPALIVE:-100} DEADTIME=${DEADTIME:-500} INITDEAD=${INITDEAD:-1500} # milliseconds
NODE_CONFIG=$LAB_RUN/ha.d
# shellcheck disable=SC2034 # for those who source this
NODES=(server101 server105)
declare -A NODE_PID=()

nodes_configure() {
  mkdir -p "$NODE_CONFIG"
  cat >"$NODE_CONFIG/ha.cf" <<CONFIG
keepalive ${KEEPALIVE}ms
warntime $((DEADTIME / 2))ms
deadtime ${DEADTIME}ms
initdead ${INITDEAD}ms
udpport 694
ucast eth0 192.168.2.101
ucast eth0 192.168.2.105
ucast eth1 10.0.0.1
ucast eth1 10.0.0.2
auto_failback off
node server101
node server105
CONFIG
  echo "server101 IPaddr2::$VIP/24/eth0 ldirectord::ldirectord.cf" >"$NODE_CONFIG/haresources"
  cat >"$NODE_CONFIG/ldirectord.cf" <<CONFIG
checktimeout=1
checkinterval=1
quiescent=no
virtual=$VIP:80
	real=192.168.2.106:80 gate
	real=192.168.2.107:80 gate
	fallback=127.0.0.1:80 gate
	service=http
	checktype=negotiate
	request="index.html"
	receive="server"
	scheduler=rr
	protocol=tcp
CONFIG
  (
    umask 077
    printf 'auth 1\n1 sha256 %s\n' "$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')" >"$NODE_CONFIG/authkeys"
  )
}

# The pair by a pairbeat.toml: cluster and link, and what comes from the standard input. Called again it keeps the key.
nodes_configure_pair() {
  mkdir -p "$NODE_CONFIG"
  [[ -e $NODE_CONFIG/keys ]] || (umask 077 && "$PAIRBEAT" keygen >"$NODE_CONFIG/keys")
  {
    cat <<CONFIG
[cluster]
nodes = ["server101", "server105"]
keepalive = "${KEEPALIVE}ms"
deadtime = "${DEADTIME}ms"
warntime = "$((DEADTIME / 2))ms"
initdead = "${INITDEAD}ms"

[[link]]
interface = "eth1"
peers = ["10.0.0.1", "10.0.0.2"]

CONFIG
    cat
  } >"$NODE_CONFIG/pairbeat.toml"
}

# The same with one group and its director `web`, which comes from the standard input.
nodes_configure_toml() {
  {
    cat <<CONFIG
[[group]]
name = "web"
preferred = "server101"
resources = ["$VIP/24/eth0", { director = "web" }]

CONFIG
    cat
  } | nodes_configure_pair
}

# page_block PAGE WHOSE: the block that stands below `<!-- WHOSE -->` in a page of docs/forwarding.
page_block() {
  awk -v begin="<!-- $2 -->" '$0 == begin {found = 1; next} found && /^```/ {if (inside) exit; inside = 1; next} inside' \
    "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/../../docs/forwarding/$1.md"
}

# page_on HOST PAGE WHOSE: runs that block there as a reader would by hand; `pairbeat` is ours, with a memory for each host.
page_on() {
  local bin=$LAB_RUN/$1-bin
  mkdir -p "$bin"
  printf '#!/bin/sh\nexec %s --state-dir %s "$@"\n' "$PAIRBEAT" "$bin/state" >"$bin/pairbeat"
  chmod +x "$bin/pairbeat"
  REAL=192.168.2.${LAB_ADDRESS[$1]} PATH=$bin:$PATH lab_exec "$1" bash -euc "$(page_block "$2" "$3")" >>"$LAB_RUN/log/page-$2" 2>&1
}

node_options() {
  printf '%s\n' --config "$NODE_CONFIG" --node "$1" --runtime-dir "$LAB_RUN/$1/run" --state-dir "$LAB_RUN/$1/state"
}

node_start() {
  local options
  mkdir -p "$LAB_RUN/$1/run" "$LAB_RUN/$1/state"
  mapfile -t options < <(node_options "$1")
  lab_become "$1" "$PAIRBEAT" "${options[@]}" run </dev/null >>"$LAB_RUN/log/$1" 2>&1 &
  NODE_PID[$1]=$!
  disown
}

# node_ask NODE COMMAND...: the command line, as the operator would use it on that node.
node_ask() {
  local node=$1 options
  mapfile -t options < <(node_options "$node")
  shift
  lab_exec "$node" "$PAIRBEAT" "${options[@]}" "$@"
}

node_value() { node_ask "$1" status --json 2>/dev/null | "$PROBER" json "$2" 2>/dev/null; }
node_is() { [[ $(node_value "$1" "$2") == "$3" ]]; }
node_active() { node_is "$1" /groups/0/state active; }
node_standby() { node_is "$1" /groups/0/state standby && node_is "$1" /peer/state up; }
# The group is on this node, and the other one is ready to take it.
nodes_settled() { node_active "$1" && node_standby "$(other "$1")"; }
other() { if [[ $1 == server101 ]]; then echo server105; else echo server101; fi; }

# Every process of the node, the supervisor first: all that is in its namespace but the web server. The
# order matters: who dies last must not be able to tidy up after the others.
node_pids() {
  local pid
  echo "${NODE_PID[$1]}"
  for pid in $(ip netns pids "$LAB_PREFIX$1"); do
    [[ $pid == "${NODE_PID[$1]}" || $pid == "${LAB_PAGE_PID[$1]:-}" ]] || echo "$pid"
  done
}

# The core: the supervisor's child that calls itself so, in its arguments or its process name.
node_core() {
  local pid name
  for pid in $(node_pids "$1"); do
    [[ $pid != "${NODE_PID[$1]}" ]] || continue
    name=$(tr '\0' ' ' <"/proc/$pid/cmdline") 2>/dev/null || continue
    # The state directory's path must not decide.
    if [[ $(<"/proc/$pid/comm") == *core* || " $name " == *' core '* || ${name%% *} == *core ]]; then
      echo "$pid"
      return
    fi
  done
  return 1
}

# node_crash NODE MARKS: SIGKILL to all its processes at once; node_core_crash: to the core alone.
node_crash() {
  local pids
  mapfile -t pids < <(node_pids "$1")
  "$PROBER" kill "$2" crash "${pids[@]}"
}

node_core_crash() {
  local core
  core=$(node_core "$1") || {
    bad "no process of $1 calls itself core"
    return 1
  }
  "$PROBER" kill "$2" core "$core"
}

# node_reboot NODE: a crash of the machine. The namespace goes with everything in its kernel: addresses, IPVS, the cable, of
# which the other end goes too. node_boot brings it back and starts it, with an empty table.
node_reboot() {
  local pids
  mapfile -t pids < <(node_pids "$1")
  # A machine dies as a whole: a core that sees its supervisor die before itself begins to hand over.
  kill -STOP "${pids[@]}"
  node_crash "$1" "$LAB_RUN/marks"
  nodes_wipe "$1"
  lab_page_dies "$1"
  ip netns del "$LAB_PREFIX$1"
  umount "$LAB_RUN/uts/$1"
}

node_boot() {
  lab_host "$1"
  ip -n "$LAB_PREFIX$1" link add eth1 type veth peer name eth1 netns "$LAB_PREFIX$(other "$1")"
  lab_cable server101 10.0.0.1
  lab_cable server105 10.0.0.2
  lab_director "$1"
  node_start "$1"
}

node_gone() { [[ ! -d /proc/${NODE_PID[$1]:-none} ]]; }
node_holds_vip() { ip -n "$LAB_PREFIX$1" -oneline address show to "$VIP" dev eth0 | grep -q .; }

# nodes_stop: SIGTERM to both, an end within 10 s, no address left behind; what remains is killed and is a fault.
nodes_stop() {
  local node fault=0
  for node in "${!NODE_PID[@]}"; do kill -TERM "${NODE_PID[$node]}" 2>/dev/null || true; done
  for node in "${!NODE_PID[@]}"; do
    wait_for 10 "$node ends at SIGTERM" node_gone "$node" || fault=1
    if node_holds_vip "$node"; then
      bad "$node left the VIP behind"
      fault=1
    fi
    nodes_wipe "$node"
  done
  return "$fault"
}

# Back to a machine that has never run pairbeat, whatever state it is in.
nodes_wipe() {
  local pids
  mapfile -t pids < <(node_pids "$1" 2>/dev/null)
  ((${#pids[@]} == 0)) || kill -KILL "${pids[@]}" 2>/dev/null || true
  unset "NODE_PID[$1]"
  ip -n "$LAB_PREFIX$1" address flush dev eth0 to "$VIP" 2>/dev/null || true
  rm -rf "${LAB_RUN:?}/$1"
}

# Set as the trap of EXIT: what the nodes said last, and what the script's own `last_words` adds, where something went
# wrong; the logs stay in LAB_RESULTS, the topology goes.
# shellcheck disable=SC2154 # faults is set by common.sh
nodes_leave() {
  local code=$? node
  if ((code != 0 || faults > 0)); then
    for node in "${NODES[@]}"; do
      say "--- the last words of $node"
      tail -n 40 "$LAB_RUN/log/$node" 2>/dev/null || true
    done
    ! declare -F last_words >/dev/null || last_words
  fi
  [[ -z ${LAB_RESULTS:-} ]] || cp -r "$LAB_RUN/log" "$LAB_RESULTS/$(basename "$0" .sh)-logs" 2>/dev/null || true
  lab_down
  exit "$code"
}

# The client at work: probe_start RATE, then marks, then probe_stop; probe_value POINTER reads the summary.
probe_start() {
  MARKS=$LAB_RUN/marks
  rm -f "$MARKS" "$LAB_RUN/summary"
  lab_become client "$PROBER" probe "$VIP:80" --rate "$1" --marks "$MARKS" --summary "$LAB_RUN/summary" \
    --log "$LAB_RUN/requests" &
  PROBE_PID=$!
}

probe_stop() {
  kill -TERM "$PROBE_PID"
  wait "$PROBE_PID" || die "the prober failed"
}

# Connections that stay open, a byte there and back on each every so many milliseconds. hold_begin PORT COUNT MILLISECONDS;
# hold_ready PORT once each has had an answer; hold_end PORT adds to `broken` how many have broken, and to `longest` the longest wait.
declare -A HOLD_PID=()
hold_begin() {
  rm -f "$LAB_RUN/ready-$1" "$LAB_RUN/held-$1"
  lab_become client "$PROBER" hold "$VIP:$1" --connections "$2" --every "$3" \
    --ready "$LAB_RUN/ready-$1" --summary "$LAB_RUN/held-$1" 2>"$LAB_RUN/log/hold-$1" &
  HOLD_PID[$1]=$!
}
hold_ready() { wait_for 20 "the connections to port $1" test -e "$LAB_RUN/ready-$1"; }
hold_end() {
  kill -TERM "${HOLD_PID[$1]}"
  wait "${HOLD_PID[$1]}" || die "the client failed: $(tail -1 "$LAB_RUN/log/hold-$1")"
  mapfile -t seen < <("$PROBER" json /broken /longest_ms /why <"$LAB_RUN/held-$1")
  broken=$((broken + seen[0])) longest=$((longest > seen[1] ? longest : seen[1]))
  ((seen[0] == 0)) || say "  port $1: ${seen[2]}"
}

# ask COUNT [ADDRESS]: that many requests, and who answered them. At another rate than a step's client, whose
# requests would take every second turn of the round robin otherwise.
ask() {
  lab_exec client "$PROBER" probe "${2:-$VIP:80}" --count "$1" --rate 70 --summary "$LAB_RUN/asked" || return
  "$PROBER" json /servers <"$LAB_RUN/asked" | tr -d '{}"' | tr ':,' ' ,'
}

mark() { "$PROBER" mark "$MARKS" "$1"; }
probe_value() { "$PROBER" json "$@" <"$LAB_RUN/summary"; }

# Modules, programs and libraries before they are needed: in the VM, time passes strangely while the guest
# waits for one through 9p (see `vm`).
lab_warm() {
  local program
  modprobe -qa ip_vs ip_vs_rr ip_vs_wrr ip_vs_wlc nf_tables nfnetlink veth bridge 2>/dev/null || true
  [[ ${PAIRBEAT_VM:-} == 1 ]] || return 0
  for program in ip ipvsadm nsenter sleep tail cat tr rm mkdir cp sed awk grep; do command -v "$program"; done |
    while read -r program; do
      ldd "$program" | grep -o '/[^ ]*'
      echo "$program"
    done | sort -u | xargs cat "$PAIRBEAT" "$PROBER" >/dev/null
}
