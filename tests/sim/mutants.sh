#!/bin/sh
# Plants each fault of tests/sim/mutants/*.patch in a copy of the tree and expects the simulator to
# find it. A fault that survives is a hole in the simulator.
#
#   tests/sim/mutants.sh [NAME...]       PAIRBEAT_SIM_SEEDS (default 10000), PROFILE (default lab)
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
copy=$(mktemp -d "${TMPDIR:-/tmp}/pairbeat-mutants.XXXXXX")
trap 'rm -rf "$copy"' EXIT
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$root/target}"
export PAIRBEAT_SIM_SEEDS="${PAIRBEAT_SIM_SEEDS:-10000}"
profile=${PROFILE:-lab}
[ $# -gt 0 ] || set -- $(cd "$root/tests/sim/mutants" && ls -- *.patch | sed 's/\.patch$//')
survived=0
for name in "$@"; do
    rm -rf "$copy/tree" && mkdir "$copy/tree"
    (cd "$root" && tar cf - Cargo.toml Cargo.lock clippy.toml src tests) | tar xf - -C "$copy/tree"
    patch -s -p1 -d "$copy/tree" <"$root/tests/sim/mutants/$name.patch"
    cd "$copy/tree"
    if ! cargo test -q --profile "$profile" --test sim --no-run >"$copy/log" 2>&1; then
        echo "$name: does not build"; cat "$copy/log"; survived=1
    elif cargo test -q --profile "$profile" --test sim >"$copy/log" 2>&1; then
        echo "$name: SURVIVED $PAIRBEAT_SIM_SEEDS seeds"; survived=1
    else
        echo "$name: caught, $(grep -m1 '^seed ' "$copy/log" || echo 'without a seed')"
    fi
done
exit $survived
