#!/usr/bin/env bash
# SPDX-License-Identifier: AGPL-3.0-or-later
# Attaches the guard's program to an interface without the proxy, for a look at it:
#
#   scripts/load_xdp.sh [IFACE=eth0] [native|skb|hw]
#
# The proxy does this itself (xdp: in march.yaml), with lists, limits, pins and upgrades. A program that is attached
# already is replaced. By itself the program only counts and drops what is malformed: its limits are configured by maps.
set -euo pipefail
cd "$(dirname "$0")/.."
iface=${1:-eth0} mode=${2:-native} object=build/envoy_xdp.o
fail() {
    echo "load_xdp.sh: $*" >&2
    exit 1
}
case "$mode" in
native) flag=xdpdrv ;;
skb) flag=xdpgeneric ;;
hw) flag=xdpoffload ;;
*) fail "mode '$mode' is unknown: use native, skb or hw" ;;
esac
command -v ip >/dev/null || fail "ip is missing (package iproute2)"
[ -f "$object" ] || fail "$object is missing: run scripts/build_xdp.sh"
ip link show dev "$iface" >/dev/null 2>&1 || fail "there is no interface '$iface'"
caps=$(sed -n 's/^CapEff:[[:space:]]*//p' /proc/self/status)
if [ "$(id -u)" != 0 ] && [ $((0x$caps >> 12 & 1)) = 0 ]; then
    fail "needs root or CAP_NET_ADMIN (and CAP_BPF)"
fi
for old in xdpdrv xdpgeneric xdpoffload; do
    ip link set dev "$iface" "$old" off 2>/dev/null || true
done
ip -force link set dev "$iface" "$flag" object "$object" section xdp.frags ||
    fail "cannot attach to $iface in mode $mode (another mode may do: skb)"
echo "attached to $iface ($mode)"
echo "to remove it: ip link set dev $iface $flag off"
