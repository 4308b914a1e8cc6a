#!/usr/bin/env bash
# SPDX-License-Identifier: AGPL-3.0-or-later
# Runs the proxy with examples/march.yaml and two demo upstreams until Ctrl-C. Called by `make run`.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

program=build/marchproxy
config=examples/march.yaml
proxy_port=10000
admin_port=9901
upstream_ports=(10001 10002)
pids=()

fail() {
    echo "make run: $*" >&2
    exit 1
}
[ -x "$program" ] || fail "$program is missing: run make first"
[ -r "$config" ] || fail "$config is missing"
taken=$(/usr/bin/python3 tools/demo_upstream.py --check-ports "$proxy_port" "$admin_port" "${upstream_ports[@]}") ||
    fail "these ports are in use: $taken. Stop what listens there (ss -ltnp shows it) and try again"

# Children get SIGTERM from the kernel when this script dies, however it dies. In sessions of their own they do not
# see the terminal's Ctrl-C: stop() alone decides the order.
start() {
    setpriv --pdeathsig TERM -- setsid "$@" &
    pids+=($!)
}
# The proxy goes first, so that its requests in flight still have upstreams. It drains for at most 5 s; after 10 s it is killed.
# shellcheck disable=SC2317  # reached through the traps
stop() {
    trap '' INT TERM HUP
    local pid tries
    for pid in "${pids[@]:2:1}" "${pids[@]:0:2}"; do
        kill -TERM "$pid" 2>/dev/null || continue
        for ((tries = 0; tries < 100; tries++)); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL "$pid" 2>/dev/null
        wait "$pid" 2>/dev/null
    done
}
trap 'stop; echo "make run: stopped"; exit 0' INT TERM HUP
trap stop EXIT

start /usr/bin/python3 tools/demo_upstream.py --name app --port "${upstream_ports[0]}" >/dev/null
start /usr/bin/python3 tools/demo_upstream.py --name web --port "${upstream_ports[1]}" >/dev/null
start "$program" -c "$config" --drain-time-s 5
proxy_pid=${pids[2]}

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
for port in "${upstream_ports[@]}" "$admin_port" "$proxy_port"; do
    for ((tries = 0; ; tries++)); do
        answers "$port" && break
        kill -0 "$proxy_pid" 2>/dev/null || fail "the proxy ended early; its messages are above"
        [ "$tries" -lt 100 ] || fail "nothing answers on port $port after 10 s"
        sleep 0.1
    done
done

cat <<TEXT

  MarchProxy     http://127.0.0.1:$proxy_port/        configuration: $config
  admin          http://127.0.0.1:$admin_port/ready   /stats /stats/prometheus /server_info /config_dump
  upstreams      app http://127.0.0.1:${upstream_ports[0]}/, web http://127.0.0.1:${upstream_ports[1]}/

  Try, in another terminal:
    curl -i http://127.0.0.1:$proxy_port/hello
    curl -i http://127.0.0.1:$proxy_port/a/hello
    curl -s 'http://127.0.0.1:$admin_port/stats?usedonly&filter=downstream_rq'

  Ctrl-C stops everything.

TEXT

wait "$proxy_pid"
status=$?
pids[2]=
fail "the proxy ended by itself (status $status)"
