# SPDX-License-Identifier: AGPL-3.0-or-later
"""Active health checks."""
import json
import os
import socket
import threading

import pytest
import yaml

from harness import config
from harness.ports import free_port
from harness.wire import reply, until


def check(**fields):
    out = {"timeout": "1s", "interval": "0.05s", "no_traffic_interval": "0.05s",
           "unhealthy_threshold": 2, "healthy_threshold": 2,
           "http_health_check": {"path": "/healthz"}}
    out.update(fields)
    return {"health_checks": [{k: v for k, v in out.items() if v is not None}],
            "common_lb_config": {"healthy_panic_threshold": {"value": 0}}}


class Checked:
    """An origin with its own answer for checks."""

    def __init__(self, make, name, status=200):
        self.status = status
        self.checks = []
        self.served = 0
        self.origin = make.origin(self.answer, name=name)
        self.name = name

    def answer(self, request):
        if request.target == "/healthz":
            self.checks.append(request)
            return reply(self.status, b"checked")
        self.served += 1
        return reply(200, self.name.encode())


def flags(p, cluster="main"):
    out = {}
    for line in p.admin("/clusters").body.decode().splitlines():
        parts = line.split("::")
        if len(parts) == 4 and parts[0] == cluster and parts[2] == "health_flags":
            out[parts[1].split(":")[-1]] = parts[3]
    return out


def flag(p, c):
    return flags(p)[str(c.origin.port)]


def test_a_failing_host_leaves_and_returns(make):
    a, b = Checked(make, "a"), Checked(make, "b")
    p = make.proxy(clusters={"main": [a.origin, b.origin]}, cluster=check())
    p.wait_stat("cluster.main.health_check.healthy", 2)
    assert set(flags(p).values()) == {"healthy"}
    b.status = 500
    p.wait_stat("cluster.main.membership_healthy", 1)
    assert flag(p, b) == "/failed_active_hc" and flag(p, a) == "healthy"
    served = b.served
    assert {p.get().body for _ in range(10)} == {b"a"}
    assert b.served == served
    b.status = 200
    p.wait_stat("cluster.main.membership_healthy", 2)
    assert {p.get().body for _ in range(10)} == {b"a", b"b"}
    s = p.stats()
    assert s["cluster.main.health_check.attempt"] >= \
        s["cluster.main.health_check.success"] + s["cluster.main.health_check.failure"]
    assert s["cluster.main.health_check.failure"] >= 1
    # Checks are no traffic.
    assert s["cluster.main.upstream_rq_total"] == 20
    assert a.checks[0].get("host") == "main"


def test_all_hosts_down(make):
    a = Checked(make, "a", status=503)
    p = make.proxy(a.origin, cluster=check())
    p.wait_stat("cluster.main.membership_healthy", 0)
    r = p.get()
    assert (r.status, r.body) == (503, b"no healthy upstream")
    assert a.served == 0


def test_panic_uses_all(make):
    a, b = Checked(make, "a", status=500), Checked(make, "b", status=500)
    fields = check()
    fields["common_lb_config"] = {"healthy_panic_threshold": {"value": 50}}
    p = make.proxy(clusters={"main": [a.origin, b.origin]}, cluster=fields)
    p.wait_stat("cluster.main.membership_healthy", 0)
    assert {p.get().body for _ in range(6)} == {b"a", b"b"}
    assert p.stat("cluster.main.lb_healthy_panic") == 6


def test_thresholds_of_silence(make):
    """No answer counts up to the threshold; a status that is wrong counts at once."""
    silent = threading.Event()
    hold = threading.Event()

    def answer(request):
        if silent.is_set():
            hold.wait(10)
        return reply(200, b"")
    o = make.origin(answer)
    p = make.proxy(o, cluster=check(timeout="0.1s", unhealthy_threshold=3, healthy_threshold=3))
    p.wait_stat("cluster.main.health_check.success", lambda n: n >= 3)
    silent.set()
    p.wait_stat("cluster.main.membership_healthy", 0, timeout=10)
    assert p.stat("cluster.main.health_check.network_failure") >= 3
    done = p.stat("cluster.main.health_check.success")
    silent.clear()
    hold.set()
    p.wait_stat("cluster.main.membership_healthy", 1, timeout=10)
    assert p.stat("cluster.main.health_check.success") >= done + 3


def test_request_of_the_check(make):
    a = Checked(make, "a", status=204)
    p = make.proxy(a.origin, cluster=check(reuse_connection=False, http_health_check={
        "path": "/healthz", "host": "health.test", "method": "HEAD",
        "expected_statuses": [{"start": 204, "end": 205}],
        "request_headers_to_add": [{"header": {"key": "x-check", "value": "yes"}}],
        "request_headers_to_remove": ["user-agent"]}))
    p.wait_stat("cluster.main.health_check.success", lambda n: n >= 3)
    r = a.checks[0]
    assert (r.method, r.get("host"), r.get("x-check")) == ("HEAD", "health.test", "yes")
    assert r.get("user-agent") is None
    assert len({id(c.conn) for c in a.checks}) == len(a.checks)
    assert flag(p, a) == "healthy"


def test_connection_is_reused(make):
    a = Checked(make, "a")
    p = make.proxy(a.origin, cluster=check())
    p.wait_stat("cluster.main.health_check.success", lambda n: n >= 3)
    assert len({id(c.conn) for c in a.checks}) == 1


def test_retriable_status_counts_up(make):
    a = Checked(make, "a", status=200)
    p = make.proxy(a.origin, cluster=check(unhealthy_threshold=1000000, http_health_check={
        "path": "/healthz", "retriable_statuses": [{"start": 500, "end": 600}]}))
    p.wait_stat("cluster.main.health_check.success", lambda n: n >= 1)
    a.status = 500
    p.wait_stat("cluster.main.health_check.failure", lambda n: n >= 3)
    assert flag(p, a) == "healthy"
    a.status = 404
    p.wait_stat("cluster.main.membership_healthy", 0)


def test_event_log(make, tmp_path):
    path = str(tmp_path / "events.json")
    a = Checked(make, "a")
    p = make.proxy(a.origin, cluster=check(event_log_path=path))
    p.wait_stat("cluster.main.health_check.healthy", 1)
    a.status = 500
    p.wait_stat("cluster.main.membership_healthy", 0)
    a.status = 200
    p.wait_stat("cluster.main.membership_healthy", 1)

    def events():
        if not os.path.exists(path):
            return []
        with open(path, encoding="utf-8") as f:
            return [json.loads(line) for line in f]
    until(lambda: len(events()) >= 3, 5)
    kinds = [next(k for k in e if k.endswith("_event")) for e in events()]
    assert kinds[:3] == ["add_healthy_event", "eject_unhealthy_event", "add_healthy_event"]
    e = events()[1]
    assert e["host"]["socket_address"] == {"address": "127.0.0.1", "port_value": a.origin.port}
    assert (e["cluster_name"], e["health_checker_type"]) == ("main", "HTTP")


@pytest.mark.parametrize("how", ["connect", "answer"])
def test_tcp(make, how):
    def handler(conn):
        while True:
            data = conn.sock.recv(4096)
            if not data:
                return
            if data.startswith(b"GET"):
                conn.send(reply(200, b"http"))
            else:
                assert data == b"ping"
                conn.send(b"xx po yy ng zz" if good.is_set() else b"nothing")
    good = threading.Event()
    good.set()
    o = make.origin(handler=handler)
    tcp = {} if how == "connect" else {
        "send": {"text": "70696E67"}, "receive": [{"text": "706f"}, {"text": "6E67"}]}
    p = make.proxy(o, cluster=check(http_health_check=None, tcp_health_check=tcp, timeout="0.2s"))
    p.wait_stat("cluster.main.health_check.success", lambda n: n >= 3)
    assert p.get().body == b"http"
    if how == "answer":
        good.clear()
        p.wait_stat("cluster.main.membership_healthy", 0, timeout=10)
        good.set()
        p.wait_stat("cluster.main.membership_healthy", 1, timeout=10)


def test_tcp_refused(make):
    port = free_port()
    p = make.proxy(port, cluster=check(http_health_check=None, tcp_health_check={}))
    p.wait_stat("cluster.main.membership_healthy", 0)
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("127.0.0.1", port))
    s.listen(16)
    p.wait_stat("cluster.main.membership_healthy", 1)
    s.close()


def test_no_traffic_interval(make):
    a = Checked(make, "a")
    p = make.proxy(a.origin, cluster=check(no_traffic_interval="1000s", interval="0.02s"))
    p.wait_stat("cluster.main.health_check.success", 1)
    assert p.get().status == 200
    assert p.stat("cluster.main.health_check.attempt") == 1


def test_health_survives_a_reload(make):
    """A host that is known to be down stays out; one that joins waits for its first check."""
    a, b = Checked(make, "a"), Checked(make, "b", status=500)
    p = make.proxy(clusters={"main": [a.origin, b.origin]}, cluster=check(interval="0.05s"))
    p.wait_stat("cluster.main.membership_healthy", 1)
    c = Checked(make, "c")
    with open(p.file, encoding="utf-8") as f:
        text = f.read()
    here = "port_value: %d" % b.origin.port
    assert text.count(here) == 1
    block = text.replace("connect_timeout: 1s", "connect_timeout: 2s")
    with open(p.file, "w", encoding="utf-8") as f:
        f.write(block)
    served = b.served
    p.signal(1)
    until(lambda: b"connect_timeout\": \"2s" in p.admin("/config_dump").body, 5)
    assert {p.get().body for _ in range(20)} == {b"a"}
    assert b.served == served
    c.origin.stop()


def test_simple_file(make):
    a = Checked(make, "a")
    p = make.march(a.origin, fields={})
    assert p.stat("cluster.main.health_check.attempt") == 0
    text = open(p.file, encoding="utf-8").read()
    q = make.text(text.replace("protocol: http", "protocol: http\n  health_check_path: /healthz")
                  .replace(str(p.port), "@PORT0@").replace(str(p.admin_port), "@ADMIN@"), 1)
    q.wait_stat("cluster.main.health_check.success", 1)
    q.wait_stat("cluster.main.health_check.healthy", 1)
    assert a.checks[0].get("host") == "127.0.0.1"


def test_hosts_found_by_name(make):
    """Checks follow the names: a host that joins is checked before it gets requests."""
    ports = Checked(make, "first")
    second = make.origin(ports.answer, host="127.0.0.2", port=ports.origin.port)
    ns = make.name_server({"svc.test": ["127.0.0.1"]})
    cluster = {
        "name": "main", "type": "STRICT_DNS", "dns_lookup_family": "V4_ONLY",
        "dns_refresh_rate": "0.1s", "dns_resolvers": [config.address(ns.port)],
        "load_assignment": {"cluster_name": "main", "endpoints": [{"lb_endpoints": [
            config.endpoint(("svc.test", ports.origin.port))]}]}, **check()}
    p = make.proxy(clusters={"main": cluster}, routes=[config.to("main")])
    p.wait_stat("cluster.main.health_check.healthy", 1, timeout=10)
    assert p.get().status == 200
    ns.table["svc.test"] = ["127.0.0.1", "127.0.0.2"]
    p.wait_stat("cluster.main.membership_total", 2, timeout=10)
    p.wait_stat("cluster.main.membership_healthy", 2, timeout=10)
    until(lambda: p.get() and second.requests, 10)
    ns.table["svc.test"] = ["127.0.0.2"]
    p.wait_stat("cluster.main.membership_total", 1, timeout=10)
    assert [p.get().status for _ in range(5)] == [200] * 5


def test_without_checks_what_they_found_is_forgotten(make):
    a = Checked(make, "a", status=500)
    p = make.proxy(a.origin, cluster=check())
    p.wait_stat("cluster.main.membership_healthy", 0)
    assert p.get().status == 503
    with open(p.file, encoding="utf-8") as f:
        doc = yaml.safe_load(f)
    del doc["static_resources"]["clusters"][0]["health_checks"]
    with open(p.file, "w", encoding="utf-8") as f:
        f.write(config.dump(doc))
    p.signal(1)
    until(lambda: p.get().status == 200, 10)
    assert set(flags(p).values()) == {"healthy"}
    checks = len(a.checks)
    assert p.get().status == 200
    assert len(a.checks) == checks


def test_prometheus_names(make):
    a = Checked(make, "a")
    p = make.proxy(a.origin, cluster=check())
    p.wait_stat("cluster.main.health_check.success", lambda n: n >= 1)
    text = p.admin("/stats/prometheus").body.decode()
    assert 'envoy_cluster_health_check_success{envoy_cluster_name="main"}' in text
    assert 'envoy_cluster_circuit_breakers_default_cx_open{envoy_cluster_name="main"} 0' in text
