#!/usr/bin/env bash
# SPDX-License-Identifier: AGPL-3.0-or-later
# Builds the guard's kernel programs: build/envoy_xdp.o, beside the skeleton inside of the proxy, from the same rules.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v clang-14 >/dev/null && ! command -v clang >/dev/null; then
    echo "build_xdp.sh: clang is missing (tools/bootstrap-debian.sh run)" >&2
    exit 1
fi
if [ ! -x /usr/sbin/bpftool ] && ! command -v bpftool >/dev/null; then
    echo "build_xdp.sh: bpftool is missing (tools/bootstrap-debian.sh run)" >&2
    exit 1
fi
[ -f build/build.ninja ] || make --no-print-directory build/build.ninja
ninja -C build --quiet src/bpf/guard.bpf.o
cp build/src/bpf/guard.bpf.o build/envoy_xdp.o
echo "build/envoy_xdp.o"
