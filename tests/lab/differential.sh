#!/usr/bin/env bash
# The same ldirectord.cf through ldirectord and through `pairbeat director`, each in a namespace of its own with the same
# real servers, which die and return by the same script: after each step both kernels' tables must be the same.
#
#   differential.sh [DIRECTORY]   needs root, IPVS, PAIRBEAT, PROBER, ldirectord; see in_lab of common.sh
#
# DIRECTORY (default: ldirectord-cases beside this) holds NAME.cf files, and `exceptions`: lines `NAME STEP REASON` for where
# the tables differ on purpose; STEP may be `*`. An exception that does not happen is a failure, too. ONLY: a pattern of names.
# SHARE: `1/2` plays every second file, from the first on.
#
# `judged` says what came of each file when it was run last.
#
# A file may use 10.9.0.10 and [2001:db8:9::10] as virtual addresses, and as real servers 10.9.1.1 to .3 and [2001:db8:9:1::1] to
# ::3, ports 80 and 8080; their page is `server1` and so on. /run/differential/alive is a program for `external`.
set -euo pipefail
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
# shellcheck source=tests/lab/common.sh
source "$here/common.sh"
# shellcheck source=tests/lab/tables.sh
source "$here/tables.sh"

: "${PAIRBEAT:?the binary}" "${PROBER:?the prober binary}"
cases=${1:-${CASES:-$here/ldirectord-cases}}
work=/run/differential
them=ldirectord
declare -A server=()

# Everything that a side has: addresses that answer, with nothing behind them yet.
lay_out() {
  local side=$1 number
  ip netns add "$side"
  ip -n "$side" link set lo up
  ip -n "$side" address add 10.9.0.10/32 dev lo
  ip -n "$side" address add 2001:db8:9::10/128 dev lo nodad
  for number in 1 2 3; do comes "$side" "$number"; done
}

comes() {
  local side=$1 number=$2 port
  ip -n "$side" address add "10.9.1.$number/32" dev lo
  ip -n "$side" address add "2001:db8:9:1::$number/128" dev lo nodad
  for port in 80 8080; do
    # Not by a function: what is killed must be the server, not a shell that waits for it.
    ip netns exec "$side" "$PROBER" serve "10.9.1.$number:$port" "server$number" >>"$work/servers.log" 2>&1 &
    server[$side-$number-$port-4]=$!
    ip netns exec "$side" "$PROBER" serve "[2001:db8:9:1::$number]:$port" "server$number" >>"$work/servers.log" 2>&1 &
    server[$side-$number-$port-6]=$!
  done
}

goes() {
  local side=$1 number=$2 key
  for key in "$side-$number-80-4" "$side-$number-80-6" "$side-$number-8080-4" "$side-$number-8080-6"; do
    kill "${server[$key]}" 2>>"$work/servers.log" || remark "$name: no page at $key; see $work/servers.log"
    wait "${server[$key]}" 2>/dev/null || true
  done
  ip -n "$side" address del "10.9.1.$number/32" dev lo
  ip -n "$side" address del "2001:db8:9:1::$number/128" dev lo
}

theirs() {
  local code
  echo "$file $1" >&"${ldirectord[1]}"
  read -rt "$patience" -u "${ldirectord[0]}" code || code='no answer'
  [[ $code == 0 ]] || remark "$name: ldirectord $1: $code"
}
ours() {
  ip netns exec ours "$PAIRBEAT" --runtime-dir "$work/ours" --state-dir "$work/ours" director "$file" "$1" >>"$work/ours.log" 2>&1
}

play() {
  wrong=0 tables=()
  : >"$work/theirs.log"
  : >"$work/ours.log"
  theirs start
  ours start || true
  step start
  both goes 1
  step one-dies
  both goes 2
  both goes 3
  step all-die
  both comes 2
  step one-returns
  both comes 1
  both comes 3
  step all-return
  theirs stop
  ours stop || true
  step stop
  ((wrong)) || good "$name: $(different_tables) different tables in ${#tables[@]} steps"
  if ((wrong)); then
    failed=$((failed + 1))
    tail -n 3 "$work/theirs.log" "$work/ours.log"
  fi
  inside theirs ipvsadm -C
  inside ours ipvsadm -C
}

modprobe -a ip_vs ip_vs_rr ip_vs_wrr ip_vs_wlc ip_vs_lc ip_vs_sh 2>/dev/null || true
mkdir -p "$work"
install -m 755 "$here/ldirectord-cases/alive" "$work/alive"
lay_out theirs
lay_out ours
coproc ldirectord { exec ip netns exec theirs perl "$here/ldirectord.pl" "$work/theirs.log" 2>>"$work/servers.log"; }
# shellcheck disable=SC2154 # set by coproc
resident[theirs]=$ldirectord_PID
ip netns exec ours sleep infinity &
resident[ours]=$!
headline "The same files through ldirectord and pairbeat"
failed=0 count=0 seen=0
share=${SHARE:-1/1}
for path in "$cases"/${ONLY:-*}.cf; do
  seen=$((seen + 1))
  (((seen - ${share%/*}) % ${share#*/} == 0)) || continue
  name=$(basename "$path" .cf) file=$work/$name.cf
  cp "$path" "$file"
  count=$((count + 1))
  play
done
kill "${server[@]}" "${resident[@]}" 2>/dev/null || true
say "$count files, $failed differ"
# Of few files a share may be none.
((failed == 0 && seen > 0))
