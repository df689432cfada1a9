# shellcheck shell=bash
# What the lab's scripts share: words on the screen, packages, waiting. Sourced, never run.
#
# It does not know the topology (topology.sh) nor the virtual machine (vm).

# Colours only where somebody can see them. Inside the VM, stdout is always a terminal, so `vm` says
# in LAB_COLOUR (0 or 1) what it is outside.
if [[ -z ${LAB_COLOUR:-} ]]; then if [[ -t 1 ]]; then LAB_COLOUR=1; else LAB_COLOUR=0; fi; fi
if [[ $LAB_COLOUR == 1 ]]; then
  bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' green=$'\e[32m' yellow=$'\e[33m' plain=$'\e[0m'
else
  bold='' dim='' red='' green='' yellow='' plain=''
fi

say() { printf '%s\n' "$*"; }
headline() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
remark() { printf '%s  %s%s\n' "$dim" "$*" "$plain"; }
good() { printf '  %sok%s    %s\n' "$green" "$plain" "$*"; }
bad() { printf '  %sFAIL%s  %s\n' "$red" "$plain" "$*"; }

# claim WHAT COMMAND...: holds when the command ends well; else it is one of the faults.
faults=0
claim() {
  if "${@:2}"; then good "$1"; else
    bad "$1"
    faults=$((faults + 1))
  fi
}

die() {
  printf '%sFAIL%s %s\n' "$red" "$plain" "$*" >&2
  exit 1
}

# What cannot run here says so; where everything is required (CI) that is a failure.
skip() {
  printf '%sSKIP%s %s\n' "$yellow" "$plain" "$*"
  [[ ${PAIRBEAT_REQUIRE_ALL:-} != 1 ]] || die "PAIRBEAT_REQUIRE_ALL=1 and this could not run: $*"
  return 0
}

as_root() {
  if ((EUID == 0)); then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else
    die "this needs root, and there is no sudo: $*"
  fi
}

# need_packages COMMAND:PACKAGE... installs the packages whose command is missing; a COMMAND with a
# slash is a file. Debian's sbin is not in every user's PATH, hence the longer PATH here.
need_packages() {
  local PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin pair missing=()
  for pair; do command -v "${pair%%:*}" >/dev/null || [[ -e ${pair%%:*} ]] || missing+=("${pair#*:}"); done
  ((${#missing[@]})) || return 0
  command -v apt-get >/dev/null || die "missing, and no apt-get to install it: ${missing[*]}"
  say "installing by apt: ${missing[*]}"
  as_root apt-get update -qq || die "apt-get update failed"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" \
    >/dev/null || die "could not install ${missing[*]}"
}

# wait_for SECONDS WHAT COMMAND... until the command succeeds; says WHAT did not happen otherwise.
# Seconds of the running machine: in the VM those are emulated ones, and each look is dear there, while waiting costs nothing:
# WAIT_STEP (default 0.1) seconds from one to the next.
wait_for() {
  local limit=$1 what=$2 end
  shift 2
  end=$((SECONDS + limit + 1))
  until "$@"; do
    ((SECONDS < end)) || {
      bad "not within $limit s: $what"
      return 1
    }
    sleep "${WAIT_STEP:-0.1}"
  done
}

kernel_has_ipvs() { [[ -e /proc/net/ip_vs ]] || { ((EUID == 0)) && modprobe -q ip_vs && [[ -e /proc/net/ip_vs ]]; } 2>/dev/null; }

# in_lab SECONDS SCRIPT [NAME=VALUE...] runs a script of this directory where IPVS is: here, if this kernel
# has it, or in the VM (with LAB_VM=1 in any case; whether everything is required, it knows there, too). What it writes to LAB_RESULTS stays. PAIRBEAT and PROBER are paths here; in the VM the
# script finds copies in memory, as 9p would slow the first run of every page of them.
in_lab() {
  local limit=$1 script=$2 here copy
  shift 2
  here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
  mkdir -p "$LAB_RESULTS"
  if [[ ${LAB_VM:-} != 1 ]] && kernel_has_ipvs && ((EUID == 0)); then
    env "$@" PAIRBEAT="$PAIRBEAT" PROBER="$PROBER" LAB_RESULTS="$LAB_RESULTS" timeout --foreground "$limit" \
      bash "$here/$script"
    return
  fi
  # shellcheck disable=SC2016 # expanded in the guest
  copy='cp "$PAIRBEAT" /run/pairbeat-binary && cp "$PROBER" /run/prober && PAIRBEAT=/run/pairbeat-binary PROBER=/run/prober exec bash "$0"'
  "$here/vm" -t "$limit" -w "$LAB_RESULTS" -- env "$@" PAIRBEAT_REQUIRE_ALL="${PAIRBEAT_REQUIRE_ALL:-}" PAIRBEAT="$PAIRBEAT" PROBER="$PROBER" \
    LAB_RESULTS="$LAB_RESULTS" bash -c "$copy" "$here/$script"
}

# COMMAND:PACKAGE of what building and the lab need beside cargo.
# shellcheck disable=SC2034 # for those who source this
build_packages=(cc:gcc /usr/include/stdlib.h:libc6-dev)
# shellcheck disable=SC2034
lab_packages=(ip:iproute2 ipvsadm:ipvsadm sysctl:procps nsenter:util-linux modprobe:kmod nft:nftables
  arping:iputils-arping)

# Builds what the lab runs, in $PAIRBEAT and $PROBER.
build_for_lab() {
  local target=${CARGO_TARGET_DIR:-$PWD/target}
  cargo build --locked --profile lab --bin pairbeat --example prober || die "it does not build"
  PAIRBEAT=$target/lab/pairbeat PROBER=$target/lab/examples/prober
}
