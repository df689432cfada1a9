#!/usr/bin/env bash
# The same /etc/ha.d, word for word, through Heartbeat 3.0.6 and through pairbeat: which scripts are called, on
# which node, with what, in which order.
#
#   tests/peers/calls.sh        runs both (some 90 s) and compares with the golden calls beside it
#   UPDATE_GOLDEN=1 ...         writes them anew
#
# Two groups of three recording scripts go through boot, standby, takeover, crash and failback. Compared are starts
# and stops, group by group over both nodes (that groups move side by side or one after the other is no difference).
# Functions are called by the name of the system, and by trap.
# shellcheck disable=SC2317
set -euo pipefail
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
# shellcheck source=tests/lab/common.sh
source "$here/../lab/common.sh"
# shellcheck source=tests/peers/machines.sh
source "$here/machines.sh"
# shellcheck source=tests/peers/systems.sh
source "$here/systems.sh"
# What the systems said, where they did not do what was waited for.
end() {
  local code=$? name
  if ((code)) && [[ -n ${system:-} ]]; then
    for name in "${MACHINES[@]}"; do headline "$system on $name" && "$system"_log "$name" | tail -n 40; done
  fi
  peers_end
}
trap end EXIT

HARESOURCES="server101 disk::/dev/sda1::/data web mail::spool
server105 record::one print::laser::a4 news"
declare -A group=([disk]=server101 [web]=server101 [mail]=server101 [record]=server105 [print]=server105 [news]=server105)

# A script that notes each call and is up from start to stop.
scripts() {
  local name
  mkdir -p "$PEERS_RUN/resource.d"
  for name in "${!group[@]}"; do
    cat >"$PEERS_RUN/resource.d/$name" <<SCRIPT
#!/bin/sh
up=/run/up-$name
for word; do :; done
echo "\$(cat $PEERS_RUN/phase) \$(uname -n) $name \$*" >>$PEERS_RUN/calls
case \$word in
start) touch \$up ;;
stop) rm -f \$up ;;
status) if [ -e \$up ]; then echo running; else echo stopped; exit 3; fi ;;
esac
exit 0
SCRIPT
    chmod +x "$PEERS_RUN/resource.d/$name"
  done
}

phase() { echo "$1" >"$PEERS_RUN/phase"; }

# up_on NAME GROUP: the last of the group's scripts has been started there and not stopped.
up_on() {
  local last=([101]=mail [105]=news)
  on "$1" test -e "/run/up-${last[${2#server}]}"
}
all_on() { "$system"_settled && up_on "$1" server101 && up_on "$1" server105; }
home() { "$system"_settled && up_on server101 server101 && up_on server105 server105; }
survivor_has_all() { up_on server105 server101 && up_on server105 server105; }

# through SYSTEM: all five phases.
through() {
  local system=$1 name
  : >"$PEERS_RUN/calls"
  phase boot
  for name in "${MACHINES[@]}"; do
    rm -rf "${PEERS_RUN:?}/$name"
    "$system"_configure "$name"
    machine_up "$name"
  done
  for name in "${MACHINES[@]}"; do "$system"_start "$name"; done
  wait_for 60 "$system: every group at home" home
  phase standby
  "$system"_standby server101
  wait_for 60 "$system: everything on server105" all_on server105
  phase takeover
  "$system"_takeover server101
  wait_for 60 "$system: everything on server101" all_on server101
  # Back to where both have something, so that the crash takes half.
  phase between
  "$system"_standby server101
  wait_for 60 "$system: everything on server105" all_on server105
  "$system"_takeover server101
  wait_for 60 "$system: everything on server101" all_on server101
  phase crash
  machine_off server101
  wait_for 60 "$system: everything on server105 after the crash" survivor_has_all
  phase failback
  machine_up server101
  "$system"_start server101
  wait_for 90 "$system: every group at home again" home
  phase end
  for name in "${MACHINES[@]}"; do machine_off "$name"; done
  cp "$PEERS_RUN/calls" "$PEERS_RUN/calls.$system"
}

# starts_and_stops SYSTEM: per phase and group, the calls that change something, in their order.
starts_and_stops() {
  local step home
  for step in boot standby takeover crash failback; do
    for home in server101 server105; do
      echo "== $step, group of $home"
      while read -r when node name words; do
        [[ $when == "$step" && ${group[$name]} == "$home" && $words =~ (start|stop)$ ]] || continue
        echo "$node  $name $words"
      done <"$PEERS_RUN/calls.$1"
    done
  done
}

questions() { grep -c ' status$' "$PEERS_RUN/calls.$1" || true; }

((EUID == 0)) || { skip "needs root"; exit 0; }
need_packages /usr/libexec/heartbeat/heartbeat:heartbeat
lan_up
scripts
wrong=0
for system in heartbeat pairbeat; do
  through "$system"
  starts_and_stops "$system" >"$PEERS_RUN/$system.txt"
  [[ ${UPDATE_GOLDEN:-} != 1 ]] || cp "$PEERS_RUN/$system.txt" "$here/calls.$system.txt"
  if diff -u "$here/calls.$system.txt" "$PEERS_RUN/$system.txt"; then
    good "$system: the calls are those on record; asked for status $(questions "$system") times"
  else
    bad "$system: the calls differ from those on record"
    wrong=1
  fi
done
headline "Where the two differ (- Heartbeat, + pairbeat)"
diff -U1 "$PEERS_RUN/heartbeat.txt" "$PEERS_RUN/pairbeat.txt" || true
exit "$wrong"
