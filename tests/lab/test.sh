#!/usr/bin/env bash
# Runs one compiled integration test, TEST_BINARY, where IPVS is. The tests share one kernel: one at a time.
set -euo pipefail
modprobe -qa ip_vs ip_vs_rr nf_tables veth bridge macvlan 8021q 2>/dev/null || true
cp "${TEST_BINARY:?a compiled test}" /run/pairbeat-test
trap 'rm -f /run/pairbeat-test' EXIT
/run/pairbeat-test --test-threads=1
