# shellcheck shell=bash
# The cluster managers that are compared: how each is configured, started, asked and moved. Sourced after machines.sh.
#
#   SYSTEM_configure NAME   writes the machine's files
#   SYSTEM_start NAME, SYSTEM_stop NAME
#   SYSTEM_settled          both are up and know it, nothing is in motion
#   SYSTEM_standby NAME, SYSTEM_takeover NAME   as an operator moves everything

KEEPALIVE=${KEEPALIVE:-100} DEADTIME=${DEADTIME:-1000} # milliseconds
AUTO_FAILBACK=${AUTO_FAILBACK:-on}
PAIRBEAT=$(realpath "${PAIRBEAT:-$PWD/target/debug/pairbeat}")
PEERS_KEY=6b1f0c7ad2e94b5583f06d1c2e7a9b40d8c3f5e6a7b81920

# ha.d_configure NAME: the /etc/ha.d that Heartbeat and pairbeat both run from, word for word.
# HARESOURCES holds its lines; scripts in PEERS_RUN/resource.d are its resource.d.
ha.d_configure() {
  local etc=$PEERS_RUN/$1/etc
  mkdir -p "$etc"
  [[ ! -d /etc/ha.d ]] || cp -a /etc/ha.d/. "$etc"
  mkdir -p "$etc/resource.d"
  ! compgen -G "$PEERS_RUN/resource.d/*" >/dev/null || cp -a "$PEERS_RUN"/resource.d/* "$etc/resource.d"
  cat >"$etc/ha.cf" <<CONFIG
logfile /run/ha-log
logfacility none
use_logd off
keepalive ${KEEPALIVE}ms
warntime $((DEADTIME / 2))ms
deadtime ${DEADTIME}ms
initdead $((DEADTIME * 3))ms
udpport 694
ucast eth0 192.168.2.101
ucast eth0 192.168.2.105
ucast eth1 10.0.0.1
ucast eth1 10.0.0.2
auto_failback $AUTO_FAILBACK
node server101
node server105
CONFIG
  printf '%s\n' "${HARESOURCES:-server101 IPaddr2::$VIP/24/eth0}" >"$etc/haresources"
  (umask 077 && printf 'auth 1\n1 sha1 %s\n' "$PEERS_KEY" >"$etc/authkeys")
}

heartbeat_configure() { ha.d_configure "$1"; }
heartbeat_start() { on "$1" /usr/libexec/heartbeat/heartbeat >"$PEERS_RUN/$1/start.log" 2>&1 </dev/null || true; }
heartbeat_stop() { on "$1" /usr/libexec/heartbeat/heartbeat -k >/dev/null 2>&1 </dev/null || true; }
heartbeat_standby() { on "$1" /usr/share/heartbeat/hb_standby all >/dev/null 2>&1; }
heartbeat_takeover() { on "$1" /usr/share/heartbeat/hb_takeover all >/dev/null 2>&1; }
heartbeat_settled() {
  local name said
  for name in "${MACHINES[@]}"; do
    said=$(on "$name" cl_status rscstatus 2>/dev/null) || return 1
    [[ -n $said && $said != transition ]] || return 1
    [[ $(on "$name" cl_status nodestatus server101 2>/dev/null) == active ]] || return 1
    [[ $(on "$name" cl_status nodestatus server105 2>/dev/null) == active ]] || return 1
  done
}
heartbeat_log() { on "$1" cat /run/ha-log 2>/dev/null || true; }

pairbeat_configure() { ha.d_configure "$1"; }
pairbeat_start() { on "$1" setsid "$PAIRBEAT" run --force >>"$PEERS_RUN/$1/log" 2>&1 </dev/null & }
pairbeat_stop() { on "$1" "$PAIRBEAT" stop >/dev/null 2>&1 || true; }
pairbeat_standby() { on "$1" "$PAIRBEAT" standby >/dev/null; }
pairbeat_takeover() { on "$1" "$PAIRBEAT" takeover >/dev/null; }
pairbeat_settled() {
  local name said
  for name in "${MACHINES[@]}"; do
    said=$(on "$name" "$PAIRBEAT" status --json 2>/dev/null) || return 1
    [[ $said == *'"state":"up"'* && ! $said =~ \"state\":\"(starting|stopping)\" ]] || return 1
  done
}
pairbeat_log() { cat "$PEERS_RUN/$1/log"; }

# keepalived has the machine's address as its own way to the peer, and one link.
keepalived_configure() {
  local name=$1 etc=$PEERS_RUN/$1/etc priority=100 state=BACKUP other=101
  mkdir -p "$etc"
  [[ $name != server101 ]] || priority=150 state=MASTER other=105
  cat >"$etc/keepalived.conf" <<CONFIG
global_defs {
  router_id $name
  vrrp_version 3
}
vrrp_instance web {
  state $state
  interface eth0
  virtual_router_id 51
  priority $priority
  advert_int $(printf '%d.%02d' $((DEADTIME / 3000)) $((DEADTIME / 30 % 100)))
  unicast_peer { 192.168.2.$other }
  virtual_ipaddress { $VIP/24 dev eth0 }
}
CONFIG
}
keepalived_start() {
  on "$1" setsid keepalived --dont-fork --log-console --vrrp --use-file /etc/ha.d/keepalived.conf \
    --pid /run/keepalived.pid --vrrp_pid /run/vrrp.pid >>"$PEERS_RUN/$1/log" 2>&1 </dev/null &
}
keepalived_stop() { on "$1" pkill -TERM keepalived || true; }
keepalived_settled() {
  [[ $(holders) == server101 ]] && grep -q "Entering BACKUP STATE" "$PEERS_RUN/server105/log"
}
keepalived_log() { cat "$PEERS_RUN/$1/log"; }
