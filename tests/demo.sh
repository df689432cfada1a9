#!/usr/bin/env bash
# The demonstration: the Heartbeat+LVS tutorial's cluster, live, on a kernel with IPVS.
#
#   tests/demo.sh
#
# Needs Debian and cargo. Installs what else it needs, builds pairbeat, and runs tests/lab/story.sh: in network
# namespaces right here where this kernel has ip_vs (and you are root), otherwise in a virtual machine that exists only
# for it. Exit code 0: every claim of the story held.
set -euo pipefail
cd "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/.."
# shellcheck source=tests/lab/common.sh
source tests/lab/common.sh
export PATH=$PATH:$HOME/.cargo/bin

headline "pairbeat: two directors, two real servers, one virtual address"
if kernel_has_ipvs && ((EUID == 0)); then
  where="right here, in network namespaces: this kernel has ip_vs"
else
  where="in a virtual machine (QEMU, Debian's kernel, no KVM needed): no ip_vs here, or not root"
fi
say "1. install what is missing  (about a minute; by apt)"
say "2. build pairbeat           (one to four minutes the first time)"
say "3. the story                (one to three minutes)"
say "   $where"

headline "Installing"
need_packages "${build_packages[@]}" "${lab_packages[@]}"
command -v cargo >/dev/null || die "cargo is not installed: https://rustup.rs (Debian 12 has one that is too old)"

headline "Building"
build_for_lab

headline "The story"
LAB_RESULTS=$PWD/target/test-logs/demo
in_lab 1200 story.sh
