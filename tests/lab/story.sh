#!/usr/bin/env bash
# The story of the Heartbeat+LVS tutorial, told live: what the cluster does for its clients, step by step, with what a
# client measured. Fails where a step does not hold within its time.
#
#   story.sh      needs root, IPVS, PAIRBEAT, PROBER; see in_lab of common.sh
set -euo pipefail
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
# shellcheck source=tests/lab/common.sh
source "$here/common.sh"
# shellcheck source=tests/lab/topology.sh
source "$here/topology.sh"
# shellcheck source=tests/lab/nodes.sh
source "$here/nodes.sh"

: "${PAIRBEAT:?the binary}" "${PROBER:?the prober binary}"
steps=0

# A client asks 100 times a second during each step; these are the steps' first and last lines.
step() {
  steps=$((steps + 1))
  headline "$steps. $1"
}

at_most() { awk -v got="$1" -v most="$2" 'BEGIN {exit !(got != "null" && got <= most)}'; }

# measured BOUND_MS|any FAILED|any: what the client saw since the step's mark, and whether that is within bounds.
measured() {
  local bound=$1 allowed=$2 gap restored failed answered
  probe_stop
  cp "$LAB_RUN/summary" "${LAB_RESULTS:-$LAB_RUN}/step-$steps.json"
  cp "$LAB_RUN/requests" "${LAB_RESULTS:-$LAB_RUN}/step-$steps.log"
  mapfile -t seen < <(probe_value /marks/0/gap_ms /marks/0/restored_ms /marks/0/failed /marks/0/answered)
  gap=${seen[0]} restored=${seen[1]} failed=${seen[2]} answered=${seen[3]}
  say "  client: longest time without an answer ${bold}$gap ms${plain}, $answered answered, $failed failed"
  ((failed == 0)) || say "          all well again $restored ms after the event"
  [[ $allowed == any ]] || claim "no request failed" test "$failed" -le "$allowed"
  [[ $bound == any ]] || claim "served again within $bound ms" at_most "$restored" "$bound"
}

servers() { probe_value /marks/0/servers | tr -d '{}"' | tr ':,' ' ,'; }

# real_is NODE INDEX true|false: what the active director says of a real server.
real_is() { node_is "$1" "/virtual/0/real/$2/up" "$3"; }
only() { [[ $(ask 8) == "$1 8" ]]; }
both() { [[ $(ask 8) == server106*,server107* ]]; }

alone_answers() { [[ $(lab_answering) == "$(lab_mac "$1")" ]]; }

show() {
  remark "\$ $1"
  shift
  "$@" 2>&1 | sed 's/^/    /' || true
}

picture() {
  cat <<'PICTURE'

   client .50        gateway .1
       |                 |          192.168.2.0/24      VIP 192.168.2.110
  =====+=====+===========+=====+=============+============+=====
             |                 |             |            |
        [server101]=========[server105]   [rs 106]     [rs 107]
         director   heartbeat  director     web          web
         + sorry page          + sorry page

PICTURE
  remark "haresources:  $(<"$NODE_CONFIG/haresources")"
  remark "ha.cf:        keepalive $KEEPALIVE ms, deadtime $DEADTIME ms, two links, auto_failback off"
  remark "In every step a client asks 100 times a second, each time on a fresh connection."
}

both_start() {
  step "Both directors are started"
  probe_start 100
  mark start
  node_start server101
  node_start server105
  claim "server101 is active" wait_for 10 "server101 active" node_active server101
  claim "server105 is its warm standby" wait_for 10 "server105 standby" node_standby server105
  claim "both real servers are in" wait_for 10 "both in the pool" both
  probe_stop
  ((faults == 0)) || die "without a cluster there is no story"
  show "pairbeat status" node_ask server101 status
  show "ipvsadm -Ln" lab_exec server101 ipvsadm -Ln
}

balance() {
  local seen
  step "32 requests"
  seen=$(ask 32)
  claim "split 16:16 ($seen)" test "$seen" = "server106 16,server107 16"
}

real_server_dies() {
  step "A real server dies: the web server of 192.168.2.106 is killed"
  probe_start 100
  mark dies
  lab_page_dies rs106
  claim "it is taken out" wait_for 5 "106 down in the status" real_is server101 0 false
  sleep 1
  measured 4000 any
  claim "192.168.2.107 answers alone" only server107
  step "It comes back"
  probe_start 100
  mark back
  lab_page rs106 server106
  claim "it is in again" wait_for 5 "both in the pool" both
  sleep 1
  measured any 0
}

all_die() {
  step "Both real servers die"
  probe_start 100
  mark die
  lab_page_dies rs106
  lab_page_dies rs107
  claim "clients see the sorry page" wait_for 6 "the sorry page" only sorry
  sleep 1
  measured 5000 any
  show "ipvsadm -Ln" lab_exec server101 ipvsadm -Ln
  step "Both come back"
  probe_start 100
  mark back
  lab_page rs106 server106
  lab_page rs107 server107
  claim "they answer again, the sorry page is out" wait_for 6 "both in the pool" both
  sleep 1
  measured any 0
}

active_is_killed() {
  step "The active director is killed: SIGKILL to every pairbeat process on server101"
  probe_start 100
  sleep 0.5
  node_crash server101 "$MARKS"
  claim "server105 has taken over" wait_for 5 "server105 active" node_active server105
  sleep 1
  measured $((DEADTIME + 150)) any
  claim "the kernel of server101 does not answer for the VIP any more" alone_answers server105
  show "pairbeat status    (server105)" node_ask server105 status
  step "server101 comes back"
  probe_start 100
  mark back
  node_start server101
  claim "it joins as standby" wait_for 10 "server101 standby" node_standby server101
  sleep 1
  measured any 0
  claim "server105 is still active" node_active server105
}

planned() {
  step "Planned: pairbeat standby on server105"
  probe_start 100
  sleep 0.5
  mark standby
  show "pairbeat standby" node_ask server105 standby
  claim "server101 is active" wait_for 5 "server101 active" node_active server101
  sleep 1
  measured any 0
  step "Planned: pairbeat takeover on server105"
  probe_start 100
  sleep 0.5
  mark takeover
  show "pairbeat takeover" node_ask server105 takeover
  claim "server105 is active" wait_for 5 "server105 active" node_active server105
  sleep 1
  measured any 0
}

the_end() {
  step "Both are stopped"
  claim "they end, and the VIP is gone from both" nodes_stop
}

# On a failure the nodes' own words are what one wants to read.
trap nodes_leave EXIT
rm -rf "$LAB_RUN"
[[ -z ${LAB_RESULTS:-} ]] || rm -rf "$LAB_RESULTS"/{step-*,story-logs}
lab_warm
lab_up
nodes_configure
picture
both_start
balance
real_server_dies
all_die
active_is_killed
planned
the_end
say
((faults == 0)) || die "$faults claims of the story did not hold"
say "${green}The story holds:${plain} $steps steps, every claim as stated."
