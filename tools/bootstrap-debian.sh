#!/usr/bin/env bash
# SPDX-License-Identifier: AGPL-3.0-or-later
# Installs what a bare Debian 12 lacks for building, running, testing, checking or measuring the proxy.
#
#   tools/bootstrap-debian.sh [run] [test] [check] [bench]      default: run
#
# Without anything to do it returns at once. Installing needs root; without root it prints the command to run.
# Packages that bring a daemon (nginx, haproxy, h2o) are installed without starting or enabling it.
set -euo pipefail

# One group a purpose; a group includes nothing of the others. Reasons: docs/adr/005-dependencies.md.
declare -A group=(
    [run]="gcc libc6-dev make meson ninja-build pkgconf python3 curl util-linux
        libyaml-dev libjansson-dev libpcre2-dev libc-ares-dev
        libprotobuf-c-dev protobuf-c-compiler protobuf-compiler libssl-dev libnghttp2-dev
        clang-14 bpftool libbpf-dev"
    [test]="python3-pytest python3-pytest-xdist python3-yaml python3-jsonschema python3-protobuf python3-h2 nginx-light valgrind
        python3-jwt python3-jose python3-cryptography jose
        libasan8 libubsan1 libtsan2 node-llhttp openssl procps wrk nghttp2-proxy nghttp2-client
        iproute2 ethtool iperf3"
    [check]="clang-14 clang-format-14 clang-tidy-14 libclang-rt-14-dev git shellcheck"
    [bench]="wrk openssl nginx-light haproxy h2o nghttp2-proxy nghttp2-client"
)
daemons="nginx haproxy h2o nghttpx"

want=""
for name in "${@:-run}"; do
    if [ -z "${group[$name]:-}" ]; then
        echo "bootstrap: unknown group '$name' (known: ${!group[*]})" >&2
        exit 2
    fi
    want="$want ${group[$name]}"
done

if ! command -v dpkg-query >/dev/null; then
    echo "bootstrap: this is not Debian; expecting the equivalents of:$(tr -s ' \n' ' ' <<<"$want")" >&2
    exit 0
fi

# Peers of the tests that only npm has (tests/peers, with a lockfile). Their tests are skipped without them, so an absent
# npm or registry is no error.
npm_peers() {
    case " $* " in *" test "*) ;; *) return 0 ;; esac
    local peers stamp
    peers=$(cd "$(dirname "$0")/../tests/peers" && pwd)
    stamp=$(sha256sum "$peers/package-lock.json" | cut -d' ' -f1)
    if [ "$(cat "$peers/node_modules/.stamp" 2>/dev/null)" = "$stamp" ]; then
        return 0
    fi
    if ! command -v npm >/dev/null; then
        echo "bootstrap: npm is not installed: tests with its packages will be skipped" >&2
    elif (cd "$peers" && timeout 60 npm ci --ignore-scripts --no-audit --no-fund --fetch-retries=0 >/dev/null 2>&1); then
        echo "$stamp" >"$peers/node_modules/.stamp"
    else
        echo "bootstrap: npm ci failed in tests/peers (no registry?): tests with its packages will be skipped" >&2
    fi
}
npm_peers "${@:-run}"

missing_of() {
    local installed
    installed=" $(dpkg-query -W -f='${db:Status-Status}:${Package} ' "$@" 2>/dev/null || true)"
    local package
    for package in "$@"; do
        case "$installed" in
        *" installed:$package "*) ;;
        *) printf '%s ' "$package" ;;
        esac
    done
}
# shellcheck disable=SC2086  # a list of words
missing=$(missing_of $want)
if [ -z "$missing" ]; then
    exit 0
fi

if [ "$(id -u)" != 0 ]; then
    {
        echo "bootstrap: these Debian packages are missing, and only root can install them:"
        echo "    sudo apt-get install --no-install-recommends $missing"
        echo "bootstrap: or run once as root: tools/bootstrap-debian.sh $*"
    } >&2
    exit 1
fi

echo "bootstrap: installing $missing" >&2

# While packages are set up, policy-rc.d tells invoke-rc.d and deb-systemd-invoke to start nothing.
policy=/usr/sbin/policy-rc.d
made_policy=""
cleanup() {
    if [ -n "$made_policy" ]; then
        rm -f "$policy"
    fi
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    made_policy=1
    chmod 755 "$policy"
fi

export DEBIAN_FRONTEND=noninteractive
install_missing() {
    # shellcheck disable=SC2086
    apt-get install -qq -y --no-install-recommends -o Dpkg::Use-Pty=0 $missing >"$log" 2>&1
}
log=$(mktemp)
trap 'cleanup; rm -f "$log"' EXIT

# The package lists may be absent or older than the mirror: refresh them and try again.
if ! install_missing; then
    if ! { apt-get update -qq && install_missing; } 2>>"$log"; then
        cat "$log" >&2
        echo "bootstrap: apt-get could not install: $missing" >&2
        exit 1
    fi
fi

# What came with the packages above must not start at the next boot either.
for daemon in $daemons; do
    case " $missing " in
    *" $daemon "* | *" $daemon-light "* | *" nghttp2-proxy "*)
        if command -v systemctl >/dev/null; then
            systemctl disable --quiet "$daemon.service" >/dev/null 2>&1 || true
        elif command -v update-rc.d >/dev/null && [ -e "/etc/init.d/$daemon" ]; then
            update-rc.d "$daemon" disable >/dev/null 2>&1 || true
        fi
        ;;
    esac
done

# shellcheck disable=SC2086
still=$(missing_of $want)
if [ -n "$still" ]; then
    echo "bootstrap: still missing after the installation: $still" >&2
    exit 1
fi
echo "bootstrap: done" >&2
