#!/usr/bin/env bash
# SPDX-License-Identifier: AGPL-3.0-or-later
# Checks what a build has made: kinds and sizes of the files, the toolchain, and the example configurations.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
passed=0 failed=0
check() {
    local name=$1
    shift
    if "$@" >/dev/null 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $name"
    fi
}
is_elf() { # file machine
    [ -s "$1" ] && [ "$(head -c 4 "$1" | od -An -tx1 | tr -d ' ')" = 7f454c46 ] &&
        { [ -z "${2:-}" ] || [ "$(od -An -tu2 -j18 -N2 "$1" | tr -d ' ')" = "$2" ]; }
}
smaller() { [ "$(stat -c %s "$1")" -lt "$2" ]; }
check "clang" sh -c 'command -v clang-14 || command -v clang'
check "bpftool" sh -c 'command -v bpftool || test -x /usr/sbin/bpftool'
check "make" make --no-print-directory
check "build/marchproxy is a program" is_elf build/marchproxy
check "build_xdp.sh" scripts/build_xdp.sh
check "build/envoy_xdp.o is for the kernel (machine 247)" is_elf build/envoy_xdp.o 247
check "build/envoy_xdp.o is below 2 MiB" smaller build/envoy_xdp.o 2097152
for file in examples/*.yaml; do
    check "$file" build/marchproxy -t -c "$file"
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
