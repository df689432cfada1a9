# shellcheck shell=bash
# The tutorials of keepalived: what their authors write into keepalived.conf of both directors is taken over by `pairbeat import`,
# and the pair that comes of it does what they show. Sourced by tutorials.sh, whose helpers they use, never run.

# keepalived_conf FILE STATE PRIORITY <SERVICE: what one node has.
keepalived_conf() {
  {
    cat <<CONFIG
! Configuration File for keepalived
global_defs {
    notification_email {
        admin@example.org
    }
    notification_email_from lvs@example.org
    smtp_server 127.0.0.1
    smtp_connect_timeout 30
    router_id LVS_$2
}
vrrp_instance VI_1 {
    state $2
    interface eth0
    virtual_router_id 51
    priority $3
    advert_int 1
    authentication {
        auth_type PASS
        auth_pass 1111
    }
    virtual_ipaddress {
        $VIP
    }
}
CONFIG
    cat
  } >"$1"
}

# keepalived_pair SETTINGS CHECK: both files, imported to one pairbeat.toml, which both nodes run with.
keepalived_pair() {
  local host service
  service="virtual_server $VIP 80 {
    delay_loop 6
    lb_algo rr
    lb_kind DR
    $1
    protocol TCP"
  for host in 106 107; do
    service+="
    real_server 192.168.2.$host 80 {
        weight 1
        $2
    }"
  done
  keepalived_conf "$LAB_RUN/master.conf" MASTER 100 <<<"$service
}"
  keepalived_conf "$LAB_RUN/backup.conf" BACKUP 90 <<<"$service
}"
  claim "the files of both nodes become one pairbeat.toml, which passes check" imported "$LAB_RUN/master.conf" "$LAB_RUN/backup.conf"
  pair
}

# listed NODE SERVICE SERVER...: `ipvsadm -Ln` of the node shows this service with these servers by direct routing, and nothing else.
listed() {
  local node=$1 server wanted="TCP $VIP:80 $2"
  for server in $(printf '%s\n' "${@:3}" | sort); do wanted+=$'\n'"-> 192.168.2.${server#server}:80 Route 1"; done
  [[ $(table "$node" | awk 'NR > 3 {if ($1 == "->") print $1, $2, $3, $4; else {$1 = $1; print}}') == "$wanted" ]]
}

# shows_table WHAT NODE SERVICE SERVER...
shows_table() { claim "$1" wait_for 60 "${*:3}" listed "${@:2}"; }

alone_has_vip() { node_holds_vip "$1" && ! node_holds_vip "$(other "$1")"; }

# The MASTER dies, the BACKUP has the address, and gives it back.
master_dies_and_returns() {
  crashed server101
  claim "MASTER crashes: BACKUP has the address after three adverts" wait_for 20 "server105 active" node_active server105
  claim "nobody else answers for it" wait_for 5 "server105 alone" holder server105
}
master_returns() {
  # A machine that has crashed comes back empty.
  nodes_wipe server101
  # shellcheck disable=SC2034 # of tutorials.sh
  dead=''
  lab_exec server101 ipvsadm -C
  node_start server101
  claim "MASTER comes back, and has the address again" wait_for 60 "server101 active" node_active server101
  claim "BACKUP has it no more" wait_for 10 "one holder" alone_has_vip server101
}

keepalived_direct_routing() {
  headline "keepalived, LVS-DR with TCP_CHECK, imported"
  keepalived_pair "" "TCP_CHECK {
            connect_timeout 3
            retry 3
            delay_before_retry 3
            connect_port 80
        }"
  claim "MASTER has the address, as ip address shows it" wait_for 10 "server101 alone" alone_has_vip server101
  shows_table "ipvsadm shows both servers by Route with weight 1" server101 rr server106 server107
  show "ipvsadm -Ln" table server101
  shows_table "BACKUP has the same table" server105 rr server106 server107
  asks "the client's requests alternate" "server106 4,server107 4" 8
  lab_page_dies rs106
  shows_table "a web server stops: it leaves the table" server101 rr server107
  asks "the other one answers" "server107 8" 8
  lab_page rs106 server106
  shows_table "it is started: it is back" server101 rr server107 server106
  asks "and requests alternate" "server106 4,server107 4" 8
  master_dies_and_returns
  asks "requests alternate there" "server106 4,server107 4" 8
  master_returns
  asks "requests alternate as before" "server106 4,server107 4" 8
}

# The one server that has answered all of so many requests is in `sticky`.
sticks() {
  local answers
  answers=$(ask "$1") || return
  sticky=${answers% "$1"}
  [[ $answers == "server10"[67]" $1" ]]
}
template() { lab_exec "$1" ipvsadm -Lnc | awk -v vip="$VIP:80" '$4 ~ /:0$/ && $5 == vip && $2 <= "00:50" {found = 1} END {exit !found}'; }
other_server() { if [[ $1 == server106 ]]; then echo server107; else echo server106; fi; }
broken_page() {
  lab_become "$1" socat TCP-LISTEN:80,fork,reuseaddr SYSTEM:'read line; printf "HTTP/1.0 503 Busy\r\nContent-Length: 0\r\n\r\n"' \
    >"$LAB_RUN/log/broken-$1" 2>&1 &
  # shellcheck disable=SC2034 # of topology.sh
  LAB_PAGE_PID[$1]=$!
  disown
}

keepalived_persistence() {
  headline "keepalived MASTER/BACKUP with HTTP_GET status 200 and persistence 50, imported"
  local sticky first second
  keepalived_pair "persistence_timeout 50" "HTTP_GET {
            url {
                path /
                status_code 200
            }
            connect_timeout 3
            nb_get_retry 3
            delay_before_retry 3
        }"
  claim "MASTER has the address, as ip address shows it" wait_for 10 "server101 alone" alone_has_vip server101
  shows_table "ipvsadm shows the service persistent 50" server101 "rr persistent 50" server106 server107
  show "ipvsadm -Ln" table server101
  claim "all requests of the client go to one server" wait_for 20 "one server" sticks 8
  first=$sticky second=$(other_server "$sticky")
  show "ipvsadm -Lnc" lab_exec server101 ipvsadm -Lnc
  claim "for which there is a template" template server101
  lab_page_dies "rs${first#server}"
  broken_page "rs${first#server}"
  shows_table "it says 503 in place of 200: it leaves the table" server101 "rr persistent 50" "$second"
  asks "the client gets the other one" "$second 8" 8
  lab_page_dies "rs${first#server}"
  lab_page "rs${first#server}" "$first"
  shows_table "it says 200: it is back" server101 "rr persistent 50" "$second" "$first"
  asks "the client stays where it is" "$second 8" 8
  master_dies_and_returns
  shows_table "BACKUP has the same table" server105 "rr persistent 50" "$second" "$first"
  claim "and all requests of the client go to one server there" wait_for 20 "one server" sticks 8
  master_returns
  claim "and again on the MASTER" wait_for 20 "one server" sticks 8
}
