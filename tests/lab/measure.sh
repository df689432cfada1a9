#!/usr/bin/env bash
# The promises in numbers, RUNS times (default 10), each run on two freshly started nodes:
#
#   together   both start; answered within 1 s of the moment both have been heard on the wire
#   standby    `pairbeat standby` on the active node; no failed request at 100 a second
#   takeover   `pairbeat takeover` on the standby node; likewise
#   core       SIGKILL of the active node's core alone; answered again within 100 ms
#   crash      SIGKILL of all processes of the active node; again within deadtime + 150 ms;
#              the dead node's kernel does not answer ARP for the VIP any more; and after its restart no
#              request fails (`rejoin`)
#   alone      one node alone; answered within initdead + 200 ms of its first beat
#
# Times are the client's and the machine's own (in the VM: emulated): from the event to `restored_ms` of
# tests/lab/prober/report.rs. Every run must keep within the bounds. Table at the end; single values in
# LAB_RESULTS/measure.csv. RATE (default 100) requests a second.
set -euo pipefail
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
# shellcheck source=tests/lab/common.sh
source "$here/common.sh"
# shellcheck source=tests/lab/topology.sh
source "$here/topology.sh"
# shellcheck source=tests/lab/nodes.sh
source "$here/nodes.sh"

: "${PAIRBEAT:?the binary}" "${PROBER:?the prober binary}" "${LAB_RESULTS:?where results go}"
runs=${RUNS:-10} rate=${RATE:-100}
csv=$LAB_RESULTS/measure.csv
# What takes place in one run, in this order, and the bound on `restored_ms`; `none` means no failed request.
scenarios=(together standby takeover core crash rejoin alone)
declare -A bound=([together]=1000 [standby]=none [takeover]=none [core]=100
  [crash]=$((DEADTIME + 150)) [rejoin]=none [alone]=$((INITDEAD + 200)))

# Waits until the run's latest event is over for the client too: requests that were lost in it have
# timed out (after 900 ms) and cannot be counted with the next event.
settle() { sleep 1; }

# start_heard NAME NODE...: starts the nodes; the mark is set when each has been heard on the LAN.
start_heard() {
  local name=$1 listener ready=$LAB_RUN/listening
  shift
  : >"$ready"
  lab_become lan "$PROBER" heard "$MARKS" "$name" --senders $# --within 15 >"$ready" &
  listener=$!
  wait_for 5 "the listener is ready" test -s "$ready"
  for node; do node_start "$node"; done
  wait "$listener" || say "  no beat of every one of $*"
}

# One run; any step that does not come about ends it, and its missing numbers are faults.
pair_run() {
  probe_start "$rate"
  start_heard together server101 server105
  wait_for 10 "server101 active" node_active server101 || return
  wait_for 10 "server105 standby" node_standby server105 || return
  settle
  mark standby
  node_ask server101 standby >"$LAB_RUN/log/standby" 2>&1 || bad "standby: $(tail -1 "$LAB_RUN/log/standby")"
  wait_for 5 "server105 active" node_active server105 || return
  wait_for 5 "server101 standby" node_standby server101 || return
  settle
  mark takeover
  node_ask server101 takeover >"$LAB_RUN/log/takeover" 2>&1 || bad "takeover: $(tail -1 "$LAB_RUN/log/takeover")"
  wait_for 5 "server101 active" node_active server101 || return
  wait_for 5 "server105 standby" node_standby server105 || return
  settle
  node_core_crash server101 "$MARKS" || return
  wait_for 5 "server105 active" node_active server105 || return
  wait_for 10 "server101 standby again" node_standby server101 || return
  settle
  node_crash server105 "$MARKS"
  wait_for 5 "server101 active" node_active server101 || return
  settle
  alone_answers server101 || return
  mark rejoin
  node_start server105
  wait_for 10 "server105 standby again" node_standby server105 || return
  settle
}

# alone_answers NODE: the VIP has one owner on the wire, whatever the dead one's address list still says.
alone_answers() {
  local answering
  answering=$(lab_answering | paste -sd' ')
  [[ $answering == "$(lab_mac "$1")" ]] || {
    bad "the VIP is answered for by ${answering:-nobody}, and should be by $(lab_mac "$1") ($1) alone"
    return 1
  }
}

alone_run() {
  probe_start "$rate"
  start_heard alone server101
  wait_for 10 "server101 active" node_active server101 || return
  settle
}

# record RUN SCENARIO...: one line of the CSV for each: run, scenario, restored_ms, gap_ms, failed, verdict.
record() {
  local run=$1 scenario index seen verdict summary=''
  shift
  for scenario; do
    verdict=FAIL seen=(null null null)
    for index in {0..9}; do
      [[ $(probe_value "/marks/$index/name" 2>/dev/null) == "$scenario" ]] || continue
      mapfile -t seen < <(probe_value "/marks/$index/restored_ms" "/marks/$index/gap_ms" "/marks/$index/failed")
      verdict=$(judge "${bound[$scenario]}" "${seen[0]}" "${seen[2]}")
      break
    done
    echo "$run,$scenario,${seen[0]},${seen[1]},${seen[2]},$verdict" >>"$csv"
    [[ $verdict == ok ]] || summary+=" $red$scenario: restored ${seen[0]} ms, ${seen[2]} failed$plain"
    [[ $verdict != ok ]] || summary+=" $scenario $([[ ${bound[$scenario]} == none ]] && echo "${seen[2]} failed" || echo "${seen[0]} ms"),"
  done
  say "  run $run/$runs:${summary%,}"
}

judge() {
  if [[ $1 == none ]]; then
    [[ $3 == 0 && $2 != null ]] && echo ok || echo FAIL
  else
    awk -v bound="$1" -v got="$2" 'BEGIN {print (got != "null" && got <= bound) ? "ok" : "FAIL"}'
  fi
}

# run NUMBER FUNCTION SCENARIO...
run() {
  local number=$1 function=$2
  shift 2
  "$function" || faults=$((faults + 1))
  probe_stop
  cp "$LAB_RUN/summary" "$LAB_RESULTS/$function-$number.json"
  record "$number" "$@"
  nodes_stop || faults=$((faults + 1))
  if [[ $(tail -n $# "$csv") == *FAIL* ]]; then cp -r "$LAB_RUN/log" "$LAB_RESULTS/measure-logs-$number" || true; fi
}

table() {
  headline "RUNS=$runs, $rate requests a second, keepalive $KEEPALIVE ms, deadtime $DEADTIME ms, initdead $INITDEAD ms"
  say "scenario   bound                 min    median       max   longest gap   failed   verdict"
  local scenario limit
  for scenario in "${scenarios[@]}"; do
    limit="${bound[$scenario]} ms"
    [[ $limit != none* ]] || limit="no failed request"
    awk -F, -v scenario="$scenario" '$2 == scenario' "$csv" | sort -t, -k3,3n |
      awk -F, -v scenario="$scenario" -v limit="$limit" -v runs="$runs" '
        {time[NR] = $3; failed += $5; if ($4 > gap) gap = $4; if ($6 == "ok") ok++}
        END {
          printf "%-9s  %-17s %7.1f   %7.1f   %7.1f    %7.1f ms   %6d   %s\n", scenario, limit,
            time[1], time[int((NR + 1) / 2)], time[NR], gap, failed, ok + 0 " of " runs (ok == runs ? "" : "  FAIL")}'
  done
  remark "min, median, max: ms from the event until all requests are answered again"
}

leave() {
  local code=$?
  cp -r "$LAB_RUN/log" "$LAB_RESULTS/measure-logs" 2>/dev/null || true
  lab_down
  exit "$code"
}

trap leave EXIT
rm -rf "$LAB_RUN"
rm -rf "${LAB_RESULTS:?}"/measure* "$LAB_RESULTS"/{pair,alone}_run-*
lab_warm
lab_up
nodes_configure
headline "$runs runs of: ${scenarios[*]}"
for ((number = 1; number <= runs; number++)); do
  run "$number" pair_run together standby takeover core crash rejoin
  run "$number" alone_run alone
done
table
wanted=$((runs * ${#scenarios[@]}))
kept=$(grep -c ',ok$' "$csv" || true)
((kept == wanted && faults == 0)) || die "$kept of $wanted bounds kept, $faults runs did not go as they should"
say "${green}All $wanted bounds kept.${plain}"
