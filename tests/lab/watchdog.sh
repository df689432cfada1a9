#!/usr/bin/env bash
# The watchdog with the kernel's own driver: softdog, told to say what it would do instead of doing it.
#
#   watchdog.sh    needs root, the module softdog, IPVS, PAIRBEAT, PROBER; see in_lab of common.sh
set -euo pipefail
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
# shellcheck source=tests/lab/common.sh
source "$here/common.sh"
# shellcheck source=tests/lab/topology.sh
source "$here/topology.sh"
# shellcheck source=tests/lab/nodes.sh
source "$here/nodes.sh"

: "${PAIRBEAT:?the binary}" "${PROBER:?the prober binary}"
device=/sys/class/watchdog/watchdog0

armed() { [[ $(<"$device/state") == active ]]; }
disarmed() { [[ $(<"$device/state") == inactive ]]; }
timeout_is() { [[ $(<"$device/timeout") == "$1" ]]; }
fired() { dmesg | grep -q 'softdog: Triggered - Reboot ignored'; }
# spared SECONDS: it does not fire in that time.
spared() {
  local end=$((SECONDS + $1))
  while ((SECONDS < end)); do
    ! fired || return 1
    sleep 0.5
  done
}

in_good_order() {
  headline "A node with a watchdog, in good order"
  claim "before, nobody feeds the device" disarmed
  node_start server101
  wait_for 10 "server101 active" node_active server101 || die "without a node there is nothing to test"
  claim "the device is armed" armed
  claim "with a timeout of ten seconds: a dead core has time to be replaced" timeout_is 10
  claim "fed for longer than its timeout, it keeps quiet" spared 13
  node_core_crash server101 "$LAB_RUN/marks"
  claim "a core that died is replaced" wait_for 10 "a new core" node_active server101
  claim "and that does not fire it" spared 13
  claim "the node ends at SIGTERM" nodes_stop
  claim "and switches the device off" disarmed
}

standing_still() {
  headline "A core that stands still"
  local core
  node_start server101
  wait_for 10 "server101 active" node_active server101 || die "no second start"
  core=$(node_core server101)
  kill -STOP "$core"
  claim "the device fires within its timeout and the three seconds for which a proof of life holds" \
    wait_for 14 "softdog fires" fired
  claim "the log says why" grep -q 'the watchdog is not fed any more: the core does not answer' "$LAB_RUN/log/server101"
  kill -CONT "$core"
}

last_words() { dmesg | grep -i dog || true; }

modprobe softdog soft_noboot=1 2>/dev/null || true
[[ -e $device ]] || {
  skip "this kernel has no softdog"
  exit 0
}
lab_warm
trap nodes_leave EXIT
lab_up
nodes_configure
echo "watchdog /dev/watchdog0" >>"$NODE_CONFIG/ha.cf"
in_good_order
standing_still
((faults == 0)) || die "$faults claims did not hold"
headline "The watchdog watches."
