#!/usr/bin/env bash
# Every test there is, from a fresh Debian machine with cargo.
#
#   tests/run.sh              all steps
#   tests/run.sh STEP...      only these (a step that needs the binaries builds them)
#
# Exit code 0: everything ran that can run here, and passed. What cannot run says SKIP and why; with
# PAIRBEAT_REQUIRE_ALL=1, which continuous integration sets, that is a failure. The last line is `N passed, M failed`,
# counting single tests and claims. Full logs: target/test-logs/STEP.log. RUNS (default 10) for the measurements,
# SYNC_RUNS (default 1) and SYNC_METHOD (masq, or fullnat) for the open connections, PAIRBEAT_SIM_SEEDS (default 100000) for the simulator, SHARE (default 1/8:
# every eighth file, from the first on; 1/1 is all) and ONLY (a pattern of names) for the files of differential and imported,
# CASES (a directory) for other files of imported, of which all are played.
set -euo pipefail
self=$(realpath "${BASH_SOURCE[0]}")
cd "$(dirname "$self")/.."
# shellcheck source=tests/lab/common.sh
source tests/lab/common.sh
export PATH=$PATH:$HOME/.cargo/bin CARGO_TERM_COLOR=never LAB_COLOUR
logs=$PWD/target/test-logs

steps=(setup scripts fmt clippy deny test peers build sim measure lab-self lab-tests story director forwarding alone tutorials imported serial sync stateless localnode watchdog faults differential)
declare -A about=(
  [setup]="install by apt what is missing"
  [scripts]="shellcheck on every script"
  [fmt]="cargo fmt --check"
  [clippy]="cargo clippy, every warning an error"
  [deny]="cargo deny: licences, banned crates, sources"
  [test]="cargo test: unit, golden, configuration, simulator (few seeds), namespaces"
  [peers]="Heartbeat and keepalived side by side with us, in namespaces"
  [build]="the optimised binaries for the lab"
  [sim]="the simulator, ${PAIRBEAT_SIM_SEEDS:-100000} seeds"
  [lab-self]="the lab proves itself, without pairbeat"
  [lab-tests]="the integration tests that need a kernel as Debian has it"
  [story]="the demonstration, every claim checked"
  [director]="the director's second day: reload, tampering, black holes, open connections"
  [forwarding]="every forwarding method, followed packet by packet"
  [alone]="a director without a cluster: what it tells programs, and a file that changes"
  [tutorials]="what the tutorials of the field show, as their authors do it"
  [imported]="the same keepalived.conf through keepalived and, imported, through pairbeat, the kernel's tables compared; share ${SHARE:-1/8}"
  [differential]="the same files through ldirectord and pairbeat, the kernel's tables compared; share ${SHARE:-1/8}"
  [serial]="heartbeats over a serial line of the virtual machine"
  [sync]="200 open connections across planned switches, ${SYNC_RUNS:-1} runs, a crash and the return"
  [stateless]="200 open connections across a crash, the return and a switch, without connection sync"
  [localnode]="two directors that are each other's real servers: no packet is balanced twice"
  [watchdog]="the watchdog with the kernel's softdog"
  [faults]="bad networks, a jumping clock, troubled checks, want of memory, CPU, descriptors"
  [measure]="the promises in numbers, ${RUNS:-10} runs"
)
# Seconds on two cores, fresh: expected and at most.
declare -A usual=([setup]=60 [scripts]=2 [fmt]=2 [clippy]=90 [deny]=240 [test]=240 [peers]=260 [build]=150 [sim]=120
  [lab-self]=40 [lab-tests]=240 [story]=180 [director]=90 [forwarding]=160 [alone]=60 [tutorials]=300 [imported]=150 [differential]=150 [serial]=90 [sync]=420 [stateless]=70 [localnode]=80 [watchdog]=90 [faults]=150 [measure]=600)
declare -A most=([setup]=600 [scripts]=60 [fmt]=60 [clippy]=900 [deny]=900 [test]=1500 [peers]=900 [build]=900 [sim]=900
  [lab-self]=300 [lab-tests]=900 [story]=900 [director]=600 [forwarding]=1500 [alone]=300 [tutorials]=1500 [imported]=3600 [differential]=3600 [serial]=600 [sync]=1800 [stateless]=900 [localnode]=900 [watchdog]=600 [faults]=900 [measure]=1800)
# Steps that speak for themselves, claim by claim: their lines are shown as they come.
spoken=" lab-self story director forwarding alone tutorials imported differential serial sync stateless localnode watchdog faults measure "
# Steps that may run two at a time; those that build, or keep both CPUs busy, are not among them.
beside=" lab-self lab-tests story director forwarding alone tutorials imported serial sync stateless localnode watchdog faults measure "
# Integration tests (tests/NAME.rs) that need ip_vs, or kinds of interfaces that few kernels here have: they run
# where the lab runs.
lab_tests=(ipvs lease tunnel)

step_setup() {
  need_packages "${build_packages[@]}" "${lab_packages[@]}" shellcheck:shellcheck openssl:openssl \
    ping:iputils-ping etcd:etcd-server etcdctl:etcd-client fence_dummy:fence-agents \
    /usr/lib/ocf/resource.d/heartbeat/Dummy:resource-agents apache2:apache2-bin curl:curl /usr/bin/systemctl:systemd socat:socat \
    dovecot:dovecot-imapd /usr/lib/dovecot/pop3:dovecot-pop3d /usr/lib/postfix/sbin/master:postfix vsftpd:vsftpd squid:squid nginx:nginx-light \
    dnsmasq:dnsmasq-base /usr/lib/python3/dist-packages/grpc:python3-grpcio freeradius:freeradius redis-server:redis-server slapd:slapd mariadbd:mariadb-server \
    /usr/lib/postgresql:postgresql kamailio:kamailio leafnode:leafnode ldirectord:ldirectord keepalived:keepalived arptables:arptables
  command -v cargo >/dev/null || die "cargo is not installed"
  if ! { cargo fmt --version && cargo clippy --version; }; then rustup component add rustfmt clippy; fi
}

step_scripts() {
  if ! command -v shellcheck >/dev/null; then
    skip "no shellcheck"
    return
  fi
  shellcheck -x .ci/run tests/*.sh tests/lab/*.sh tests/lab/vm tests/peers/*.sh
}

step_fmt() { cargo fmt --check; }
# Advisories need a database from outside; the three others are in the tree.
step_deny() {
  cargo deny --version || cargo install --locked --version 0.20.2 cargo-deny
  cargo deny --locked --log-level error check licenses bans sources
}

step_clippy() { cargo clippy --locked --all-targets -- -D warnings; }

# All targets but those that only the lab can run.
step_test() {
  local file name targets=(--lib --bins --examples)
  for file in tests/*.rs tests/*/main.rs; do
    [[ -e $file ]] || continue
    name=${file#tests/} name=${name%/main.rs} name=${name%.rs}
    [[ " ${lab_tests[*]} " == *" $name "* ]] || targets+=(--test "$name")
  done
  ((EUID == 0)) || say "SKIP the parts of cargo test that need root"
  cargo test --locked --no-fail-fast "${targets[@]}"
}

# What is compared is what the others do, too: their packages are installed here and nowhere else.
step_peers() {
  cargo build --locked --bin pairbeat --example dual
  PAIRBEAT=$PWD/target/debug/pairbeat bash tests/peers/calls.sh
  PAIRBEAT=$PWD/target/debug/pairbeat bash tests/peers/dual.sh
}

# The lab's machine, too: later steps run side by side, and would both fetch what it needs.
step_build() {
  build_for_lab
  build_lab_tests >/dev/null
  bash tests/lab/vm -t 120 -- true
}

# Builds the integration tests of the lab; prints their paths, in the order of lab_tests.
build_lab_tests() {
  local name
  for name in "${lab_tests[@]}"; do
    [[ -e tests/$name.rs || -e tests/$name/main.rs ]] || die "there is no tests/$name.rs"
    cargo test --locked --profile lab --test "$name" --no-run --message-format=json |
      sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | grep "/$name-" | tail -1
  done
}

step_sim() {
  [[ -e tests/sim.rs || -e tests/sim/main.rs ]] || die "there is no tests/sim.rs"
  PAIRBEAT_SIM_SEEDS=${PAIRBEAT_SIM_SEEDS:-100000} cargo test --locked --profile lab --test sim
}

step_lab-self() {
  build_for_lab
  in_lab "${most[lab-self]}" selftest.sh
}

step_lab-tests() {
  local binary binaries
  build_for_lab
  binaries=$(build_lab_tests)
  (($(wc -w <<<"$binaries") == ${#lab_tests[@]})) || die "not every test of the lab is there: $binaries"
  for binary in $binaries; do
    PAIRBEAT_REQUIRE_ALL=1 in_lab "${most[lab-tests]}" test.sh TEST_BINARY="$binary"
  done
}

step_story() {
  build_for_lab
  in_lab "${most[story]}" story.sh
}

step_director() {
  build_for_lab
  in_lab "${most[director]}" director.sh
}

step_forwarding() {
  build_for_lab
  in_lab "${most[forwarding]}" forwarding.sh
}

step_alone() {
  build_for_lab
  in_lab "${most[alone]}" alone.sh
}

step_tutorials() {
  build_for_lab
  in_lab "${most[tutorials]}" tutorials.sh
}

# In the virtual machine whatever this kernel has: its namespaces are named like those of the differential. It sees CASES where they are.
step_imported() {
  build_for_lab
  local share=1/8
  [[ -z ${CASES:-} ]] || share=1/1
  LAB_VM=1 in_lab "${most[imported]}" imported.sh ONLY="${ONLY:-*}" SHARE="${SHARE:-$share}" ${CASES:+"CASES=$CASES"}
}

# In virtual machines whatever this kernel has: ldirectord writes to /var. In two at a time, for an emulated one keeps one CPU busy.
step_differential() {
  build_for_lab
  local share=${SHARE:-1/8} code=0 other
  played() { LAB_VM=1 in_lab "${most[differential]}" differential.sh ONLY="${ONLY:-*}" SHARE="$1/$((${share#*/} * 2))"; }
  played "${share%/*}" &
  other=$!
  played "$((${share%/*} + ${share#*/}))" || code=$?
  wait "$other" || code=$?
  return "$code"
}

# In the virtual machine in any case: the cable is its.
step_serial() {
  build_for_lab
  LAB_VM=1 in_lab "${most[serial]}" serial.sh
}

step_sync() {
  build_for_lab
  in_lab "${most[sync]}" sync.sh RUNS="${SYNC_RUNS:-1}" GUARD=1 REBOOT=1 METHOD="${SYNC_METHOD:-masq}"
}

step_stateless() {
  build_for_lab
  in_lab "${most[stateless]}" stateless.sh
}

step_localnode() {
  build_for_lab
  in_lab "${most[localnode]}" localnode.sh
}

step_watchdog() {
  build_for_lab
  in_lab "${most[watchdog]}" watchdog.sh
}

# In the virtual machine whatever this kernel has: it sets the clock.
step_faults() {
  build_for_lab
  LAB_VM=1 in_lab "${most[faults]}" faults.sh
}

step_measure() {
  build_for_lab
  in_lab "${most[measure]}" measure.sh RUNS="${RUNS:-10}"
}

# One step in a process of its own, so that `set -e` means what it says and a hung one can be ended.
start_step() {
  local step=$1
  begun[$step]=$SECONDS
  : >"$logs/$step.log"
  LAB_RESULTS=$logs/$step setsid timeout -k 10 "${most[$step]}" bash "$self" --step "$step" >"$logs/$step.log" 2>&1 </dev/null &
  running[$step]=$!
}

step_runs() { kill -0 "${running[$1]}" 2>/dev/null; }

# end_step STEP SHOWN: its verdict; so many lines of its log have been shown already.
end_step() {
  local step=$1 log=$logs/$1.log code=0
  wait "${running[$step]}" || code=$?
  unset "running[$step]"
  took[$step]=$((SECONDS - begun[$step]))
  progress "$step" "$log" "$2" 0 >/dev/null
  # Whoever prints it should have failed by itself.
  if ((code == 0)) && [[ ${PAIRBEAT_REQUIRE_ALL:-} == 1 ]] && skipped "$log" >/dev/null; then
    say "PAIRBEAT_REQUIRE_ALL=1 and this was skipped:" && skipped "$log"
    code=1
  fi
  count "$step" "$log" "$code"
  if ((code == 0)); then
    verdict[$step]=passed
    ! skipped "$log" >/dev/null || verdict[$step]="passed, with SKIPs"
    say "${green}passed${plain} in $(minutes "${took[$step]}")"
    skipped "$log" || true
    return
  fi
  verdict[$step]=FAILED
  ((code != 124)) || say "ended after ${most[$step]} s"
  [[ $spoken == *" $step "* ]] || tail -n 60 "$log"
  say "${red}FAILED${plain} ($code); the whole log: $log"
}

# What a step's log says could not run: lines that begin with SKIP, in colour or not.
skipped() { grep -aE $'^[[:space:]]*(\e\\[[0-9;]*m)*SKIP' "$1" | sort -u; }

announce() { headline "$1: ${about[$1]}  (about $(minutes "${usual[$1]}"))"; }

run_step() {
  local step=$1 shown=0
  announce "$step"
  start_step "$step"
  while step_runs "$step"; do
    sleep 1
    shown=$(progress "$step" "$logs/$step.log" "$shown" $((SECONDS - begun[$step])))
  done
  end_step "$step" "$shown"
}

# Two of these steps at a time, each shown when it has ended.
run_beside() {
  local step
  for step; do
    while ((${#running[@]} > 1)); do end_one; done
    say "  begins: $step"
    start_step "$step"
  done
  while ((${#running[@]} > 0)); do end_one; done
}

end_one() {
  local step ticks=0
  while true; do
    for step in "${!running[@]}"; do
      if ! step_runs "$step"; then
        announce "$step"
        end_step "$step" 0
        return
      fi
      ((ticks % 15)) || printf '  %4d s  %s: %s\n' $((SECONDS - begun[$step])) "$step" "$(tail -n 1 "$logs/$step.log" | cut -c -90)" >&2
    done
    sleep 1
    ticks=$((ticks + 1))
  done
}

# Steps that are neighbours and go together, as one; the others one by one.
run_steps() {
  local step together=()
  for step; do
    if [[ $beside == *" $step "* ]]; then
      together+=("$step")
      continue
    fi
    run_beside "${together[@]}"
    together=()
    run_step "$step"
  done
  run_beside "${together[@]}"
}

# The lab's steps are shown as they go; of the others the last line, four times a minute. The screen is
# stderr here, as stdout gives back how many lines have been shown.
progress() {
  local step=$1 log=$2 shown=$3 elapsed=$4 lines
  if [[ $spoken == *" $step "* ]]; then
    lines=$(wc -l <"$log")
    ((lines == shown)) || sed -n "$((shown + 1)),${lines}p" "$log" >&2
    echo "$lines"
    return
  fi
  ((elapsed == 0 || elapsed % 15)) || printf '  %4d s  %s\n' "$elapsed" "$(tail -n 1 "$log" | cut -c -100)" >&2
  echo 0
}

# Adds the step's tests and claims to the totals; a step that counts nothing itself counts as one.
# A test that runs itself again in a namespace reports that run as filtered; it counts once.
count() {
  local log=$2 code=$3 good=0 wrong=0
  case $1 in
    test | sim | lab-tests)
      read -r good wrong < <(awk '/^test result:.* 0 filtered out/ {good += $4; wrong += $6} END {print good + 0, wrong + 0}' "$log")
      ;;
    story | director | forwarding | alone | tutorials | imported | differential | serial | sync | stateless | localnode | watchdog | faults | lab-self | peers)
      good=$(grep -Ec '^  (.\[[0-9]+m)?ok' "$log" || true)
      wrong=$(grep -Ec '^  (.\[[0-9]+m)?FAIL' "$log" || true)
      ;;
    measure)
      good=$(grep -c ',ok$' "$logs/measure/measure.csv" 2>/dev/null || true)
      wrong=$(grep -c ',FAIL$' "$logs/measure/measure.csv" 2>/dev/null || true)
      ;;
  esac
  ((code == 0 || wrong > 0)) || wrong=1
  ((code != 0 || good > 0)) || good=1
  passed=$((passed + ${good:-0})) failed=$((failed + ${wrong:-0}))
}

minutes() { if (($1 < 90)); then echo "$1 s"; else echo "$((($1 + 30) / 60)) min"; fi; }

# What a failed step says of its reason, once more at the very end: who reads only that must see it.
reasons() {
  local log=$logs/$1.log
  { grep -h -A 14 'panicked at' "$log" || grep -hE '^error|FAIL' "$log" || tail -n 20 "$log"; } | cut -c -600 | head -n 80
}

summary() {
  local step
  for step in "${chosen[@]}"; do
    [[ ${verdict[$step]:-} != FAILED ]] || { headline "Why $step failed"; reasons "$step"; }
  done
  headline "Summary"
  for step in "${chosen[@]}"; do
    printf '  %-10s %6s   %s\n' "$step" "$(minutes "${took[$step]:-0}")" "${verdict[$step]:-not run}"
  done
  echo "$passed passed, $failed failed"
  ((failed == 0))
}

if [[ ${1:-} == --step ]]; then
  "step_$2"
  exit
fi

chosen=("$@")
((${#chosen[@]})) || chosen=("${steps[@]}")
total=0
for step in "${chosen[@]}"; do
  [[ ${about[$step]:-} ]] || die "no step is called $step; there are: ${steps[*]}"
  total=$((total + usual[$step]))
done
declare -A took=() verdict=()
declare -A begun=() running=()
passed=0 failed=0
mkdir -p "$logs"
say "${bold}pairbeat's tests${plain}: ${chosen[*]}"
say "about $(minutes "$total") on two cores, the first time; logs in target/test-logs"
# A step has a process group of its own: it ends with us.
end_all() {
  local pid
  for pid in "${running[@]}"; do kill -TERM -- "-$pid" 2>/dev/null || true; done
}
trap end_all EXIT
trap 'exit 130' INT TERM
# A virtual machine keeps one CPU busy, and its clock is its own: two at a time. Where the lab is this machine, its steps share names.
if ((${#chosen[@]} < 2 || $(nproc) < 2)) || { ((EUID == 0)) && kernel_has_ipvs; }; then beside=' '; fi
run_steps "${chosen[@]}"
summary
