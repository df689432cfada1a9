#!/usr/bin/env bash
# A director without a cluster on a real IPVS kernel: what it tells programs, mails and writes down, and what becomes of a file that changes
# under it.
#
#   alone.sh    needs root, IPVS, PAIRBEAT; see in_lab of common.sh
set -euo pipefail
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
# shellcheck source=tests/lab/common.sh
source "$here/common.sh"

: "${PAIRBEAT:?the binary}"
modprobe -qa ip_vs ip_vs_rr ip_vs_wrr 2>/dev/null || true
place=$(mktemp -d /run/alone.XXXXXX)
cd "$place"
ip link set lo up

director() { "$PAIRBEAT" --runtime-dir "$place/run" --state-dir "$place/state" director "$@" >>"$place/said" 2>&1; }
# shellcheck disable=SC2120 # its argument comes by eval
seen() { "$PAIRBEAT" --runtime-dir "$place/run" status --director web.cf "$@" 2>>"$place/said"; }
shows() { seen | grep -qF -- "$1"; }
orders() { "$PAIRBEAT" --runtime-dir "$place/run" real --director web.cf "$@" >>"$place/said" 2>&1; }
refused() { ! "$PAIRBEAT" --runtime-dir "$place/run/director-web.cf" "$@" >>"$place/said" 2>&1; }
has() { ipvsadm -Sn | grep -q -- "$1"; }
lacks() { ! has "$1"; }
told() { [[ $(tail -n 1 "$place/told") == "$1" ]]; }
logged() { grep -q -- "$1" "$place/web.log"; }

for name in hook callback; do
  # shellcheck disable=SC2016 # expanded by the script
  printf '#!/bin/sh\necho "%s $*" >>%s\n' "$name" "$place/told" >"$name"
done
printf '#!/bin/sh\ntest -e %s\n' "$place/up" >check
chmod +x hook callback check
: >told
: >up
cat >web.cf <<END
checkinterval=1
autoreload=yes
callback="$place/callback"
fallbackcommand=$place/hook -v
logfile="$place/web.log"
execute=two.cf
emailalert=ops@example.com
smtp=127.0.0.1:9
virtual=10.0.0.1:80
	real=10.0.0.2:80 gate 1
	fallback=127.0.0.1:80 gate
	checktype=external
	checkcommand=$place/check
	servicename=Shop
	monitorfile="$place/checks"
END
cat >two.cf <<END
logfile="$place/two.log"
virtual=10.0.0.9:80
	real=10.0.0.2:80 gate
	checktype=on
END

headline "A director without a cluster"
claim "it starts" director web.cf start
claim "and the file that it executes with it" director two.cf status
claim "the fallbackcommand is told that a server is up" wait_for 15 "stop" told "hook -v stop 10.0.0.1:80 tcp"
rm up
claim "and that the last one is down" wait_for 10 "start" told "hook -v start 10.0.0.1:80 tcp"
claim "its checks stand in their file" wait_for 10 "checks" grep -q "] external $place/check tcp 10.0.0.2 80 1 gate \[down\] exit" checks
claim "nobody waits for a mail relay that is not there" wait_for 15 "mail" logged "no mail to ops@example.com yet, next try in 30 s: 127.0.0.1:9: connection refused: \[Shop\]"
claim "connections of a server that is gone end at once" grep -qx 1 /proc/sys/net/ipv4/vs/expire_nodest_conn
claim "and persistent clients of one with weight 0 go elsewhere" grep -qx 1 /proc/sys/net/ipv4/vs/expire_quiescent_template
claim "the sorry server is in" wait_for 5 "sorry" has "10.0.0.1:80 -r 127.0.0.1:80"
: >up
wait_for 10 "up" has "10.0.0.1:80 -r 10.0.0.2:80 -g -w 1" || true
headline "Its operator looks and orders"
claim "the status has its servers" shows "10.0.0.2:80 gate weight 1  up"
claim "and its name" shows Shop
claim "as JSON too" eval "seen --json | grep -q '\"checker\":true'"
claim "a server is drained" orders drain 10.0.0.2
claim "and has weight 0" wait_for 5 "weight 0" has "10.0.0.1:80 -r 10.0.0.2:80 -g -w 0"
claim "the status says by whom" shows "drain by an operator"
claim "it is enabled" orders enable 10.0.0.2
claim "and has its weight" wait_for 5 "weight 1" has "10.0.0.1:80 -r 10.0.0.2:80 -g -w 1"
claim "what is for a cluster is refused" refused standby
rm up
wait_for 10 "start" told "hook -v start 10.0.0.1:80 tcp" || true
headline "Its file changes on the disk"
sed -i 's/gate 1$/gate 5/' web.cf
claim "the callback is told so" wait_for 10 "callback" told "callback $place/web.cf"
: >up
claim "the change is in force" wait_for 10 "weight 5" has "10.0.0.2:80 -g -w 5"
echo 'nonsense=1' >>web.cf
claim "a broken file is refused" wait_for 10 "refused" logged "not reloaded"
rm up
claim "and ends no check: a server that dies is taken out" wait_for 10 "out" lacks "10.0.0.2:80 -g -w 5"
sed -i '/nonsense/d; s/gate 5$/gate 6/' web.cf
: >up
claim "the repaired file is in force by itself" wait_for 10 "weight 6" has "10.0.0.2:80 -g -w 6"
headline "It stops"
rm up
wait_for 10 "start" told "hook -v start 10.0.0.1:80 tcp" || true
claim "it stops" director web.cf stop
claim "what was told is taken back" told "hook -v stop 10.0.0.1:80 tcp"
claim "the kernel's table is empty" lacks "10.0.0"
headline "Two of them on one machine"
sed -i '/^execute/d' web.cf
: >up
nodest() { grep -qx "$1" /proc/sys/net/ipv4/vs/expire_nodest_conn; }
claim "the kernel's settings are as they were" nodest 0
claim "one starts" director two.cf start
claim "and another one" director web.cf start
claim "the first one stops" director two.cf stop
claim "what it gave back is set again for the other one" wait_for 30 "the setting" nodest 1
claim "which stops" director web.cf stop
claim "and gives back what was there before the first one" nodest 0
((faults == 0)) || {
  cat said told web.log
  die "$faults of the claims do not hold"
}
