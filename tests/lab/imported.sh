#!/usr/bin/env bash
# The same keepalived.conf through keepalived, and through `pairbeat import` and a node, each in a namespace of its own with the
# same real servers, which die and return by the same script: after each step both kernels' IPVS tables and thresholds
# and the addresses of the interfaces must be the same.
#
#   imported.sh [DIRECTORY]   needs root, IPVS, PAIRBEAT, PROBER, keepalived, openssl; see in_lab of common.sh
#
# DIRECTORY (default: CASES, or keepalived-cases beside this) holds the files, and `exceptions` (see tables.sh): each that has a
# service or a VRRP instance is played; its name goes without `.conf`. ONLY: a pattern of names. SHARE: `1/2` plays every second
# file, from the first on.
#
# Any file will do: the interfaces it names are made, with the addresses that it sends from, and whatever it names as a
# `real_server` answers: with a page at each of its ports, and with one over TLS at that of an SSL_GET. Of the file itself only that
# is changed which says what a server has or who asks: see `prepare`. Nobody else is there: both become the active node. Where there
# are no services the addresses are what is compared. What a file includes by a relative path is not found.
set -euo pipefail
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
# shellcheck source=tests/lab/common.sh
source "$here/common.sh"
# shellcheck source=tests/lab/tables.sh
source "$here/tables.sh"

: "${PAIRBEAT:?the binary}" "${PROBER:?the prober binary}"
cases=${1:-${CASES:-$here/keepalived-cases}}
work=/run/imported
them=keepalived
declare -A server=() program=()
interfaces=() sources=() served=() virtual='' all=() quiet=''

# The file as both will read it. A sum of a page becomes that of the page here, over TLS, where each answer is another, the
# status 200; and every program of a MISC_CHECK one that looks whether the real server's address is there.
prepare() {
  awk -v page="$(md5sum <<<alive | cut -d ' ' -f 1)" -v program="$work/alive" '
    $1 == "real_server" {address = $2}
    $1 ~ /_GET$/ {tls = ($1 ~ /^SSL/)}
    $1 == "digest" {sub(/digest.*/, tls ? "status_code 200" : "digest " page)}
    $1 == "misc_path" {sub(/misc_path.*/, "misc_path \"" program " " address "\"")}
    {print}' "$1"
}

# Reads the file, once, for processes are what costs in an emulated machine. In `interfaces` what it names; in `sources` an interface
# and an address that it sends from; in `served` KIND ADDRESS PORT, where a port that only a checker knows is one more; in
# `virtual` the addresses that services have; in `settled` more seconds than a server can be dead without being noticed: a round, and
# all tries with what is between them.
understand() {
  local words
  # The one that an import without any names.
  interfaces=(eth0) sources=() served=() virtual=' '
  while read -ra words; do
    case ${words[0]} in
      interface) [[ " ${interfaces[*]} " == *" ${words[1]} "* ]] || interfaces+=("${words[1]}") ;;
      source) sources+=("${words[*]:1}") ;;
      served) served+=("${words[*]:1}") ;;
      virtual) virtual+="${words[1]} " ;;
      settled) settled=${words[1]} ;;
    esac
  done < <(sed -e 's/[#!].*//' -e 's/[{}]/ & /g' "$file" | awk '
    function serves(port, kind) {
      if (!((address " " port) in kinds)) order[++n] = address " " port
      kinds[address " " port] = kind
    }
    $1 == "interface" {at = $2; print "interface", $2}
    $1 == "unicast_src_ip" {print "source", at, $2}
    {for (i = 2; i < NF; i++) if ($i == "dev") print "interface", $(i + 1)}
    $1 == "track_interface" {tracked = 1}
    $1 == "}" {tracked = 0}
    tracked && $1 ~ /^[a-z]+[0-9.]+$/ {print "interface", $1}
    $1 == "virtual_server" {print "virtual", $2}
    $1 == "real_server" {address = $2; port = $3 + 0; serves(port, "page")}
    $1 ~ /_GET$|_CHECK$/ {tls = ($1 == "SSL_GET")}
    $1 == "SSL_GET" {serves(port, "tls")}
    $1 == "connect_port" {serves($2 + 0, tls ? "tls" : "page")}
    {number = $2; gsub(/[^0-9.]/, "", number); number += 0}
    $1 == "delay_loop" && number > loop {loop = number}
    $1 ~ /^(nb_get_)?retry$/ && number > tries {tries = number}
    $1 == "delay_before_retry" && number > pause {pause = number}
    $1 ~ /^(connect|misc)_timeout$/ && number > limit {limit = number}
    END {
      for (i = 1; i <= n; i++) print "served", kinds[order[i]], order[i]
      printf "settled %d\n", (loop ? loop : 60) + (tries ? tries : 1) * (pause ? pause : 3) + limit + 2
    }')
  mapfile -t all < <(printf '%s\n' "${served[@]}" | awk 'NF && !seen[$2]++ {print $2}')
  patience=$((settled * 3 + 30))
}

# A side's machine: the interfaces that the file names, on wires that lead nowhere, and all servers.
lay_out() {
  local side=$1 number interface source address
  ip netns add "$side"
  {
    echo link set lo up
    for number in "${!interfaces[@]}"; do
      interface=${interfaces[$number]}
      echo "link add $interface address 02:00:0a:09:00:0$number type veth peer name $side$number netns wire"
      echo "link set $interface addrgenmode none up"
      echo "address add 10.200.$number.1/24 dev $interface"
    done
    for source in "${sources[@]}"; do echo "address add ${source#* }/24 dev ${source% *}"; done
  } | ip -n "$side" -batch -
  for number in "${!interfaces[@]}"; do echo "link set $side$number up"; done | ip -n wire -batch -
  for address in "${all[@]}"; do comes "$side" "$address"; done
}

whole() { if [[ $1 == *:* ]]; then echo "$1/128"; else echo "$1/32"; fi; }

comes() {
  local side=$1 address=$2 kind where port entry
  ip -n "$side" address replace "$(whole "$address")" dev lo
  for entry in "${served[@]}"; do
    read -r kind where port <<<"$entry"
    [[ $where == "$address" && $port != 0 ]] || continue
    [[ $address != *:* ]] || where="[$address]"
    # Not by a function: what is killed must be the server, not a shell that waits for it.
    if [[ $kind == tls ]]; then
      ip netns exec "$side" openssl s_server -accept "$where:$port" -cert "$work/tls.pem" -www -quiet </dev/null >>"$work/servers.log" 2>&1 &
    else
      ip netns exec "$side" "$PROBER" serve "$where:$port" alive >>"$work/servers.log" 2>&1 &
    fi
    server[$side-$address-$port]=$!
  done
}

# An address that a service has, too, stays: only what listens there dies.
goes() {
  local side=$1 address=$2 key
  for key in "${!server[@]}"; do
    [[ $key == "$side-$address-"* ]] || continue
    kill -KILL "${server[$key]}" 2>>"$work/servers.log" || remark "$name: nothing at $key; see $work/servers.log"
    wait "${server[$key]}" 2>/dev/null || true
    unset "server[$key]"
  done
  [[ $virtual == *" $address "* ]] || ip -n "$side" address del "$(whole "$address")" dev lo
}

# All that is to be the same. Whether an IPv6 address is deprecated, and whether an address brings its network's route, is not:
# docs/IMPORT.md says why. On `lo` are the real servers.
table() {
  {
    inside "$1" ipvsadm -Sn
    inside "$1" ipvsadm -Ln --thresholds
    ip -n "$1" -oneline address show
  } | sed -E -e 's/^[0-9]+: //' -e 's/\\.*//' -e 's/ (secondary|deprecated|noprefixroute)//g' -e 's/ +/ /g' -e '/ fe80:/d' -e '/^lo /d' | sort
}

starts() {
  if [[ $1 == theirs ]]; then
    ip netns exec theirs keepalived --dont-fork --log-console --use-file "$file" --pid "$work/parent.pid" \
      --vrrp_pid "$work/vrrp.pid" --checkers_pid "$work/checkers.pid" >"$work/theirs.log" 2>&1 </dev/null &
  else
    ip netns exec ours "$PAIRBEAT" --config "$work/$name/pairbeat.toml" --node server101 --runtime-dir "$work/$name" \
      --state-dir "$work/$name" run >"$work/ours.log" 2>&1 </dev/null &
  fi
  program[$1]=$!
}

stops() {
  kill -TERM "${program[$1]}" 2>/dev/null || remark "$name: $1 has ended by itself"
  wait "${program[$1]}" 2>/dev/null || true
}

# Takes the file over; `pairbeat check` must be content with what comes out.
import() {
  local code=0
  mkdir -p "$work/$name"
  "$PAIRBEAT" --node server101 import "$file" --nodes server101,server105 --output "$work/$name/pairbeat.toml" >"$work/import.log" 2>&1 || code=$?
  ((code == 0)) && "$PAIRBEAT" --config "$work/$name/pairbeat.toml" --node server101 check >>"$work/import.log" 2>&1 && return
  bad "$name: import or check fails ($code)"
  cat "$work/import.log"
  return 1
}

# keepalived is at work. A line of a real server has its address in hexadecimal digits.
has_begun() {
  local text=()
  if ((${#all[@]} == 0)); then
    mapfile text <"/proc/${resident[theirs]}/net/fib_trie"
    [[ ${text[*]} != "$quiet" ]]
    return
  fi
  mapfile text <"/proc/${resident[theirs]}/net/ip_vs"
  [[ ${text[*]} =~ '-> '[0-9A-F]{8}:|'-> '\[[0-9a-f] ]]
}

play() {
  local side text=()
  wrong=0 tables=()
  import || { wrong=1; return; }
  for side in theirs ours; do
    lay_out "$side"
    ip netns exec "$side" sleep infinity &
    resident[$side]=$!
  done
  mapfile text <"/proc/${resident[theirs]}/net/fib_trie"
  quiet=${text[*]}
  starts theirs
  starts ours
  wait_for "$patience" "$name: keepalived has a real server, or where there is none an address" has_begun || wrong=1
  step start
  has_begun || { bad "$name: two empty tables are nothing"; wrong=1; }
  ((${#all[@]} == 0)) || die_and_return
  both stops
  step stop
  # Who notices nothing has the same table on both sides, too.
  (($(different_tables) > (${#all[@]} ? 2 : 1))) || { bad "$name: nothing changes"; wrong=1; }
}

die_and_return() {
  local address
  both goes "${all[0]}"
  step one-dies
  for address in "${all[@]:1}"; do both goes "$address"; done
  ((${#all[@]} == 1)) || step all-die
  for address in "${all[@]}"; do both comes "$address"; done
  step all-return
}

# The machines of both sides go with everything that runs there.
clear_away() {
  local side pids
  for side in theirs ours; do
    [[ -e /run/netns/$side ]] || continue
    mapfile -t pids < <(ip netns pids "$side")
    ((${#pids[@]} == 0)) || kill -KILL "${pids[@]}" 2>/dev/null || true
    ip netns del "$side"
  done
  wait 2>/dev/null || true
  server=() program=()
}

modprobe -a ip_vs ip_vs_rr ip_vs_wrr ip_vs_wlc ip_vs_lc ip_vs_sh 2>/dev/null || true
mkdir -p "$work"
cat >"$work/alive" <<'PROGRAM'
#!/bin/sh
ip -oneline address show to "$1" | grep -q .
PROGRAM
chmod 755 "$work/alive"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=lab -keyout "$work/key.pem" -out "$work/cert.pem" 2>"$work/servers.log"
cat "$work/key.pem" "$work/cert.pem" >"$work/tls.pem"
ip netns add wire
headline "The same files through keepalived and pairbeat"
failed=0 count=0 seen=0
share=${SHARE:-1/1}
mapfile -t paths < <(grep -lE '^[[:space:]]*(virtual_server|vrrp_instance) ' "$cases"/*)
for path in "${paths[@]}"; do
  name=$(basename "$path" .conf) file=$work/$name.conf
  # shellcheck disable=SC2053 # a pattern
  [[ $name == ${ONLY:-*} ]] || continue
  seen=$((seen + 1))
  (((seen - ${share%/*}) % ${share#*/} == 0)) || continue
  prepare "$path" >"$file"
  count=$((count + 1))
  understand
  play
  ((wrong)) || good "$name: $(different_tables) different tables in ${#tables[@]} steps"
  if ((wrong)); then
    failed=$((failed + 1))
    tail -n 12 "$work/theirs.log" "$work/ours.log" || true
  fi
  clear_away 2>>"$work/servers.log"
done
say "$count files, $failed differ"
# Of few files a share may be none.
((failed == 0 && seen > 0))
